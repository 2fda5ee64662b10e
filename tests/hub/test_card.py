"""The card of a model: what the hub reads in front, what people read behind."""

import re
from pathlib import Path

import pytest
import yaml

from audiolm.errors import ModelFolderError
from audiolm.hub import Measured, card
from audiolm.model_io.manifest import Manifest, read_manifest
from audiolm.pretrained import find

MEASURED = [
    Measured("What a recogniser understands", "dev", "wer.codec", 29.5, "%"),
    Measured("What a recogniser understands", "dev", "cer.codec", 15.25, "%"),
    Measured("Quality of the codec", "dev", "visqol.codec_4", 3.5, "MOS"),
]


def front(text: str) -> dict:
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("CC BY 4.0", {"license": "cc-by-4.0"}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("CC0", {"license": "other", "license_name": "cc0"}),
        ("ask me: nicely", {"license": "other", "license_name": "ask-me-nicely"}),
        ("", {}),
    ],
)
def test_licences_in_the_words_of_the_hub(licence, said):
    found = front(card(Manifest(name="tiny", licence=licence)))
    assert {key: found[key] for key in found if key.startswith("license")} == said


def test_data_sets_are_those_that_the_model_names():
    data = {"corpus": "LibriSpeech, some of it", "datasets": ["openslr/librispeech_asr"]}
    text = card(Manifest(name="tiny", data=data))
    assert front(text)["datasets"] == ["openslr/librispeech_asr"]
    assert "| Data: corpus | LibriSpeech, some of it |" in text
    assert "datasets" not in front(card(Manifest(name="tiny")))


def test_metrics_in_the_form_of_the_hub():
    found = front(card(Manifest(name="tiny"), measured=MEASURED))
    assert found["metrics"] == ["cer", "wer"]
    (index,) = found["model-index"]
    assert index["name"] == "tiny"
    words, quality = index["results"]
    assert words["dataset"] == {"type": "dev", "name": "dev"}
    assert words["task"]["type"] == "audio-to-audio"
    assert words["metrics"] == [
        {"type": "wer", "name": "wer.codec, %", "value": 29.5},
        {"type": "cer", "name": "cer.codec, %", "value": 15.25},
    ]
    assert [metric["value"] for metric in quality["metrics"]] == [3.5]


def test_the_hubs_own_library_reads_the_card():
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra audiolm[hub]")
    text = card(Manifest(name="tiny", licence="CC BY 4.0"), measured=MEASURED)
    data = hub.ModelCard(text).data
    assert (data.library_name, data.license, data.model_name) == ("audiolm", "cc-by-4.0", "tiny")
    assert [result.metric_value for result in data.eval_results] == [29.5, 15.25, 3.5]


def test_metrics_of_the_owner_and_measured_ones_are_both_there():
    own = "---\nmetrics: [wer]\nmodel-index: [{name: tiny, results: []}]\n---\n# Mine\n"
    found = front(card(Manifest(name="tiny"), own, MEASURED))
    assert found["metrics"] == ["wer", "cer"]
    assert [len(one["results"]) for one in found["model-index"]] == [0, 2]


def test_the_bundled_model_says_what_the_hub_asks():
    folder = find("speech")
    text = card(read_manifest(folder), (folder / "MODEL_CARD.md").read_text("utf-8"))
    found = front(text)
    assert (found["language"], found["license"]) == ("en", "cc-by-4.0")
    assert (found["library_name"], found["pipeline_tag"]) == ("audiolm", "audio-to-audio")
    assert found["datasets"] == ["openslr/librispeech_asr", "mispeech/speechocean762"]
    assert "audiolm" in found["tags"] and found["metrics"] == ["accuracy", "cer", "wer"]
    results = (Path(__file__).parents[2] / "docs" / "RESULTS.md").read_text("utf-8")
    for result in found["model-index"][0]["results"]:
        for metric in result["metrics"]:
            assert re.search(rf"(?<![\d.]){metric['value']}(?![\d.])", results), metric
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra audiolm[hub]")
    assert {one.metric_type for one in hub.ModelCard(text).data.eval_results} == {
        "accuracy", "cer", "wer", "visqol", "pesq",
    }  # fmt: skip


def test_what_the_owner_wrote_goes_first():
    text = card(Manifest(name="tiny", licence="CC0"), "---\nlicense: mit\nx: [1]\n---\n# Mine\n")
    found = front(text)
    assert (found["license"], found["x"], found["library_name"]) == ("mit", [1], "audiolm")
    assert text.endswith("---\n\n# Mine\n")


def test_no_folder_of_the_owner_is_told():
    text = card(Manifest(name="tiny", data={"folder": "/home/me/secret", "recordings": {"n": 3}}))
    assert "secret" not in text
    assert "| Data: recordings | n 3 |" in text


@pytest.mark.parametrize("head", ["a: [", "only words"])
def test_a_broken_head_is_told(head):
    with pytest.raises(ModelFolderError, match=r"MODEL_CARD\.md: .* is no YAML"):
        card(Manifest(name="tiny"), f"---\n{head}\n---\n# Mine\n")
