"""`python benchmarks/run.py`: tables on tiny sizes, and answers that are not lost."""

import re

import pytest
import torch

import model_speed
import run
from tiny import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model().save(folder)
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_quick_run_prints_its_tables(model, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(model_speed, "PROMPT_SECONDS", 0.6)
    out = tmp_path / "PERFORMANCE.md"
    words = ["--quick", "--only", "stages,ways,batches,training"]
    assert run.main([*words, "--model", str(model), "--out", str(out)]) == 0
    text = out.read_text()
    assert text.startswith("# Performance\n\nPrinted by `python benchmarks/run.py --quick` on ")
    assert re.search(r"seed 0\. audiolm \S+.*; model `.*` of fingerprint [0-9a-f]{16}\.", text)
    assert "the figures mean nothing" in text
    for kind in ("semantic", "coarse", "fine", "parallel"):
        assert f"\n| {kind} | " in text
    assert "\n| parallel | – | " in text  # the model has none
    assert "`tiny` has no parallel stage: one of random weights stands in" in text
    assert "\n| 2 | " in text  # two prompts
    for task in ("codec", "w2v-BERT", "stage semantic", "stage parallel"):
        assert f"\n| {task} | 4 x " in text
    assert "The whole run took" in text


def test_whole_commands(model, capsys) -> None:
    assert run.main(["--quick", "--only", "conditions", "--model", str(model)]) == 0
    said = capsys.readouterr().out
    assert "\n|  | one core |\n" in said
    for row in ("tokenizer, x real time", "stage fine, tokens/s", "the same, p95", "peak memory"):
        assert f"\n| {row}" in said


def test_a_question_that_fails_does_not_take_the_others_along(monkeypatch, capsys) -> None:
    def fail(asked, machine):
        raise RuntimeError("out of luck")

    def answer(asked, machine):
        return run.Section("Fine", "By a clock.", ["who"], [["we"]])

    monkeypatch.setattr(run, "QUESTIONS", {"bad": fail, "good": answer})
    assert run.main([]) == 1
    said = capsys.readouterr().out
    assert "## bad\n\nCould not be measured: out of luck" in said
    assert "| we |" in said


def test_a_busy_machine_is_told_of(monkeypatch, capsys) -> None:
    busy = run.Machine("one", cores=2, memory_bytes=None, load=3.0)
    monkeypatch.setattr(run, "describe", lambda: busy)
    monkeypatch.setattr(run, "QUESTIONS", {})
    assert run.main([]) == 0
    said = capsys.readouterr()
    assert "**Warning: others computed on this machine" in said.out
    assert said.err.startswith("warning: others computed on this machine")


@pytest.mark.parametrize("words", [["--only", "nothing"], ["--out", "no/such/folder/x.md"]])
def test_bad_usage(words, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run.main(words)
    assert stopped.value.code == 2
    assert words[0] in capsys.readouterr().err.splitlines()[-1]
