"""Data that cannot be used: what wants them says so in a line, and the other experiments run."""

import pytest
from asking import add_transcripts
from layouts import abx_items, record, zero_resource

from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.run import Evaluation, run
from audiolm.evaluation.tables import abx
from audiolm.evaluation.tables.abx import ItemWarning
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


def test_tokens_beyond_their_recording_are_left_out_and_said(lm, tmp_path):
    data = abx_items(tmp_path / "data").parent
    whole = run(Evaluation(lm, data, tmp_path / "whole", ["abx"], options=OPTIONS))
    with (data / "dev.item").open("a") as file:
        for onset, offset in ((2.9, 3.2), (5.0, 5.3), (1e6, 2e6)):
            file.write(f"100-0-0000 {onset} {offset} P A B 100\n")
    with pytest.warns(ItemWarning, match=r"dev\.item: 3 of 27 tokens end behind .* 100-0-0000"):
        told = run(Evaluation(lm, data, tmp_path / "out", ["abx"], options=OPTIONS))
    found = told["experiments"]["abx"]
    assert "3 of 27 tokens end behind their recording" in found["conditions"]["dev.item"]
    assert found["metrics"] == whole["experiments"]["abx"]["metrics"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"100-0-0000 0.1 0.4 P\xe9 A B 100", "dev.item: line 26 is no text in UTF-8"),
        (b"100-0-0000 0.1 nan P A B 100", "dev.item: line 26 ends before it begins"),
        (b"100-0-0000 0.1 inf P A B 100", "dev.item: line 26 ends before it begins"),
        (b"100-0-0000 0.1", "dev.item: line 26 is not 'file onset"),
    ],
)
def test_an_item_file_that_is_broken_after_its_first_line(lm, tmp_path, line, says):
    data = zero_resource(tmp_path / "data")
    with abx_items(data).open("ab") as file:
        file.write(line + b"\n")
    ended = parts(lm, data, tmp_path / "out", "abx", "probes")
    assert ended["abx"][0] == "failed"
    assert says in ended["abx"][1]
    assert ended["probes"][0] == "done"


def test_a_transcript_that_is_broken_stops_only_what_needs_it(lm, tmp_path):
    pytest.importorskip("jiwer")
    data = tmp_path / "data"
    for number in range(2):
        record(data / f"{number}.wav", 1.5, number)
    (data / "transcripts.txt").write_bytes(b"0 HELLO\n1 H\xe9LLO\n")
    ended = parts(lm, data, tmp_path / "out", "content", "probes")
    assert ended["content"][0] == "failed"
    assert "transcripts.txt: line 2 is no text in UTF-8" in ended["content"][1]
    assert ended["probes"][0] == "done"


def test_a_table_of_maestro_that_is_broken_stops_only_what_needs_it(lm, tmp_path):
    data = abx_items(tmp_path / "data").parent
    header = b"canonical_composer,split,audio_filename\n"
    (data / "maestro-v3.0.0.csv").write_bytes(header + b"Chopin,train,a.wav\nFr\xe9d,train,b.wav\n")
    report = run(Evaluation(lm, data, tmp_path / "out", ["abx", "speaker"], options=OPTIONS))
    assert report["experiments"]["abx"]["state"] == "done"
    assert report["experiments"]["speaker"]["state"] == "failed"
    reason = report["experiments"]["speaker"]["reason"]
    assert "maestro-v3.0.0.csv" in reason and "\n" not in reason


def test_a_fault_of_ours_in_one_experiment_leaves_the_others(lm, tmp_path, monkeypatch):
    data = zero_resource(tmp_path / "data")
    abx_items(data)
    monkeypatch.setattr(abx, "_described", lambda items, audio: 1 / 0)
    ended = parts(lm, data, tmp_path / "out", "abx", "probes")
    assert ended["abx"] == (
        "broken",
        "ZeroDivisionError: division by zero; a fault of ours, AUDIOLM_TRACEBACK=1 shows where; ",
    )
    assert ended["probes"][0] == "done"


def test_empty_files_of_a_report_are_made_again(lm, tmp_path):
    data = abx_items(tmp_path / "data").parent
    first = parts(lm, data, tmp_path / "out", "abx", "probes")
    for name in ("abx.json", "probes.json", "report.json", "report.html"):
        (tmp_path / "out" / name).write_text("")
    assert parts(lm, data, tmp_path / "out", "abx", "probes") == first
    assert "Phonetic ABX" in (tmp_path / "out" / "report.html").read_text()
