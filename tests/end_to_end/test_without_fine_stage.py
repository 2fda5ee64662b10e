"""A coarse stage that makes every level and no fine stage, as in the paper's piano model (IV-I)."""

import json
from pathlib import Path

import pytest

from audiolm.audio.files import read
from audiolm.cli.main import main
from audiolm.model_io.manifest import read_manifest
from tiny import noise

STAGES = ("semantic", "coarse", "acoustic_only")
SETTINGS = (
    "codec.quantizer.levels=3",
    "codec.window=640",
    "stages.coarse.layout.coarse_levels=3",
    "stages.acoustic_only.layout.coarse_levels=3",
    f"recipe=[codec, w2v_bert, clustering, tokens, {', '.join(STAGES)}]",
    "prompt_seconds=0.8",
    "seconds=0.6",
)


@pytest.fixture(scope="module")
def model(training_corpus, tmp_path_factory) -> Path:
    """What `audiolm train` makes of the preset tiny with these settings."""
    out = tmp_path_factory.mktemp("trained") / "model"
    command = ["train", str(training_corpus), "--out", str(out), "--preset", "tiny", "--quiet"]
    assert main([*command, *(word for setting in SETTINGS for word in ("--set", setting))]) == 0
    return out


@pytest.fixture
def prompt(tmp_path) -> Path:
    noise(2.0).write(tmp_path / "prompt.wav")
    return tmp_path / "prompt.wav"


def test_there_is_no_fine_stage_and_the_lengths_are_the_presets(model):
    manifest = read_manifest(model)
    assert set(manifest.parts) == {"codec", "semantic", *(f"stage_{name}" for name in STAGES)}
    assert (manifest.prompt_seconds, manifest.seconds) == (0.8, 0.6)


@pytest.mark.parametrize(
    ("verb", "seconds"),
    [
        (("continue", "PROMPT"), 1.4),
        (("continue", "PROMPT", "--baseline", "acoustic-only"), 1.4),
        (("continue", "PROMPT", "--levels", "2", "--best-of", "2"), 1.4),
        (("resynthesize", "PROMPT"), 2.0),
        (("generate", "--seconds", "1"), 1.0),
        (("reconstruct", "PROMPT"), 2.0),
    ],
)
def test_every_verb_makes_do_without_it(model, prompt, tmp_path, verb, seconds):
    words = [str(prompt) if word == "PROMPT" else word for word in verb]
    out = tmp_path / "out.wav"
    assert main([*words, "-o", str(out), "--model", str(model), "--quiet"]) == 0
    assert read(out).seconds == pytest.approx(seconds)


def test_it_can_be_timed(model, capsys):
    assert main(["benchmark", str(model), "--repeats", "1", "--json", "--quiet"]) == 0
    assert set(json.loads(capsys.readouterr().out)["stages"]) == {"semantic", "coarse"}
