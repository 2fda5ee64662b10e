"""`audiolm evaluate` on small corpora: reports, what it says, and exit codes."""

import json

import pytest

from audiolm.evaluation.tables.registry import EXPERIMENTS
from tiny import noise

ITEMS = "#file onset offset #phone prev-phone next-phone speaker\n"


@pytest.fixture
def data(tmp_path):
    """Two recordings and an item file for ABX, and nothing else."""
    root, lines = tmp_path / "data", [ITEMS]
    for speaker in (1, 2):
        path = root / str(speaker) / "1" / f"{speaker}-1-0.wav"
        path.parent.mkdir(parents=True)
        noise(2.0, speaker).write(path)
        for token in range(4):
            onset = 0.1 + 0.4 * token
            lines.append(f"{path.stem} {onset} {onset + 0.3} {'PQ'[token % 2]} A B {speaker}\n")
    (root / "dev.item").write_text("".join(lines))
    return root


def test_a_report_of_one_part(audiolm, model, data, tmp_path):
    out = tmp_path / "report"
    arguments = ["evaluate", model, "--data", data, "--out", out, "--only", "abx"]
    arguments += ["--set", "abx.features=[mfcc, semantic]", "--seed", "3", "--threads", "1"]
    answer = audiolm(*arguments)
    assert answer.code == 0, answer.err
    assert "dev.mfcc.within" in answer.out and "report.html" in answer.out
    report = json.loads((out / "report.json").read_text())
    assert list(report["experiments"]) == ["abx"]
    assert report["seed"] == 3
    assert set(report["experiments"]["abx"]["metrics"]) == {
        f"dev.{name}.{mode}" for name in ("mfcc", "semantic") for mode in ("within", "across")
    }
    assert "<!DOCTYPE html>" in (out / "report.html").read_text()
    again = audiolm(*arguments, "--json")
    assert again.json["experiments"]["abx"]["state"] == "kept"


def test_parts_without_data_are_said_to_be_skipped_and_others_run(audiolm, model, data, tmp_path):
    (data / "lexical" / "dev").mkdir(parents=True)
    (data / "lexical" / "dev" / "gold.csv").write_text("id,filename\n")
    answer = audiolm(
        *("evaluate", model, "--data", data, "--out", tmp_path / "out", "--only", "abx,probes"),
        *("--set", "abx.features=[mel]"),
    )
    assert answer.code == 2
    assert answer.err.startswith("audiolm: probes failed: ")
    assert "no column voice" in answer.err
    assert answer.err.count("\n") == 1
    assert "dev.mel.within" in answer.out


def test_an_empty_folder_is_skipped_with_the_remedy(audiolm, model, tmp_path):
    (tmp_path / "empty").mkdir()
    answer = audiolm(
        *("evaluate", model, "--data", tmp_path / "empty", "--out", tmp_path / "out"),
        *("--only", "abx,probes"),
    )
    assert answer.code == 2
    lines = answer.err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [
        "abx skipped",
        "probes skipped",
    ]
    assert "--set abx.items=FILE" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "abz"], "--only abz: there is no such experiment; choose of abx, "),
        (["--set", "abx.feature=mel"], "unknown key abx.feature; did you mean features?"),
        (["--limit", "0"], "Invalid value for '--limit'"),
        (["--data", "nowhere"], "nowhere: there is no such folder"),
    ],
)
def test_wrong_usage_is_one_line(audiolm, model, data, tmp_path, arguments, says):
    out = tmp_path / "out"
    answer = audiolm("evaluate", model, "--data", data, "--out", out, *arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert says in answer.err
    assert answer.err.count("\n") == 1
    assert not out.exists()


def test_sampling_options_reach_the_parts(audiolm, model, data, tmp_path):
    answer = audiolm(
        *("evaluate", model, "--data", data, "--out", tmp_path / "out", "--only", "abx", "--json"),
        *("--set", "abx.features=[mel]", "--temperature", "0.5,0.7,0.9", "--top-k", "4"),
        *("--levels", "2", "--best-of", "3", "--guidance", "1.5"),
    )
    assert answer.code == 0, answer.err
    assert answer.json["model"]["levels"] == 2
    assert answer.json["best_of"] == 3
    sampling = answer.json["model"]["sampling"]
    assert sampling["semantic"]["temperature"] == 0.5
    assert sampling["fine"] == {
        "temperature": 0.9,
        "top_k": 4,
        "top_p": None,
        "guidance": 1.0,  # there are no semantic ids in it that could guide
    }
    assert sampling["coarse"]["guidance"] == 1.5


def test_the_help_names_every_part(audiolm):
    said = audiolm("evaluate", "--help").out
    for name in EXPERIMENTS:
        assert name in said
