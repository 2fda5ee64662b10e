"""Data that cannot be used: the part that wants them says so in a line, and the others run."""

import pytest
from asking import add_transcripts
from layouts import abx_items, record, zero_resource

from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.run import Evaluation, run
from audiolm.evaluation.tables.registry import EXPERIMENTS
from tiny import tiny_model

OPTIONS = EvaluationConfig.model_validate(
    {"abx": {"features": ["mel"]}, "reconstruction": {"semantic_decoder_minutes": 0}}
)


@pytest.fixture(scope="module")
def lm():
    return tiny_model()


def parts(lm, data, out, *only):
    """How each part ended: its state, and what it says."""
    report = run(Evaluation(lm, data, out, only, options=OPTIONS))
    return {
        name: (part["state"], f"{part.get('reason', '')}; {part.get('remedy', '')}")
        for name, part in report["experiments"].items()
    }


def test_an_item_file_that_names_missing_audio(lm, tmp_path):
    data = zero_resource(tmp_path / "data")
    (abx_items(data).parent / "100" / "0" / "100-0-0000.wav").unlink()
    ended = parts(lm, data, tmp_path / "out", "abx", "probes")
    assert ended["abx"][0] == "failed"
    assert "dev.item: there is no recording of 100-0-0000" in ended["abx"][1]
    assert ended["probes"][0] == "done"


def test_a_gold_file_with_a_missing_pair(lm, tmp_path):
    data = zero_resource(tmp_path / "data")
    abx_items(data)
    gold = data / "lexical" / "dev" / "gold.csv"
    gold.write_text("\n".join(gold.read_text().splitlines()[:-1]) + "\n")
    ended = parts(lm, data, tmp_path / "out", "abx", "probes")
    assert ended["probes"][0] == "failed"
    assert "gold.csv: id 1 voice B is half a pair" in ended["probes"][1]
    assert ended["abx"][0] == "done"


def test_an_empty_folder(lm, tmp_path):
    (tmp_path / "data").mkdir()
    ended = parts(lm, tmp_path / "data", tmp_path / "out")
    assert set(ended) == set(EXPERIMENTS)
    for name, (state, says) in ended.items():
        assert state in ("skipped", "failed"), name
        assert "\n" not in says and len(says) > 20, name
    assert (tmp_path / "out" / "report.html").exists()


def test_a_corpus_with_one_speaker(lm, tmp_path):
    data = tmp_path / "data"
    for number in range(3):
        record(data / "84" / "1" / f"84-1-{number:04d}.wav", 4.5, number)
    add_transcripts(data)
    ended = parts(lm, data, tmp_path / "out", "abx", "speaker", "probes")
    assert ended["speaker"][0] == "failed"
    assert "84 is its only speaker" in ended["speaker"][1]
    assert ended["abx"][0] == "skipped"
    assert ended["probes"][0] == "done"
