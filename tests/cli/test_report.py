"""`audiolm report`: Markdown of evaluations and trainings."""

import json

import pytest

from audiolm.evaluation.report.markdown import markdown_table, number


@pytest.fixture
def report(audiolm, model, corpus_folder, tmp_path):
    """A report of one experiment, with settings of its own."""
    data = corpus_folder(4, layout="librispeech", speakers=4, seconds=1.0)
    out = tmp_path / "report"
    answer = audiolm(
        *("evaluate", model, "--data", data, "--out", out, "--only", "probes,abx", "--quiet"),
        *("--set", "probes.ngram_hours=1", "--limit", 3, "--seed", 2),
    )
    assert answer.code == 0, answer.err
    return out


def test_tables_of_a_report(audiolm, report):
    answer = audiolm("report", report)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0].startswith("### Words and sentences: sWUGGY, sBLIMP (Table IV, Fig. 3)")
    assert "--only probes --limit 3 --set probes.ngram_hours=1.0`, seed 2" in lines[2]
    assert "| model | bits/token |" in lines
    (row,) = (line for line in lines if line.startswith("| semantic stage |"))
    assert row.count("[") == 1
    assert "abx" not in answer.out  # it was skipped


def test_settings_are_as_a_shell_reads_them(audiolm, report):
    content = json.loads((report / "report.json").read_text())
    content["experiments"]["probes"]["options"]["split"] = "two words"
    (report / "report.json").write_text(json.dumps(content))
    assert """--set 'probes.split="two words"'""" in audiolm("report", report).out


def test_a_half_of_the_speakers_is_said(audiolm, model, corpus_folder, tmp_path):
    data = corpus_folder(6, layout="librispeech", speakers=6, seconds=1.0)
    answer = audiolm(
        *("evaluate", model, "--data", data, "--out", tmp_path / "r", "--only", "probes"),
        *("--speakers", "choose", "--quiet"),
    )
    assert answer.code == 0, answer.err
    said = audiolm("report", tmp_path / "r").out
    assert "--speakers choose" in said
    assert "half of the speakers: choose" in said


def test_metrics_of_a_training(audiolm, trained_model):
    answer = audiolm("report", trained_model)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "| step | minutes | updates | on validation recordings |"
    steps = [line.split("|")[1].strip() for line in lines[2:] if line.startswith("|")]
    assert steps[:2] == ["codec", "w2v_bert"]
    assert steps[-1] == "parallel"
    assert "bits a token, unigram" in answer.out
    assert "SI-SDR" in answer.out
    assert "Semantic ids in use" in answer.out


def test_several_folders_as_json(audiolm, report, trained_model):
    content = audiolm("report", report, trained_model, "--json").json
    assert content[str(report)]["seed"] == 2
    assert content[str(trained_model)]["steps"]["codec"]["seconds"] > 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "report.json: is empty or damaged; the same audiolm evaluate command"),
        ("{", "report.json: is empty or damaged"),
        ('{"parts": {}}', "report.json: was written by an earlier version"),
    ],
)
def test_a_damaged_report_is_one_line(audiolm, tmp_path, content, says):
    (tmp_path / "report.json").write_text(content)
    answer = audiolm("report", tmp_path)
    assert answer.code == 2
    assert says in answer.err
    assert answer.err.count("\n") == 1


def test_other_folders_are_refused(audiolm, tmp_path):
    answer = audiolm("report", tmp_path)
    assert answer.code == 2
    assert "holds neither report.json nor training/" in answer.err
    (tmp_path / "training" / "codec").mkdir(parents=True)
    (tmp_path / "training" / "codec" / "done.json").write_text("")
    assert "no step of a training is finished there" in audiolm("report", tmp_path).err


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1234.5, "1234"), (12.345, "12.3"), (0.012345, "0.0123")]
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_a_bar_in_a_cell_does_not_end_it():
    assert list(markdown_table(["a"], [["x | y"]]))[-1] == "| x \\| y |"
