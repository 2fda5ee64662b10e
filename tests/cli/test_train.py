"""`audiolm train`: what its options ask for, and what it says. (Training itself: test_chain.)"""

import json
import sys

import pytest
import torch

from audiolm.training import recipe


@pytest.fixture
def asked(monkeypatch):
    """The request that the command makes of the recipe, which is not carried out."""
    requests = []

    def train_model(request):
        requests.append(request)
        return {"model": str(request.out), "steps": {}, "lacks": []}

    monkeypatch.setattr(recipe, "train_model", train_model)
    return requests


def test_options_become_a_request(audiolm, asked, tmp_path) -> None:
    answer = audiolm(
        *("train", tmp_path, "--out", tmp_path / "m", "--preset", "tiny", "--minutes", 5),
        *("--only", "codec, fine", "--restart", "--validation", tmp_path / "dev", "--seed", 7),
        *("--set", "training.codec.crop_seconds=0.25", "--set", "data.pack=false"),
        *("--device", "cpu", "--quiet"),
    )
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    (request,) = asked
    assert (request.folder, request.out) == (tmp_path, tmp_path / "m")
    assert request.minutes == 5
    assert request.only == ["codec", "fine"]
    assert request.start is None
    assert request.restart and request.quiet
    assert request.device == torch.device("cpu")
    preset = request.preset
    assert (preset.name, preset.seed) == ("tiny", 7)
    assert preset.training.codec.crop_seconds == 0.25
    assert preset.data.validation == str(tmp_path / "dev")
    assert not preset.data.pack


def test_without_options_the_small_preset_is_trained_whole(audiolm, asked, tmp_path) -> None:
    answer = audiolm("train", tmp_path, "--out", tmp_path / "m")
    assert answer.code == 0
    assert f"audiolm continue PROMPT -o OUT --model {tmp_path / 'm'}" in answer.out
    (request,) = asked
    assert request.preset.name == "small"
    assert request.minutes is None
    assert request.only == []
    assert not request.restart and not request.quiet


def test_a_model_to_start_from_is_found_by_its_name_or_folder(
    audiolm, asked, tmp_path, model, monkeypatch
) -> None:
    audiolm("train", tmp_path, "--out", tmp_path / "m", "--from", model)
    monkeypatch.setattr("audiolm.pretrained.BUNDLED", model.parent)
    audiolm("train", tmp_path, "--out", tmp_path / "m", "--from", model.name)
    assert [request.start for request in asked] == [model, model]


def test_help_tells_every_option(audiolm) -> None:
    answer = audiolm("train", "--help")
    assert (answer.code, answer.err) == (0, "")
    said = " ".join(answer.out.split())
    assert "--from MODEL Start from a model's weights; parts that no step makes are copied." in said
    for option in (
        "--out",
        "--preset",
        "--minutes",
        "--only",
        "--restart",
        "--set",
        "--validation",
    ):
        assert option in said


def test_json_is_the_summary_and_nothing_else(audiolm, asked, tmp_path) -> None:
    answer = audiolm("train", tmp_path, "--out", tmp_path / "m", "--json")
    assert json.loads(answer.out) == {"model": str(tmp_path / "m"), "steps": {}, "lacks": []}


def test_one_of_several_processes_speaks_for_all(audiolm, asked, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    answer = audiolm("train", tmp_path, "--out", tmp_path / "m", "--json")
    assert (answer.code, answer.out) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--preset", "smal"], "preset smal: not known; use one of"),
        (["--set", "codec.widht=3"], "unknown key codec.widht; did you mean width?"),
        (["--from", "no-such-model"], "no-such-model: there is no such model"),
        (["--set", "seed"], "--set seed: write it as key=value"),
        (["--only", "codex"], "--only codex: not a step; use some of codec, w2v_bert"),
        (["--minutes", "0"], "Invalid value for '--minutes'"),
        (["--minutes", "nan"], "Invalid value for '--minutes': nan is not a time"),
        (["--minutes", "inf"], "Invalid value for '--minutes': inf is not a time"),
        (
            ["--set", "training.codec.optimization.minutes=.nan"],
            "minutes: Input should be a finite",
        ),
        (["--set", "codec={kind: spectral, kind: soundstream}"], "codec.kind is there twice"),
        (["--set", "stages.fine.layout.kind=coarse"], "stages.fine.layout.kind: coarse cannot be"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        ([], "there is no such folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(audiolm, tmp_path, arguments, says) -> None:
    answer = audiolm(
        "train", tmp_path / "none", "--out", tmp_path / "m", "--preset", "tiny", *arguments
    )
    assert answer.code == 2
    assert answer.out == ""
    assert says in answer.err
    assert answer.err.count("\n") == 1


def test_what_cannot_be_heard_yet_is_not_said_to_be(audiolm, tmp_path, training_corpus) -> None:
    short = ("--set", "training.codec.optimization.steps=1")
    answer = audiolm(
        *("train", training_corpus, "--out", tmp_path / "m", "--preset", "tiny"),
        *("--only", "codec", *short),
    )
    assert answer.code == 0
    assert answer.out == (
        f"{tmp_path / 'm'}: trained; before it can be heard it needs semantic, stage_semantic, "
        "stage_coarse, which the same command without --only makes\n"
    )


def test_an_empty_number_of_processes_is_one_line(audiolm, tmp_path, monkeypatch) -> None:
    for variable in ("", "two", "0", "-1", "1.5"):
        monkeypatch.setenv("WORLD_SIZE", variable)
        answer = audiolm("train", tmp_path, "--out", tmp_path / "m", "--preset", "tiny")
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert answer.err.startswith(f"audiolm: WORLD_SIZE={variable}: is not a number from 1 on")


def test_an_interruption_says_how_to_go_on(audiolm, tmp_path, monkeypatch) -> None:
    def interrupted(request):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "train_model", interrupted)
    monkeypatch.setattr(
        sys, "argv", ["audiolm", "train", "my speech", "--out", "m", "--restart", "--set", "a=[1]"]
    )
    answer = audiolm("train", tmp_path, "--out", tmp_path / "m")
    assert answer.code == 130
    assert answer.err.split("\n") == [
        "audiolm: to go on: audiolm train 'my speech' --out m --set 'a=[1]'",
        "",  # after the ^C of the terminal
        "audiolm: interrupted",
        "",
    ]
