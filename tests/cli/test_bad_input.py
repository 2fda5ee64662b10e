"""Bad input: exit code 2, one line that names the trouble, no traceback, no output file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm.model_io.folder import save_part
from tiny import noise, tiny_model


def refused(answer, *words: str, out: Path | None = None) -> None:
    """Assert that a command refused as it should."""
    assert answer.code == 2, answer.err
    assert answer.out == ""
    assert answer.err.startswith("audiolm: ")
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err
    if out is not None:
        assert not out.exists()
        assert not list(out.parent.glob("*.part")) and not list(out.parent.glob(".*.part"))


# ---- recordings ----------------------------------------------------------------------------------


def missing(path: Path) -> None:
    pass


def directory(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("this is no sound\n" * 100)


def truncated(path: Path) -> None:
    noise(1.0).write(path)
    path.write_bytes(path.read_bytes()[:10_000])


def no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0, np.float32), 16_000)


def nan(path: Path) -> None:
    soundfile.write(path, np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")


def too_short(path: Path) -> None:
    noise(0.3).write(path)


RECORDINGS = [
    (missing, "there is no such file"),
    (directory, "is a folder"),
    (empty, "is an empty file"),
    (text, "is no recording that can be read"),
    (truncated, "is cut off"),
    (no_samples, "holds no samples"),
    (nan, "holds NaN"),
]


@pytest.mark.parametrize(
    ("make", "says"), RECORDINGS, ids=lambda value: getattr(value, "__name__", "")
)
@pytest.mark.parametrize("verb", ["continue", "resynthesize", "reconstruct"])
def test_a_recording_that_cannot_be_used(audiolm, model, tmp_path, verb, make, says):
    path, out = tmp_path / "in.wav", tmp_path / "out.wav"
    make(path)
    refused(audiolm(verb, path, "-o", out, "--model", model), str(path), says, out=out)


def test_a_prompt_that_is_too_short(audiolm, model, tmp_path):
    path, out = tmp_path / "in.wav", tmp_path / "out.wav"
    too_short(path)
    answer = audiolm("continue", path, "-o", out, "--model", model)
    refused(answer, "0.30 s is too short", "at least 0.5 s", out=out)


# ---- where to write ------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["continue", "resynthesize", "reconstruct", "generate"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("out.mp3", "must end in .wav or .flac"),
        ("out", "must end in .wav or .flac"),
        ("nowhere/out.wav", "there is no folder"),
        ("prompt.wav/out.wav", "there is no folder"),
        ("folder.wav", "is a folder"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(
    audiolm, prompt, tmp_path, verb, name, says
):
    (tmp_path / "folder.wav").mkdir()
    source = [] if verb == "generate" else [prompt]
    answer = audiolm(verb, *source, "-o", tmp_path / name, "--model", "no-such-model")
    refused(answer, str(tmp_path / name), says)


def test_a_folder_without_permission(audiolm, prompt, tmp_path, monkeypatch):
    monkeypatch.setattr("audiolm.cli.options.os.access", lambda path, mode: path != tmp_path)
    answer = audiolm("continue", prompt, "-o", tmp_path / "out.wav")
    refused(answer, "cannot be written to", out=tmp_path / "out.wav")


def test_the_prompt_is_not_overwritten(audiolm, model, prompt):
    before = prompt.read_bytes()
    answer = audiolm("continue", prompt, "-o", prompt, "--model", model)
    refused(answer, "is the recording that is read")
    assert prompt.read_bytes() == before


# ---- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e9"])
def test_absurd_lengths(audiolm, model, prompt, tmp_path, seconds):
    out, common = tmp_path / "out.wav", ("-o", tmp_path / "out.wav", "--model", model)
    refused(audiolm("continue", prompt, *common, "--seconds", seconds), "seconds: ", out=out)
    answer = audiolm("continue", prompt, *common, "--prompt-seconds", seconds)
    refused(answer, "prompt_seconds: ", "give more than 0", out=out)
    refused(audiolm("generate", *common, "--seconds", seconds), "seconds: ", out=out)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--top-k", "0"), ("--top-p", "2"), ("--temperature", "-1,1,1"), ("--temperature", "nan,1,1")],
)
def test_sampling_that_cannot_be(audiolm, model, prompt, tmp_path, option, value):
    out = tmp_path / "out.wav"
    answer = audiolm("continue", prompt, "-o", out, "--model", model, option, value)
    refused(answer, "sampling: ", option.removeprefix("--").replace("-", "_"), out=out)


@pytest.mark.parametrize("levels", ["0", "-2", "99"])
def test_levels_that_are_not_there(audiolm, model, prompt, tmp_path, levels):
    out = tmp_path / "out.wav"
    answer = audiolm("reconstruct", prompt, "-o", out, "--model", model, "--levels", levels)
    refused(answer, "give 1 to 4", out=out)


# ---- models --------------------------------------------------------------------------------------


@pytest.fixture
def broken(model, tmp_path) -> Path:
    """A copy of the model, to be broken."""
    return Path(shutil.copytree(model, tmp_path / "broken"))


@pytest.fixture
def speak(audiolm, prompt, tmp_path):
    """Continue the prompt with a model."""

    def run(name):
        return audiolm("continue", prompt, "-o", tmp_path / "out.wav", "--model", name)

    return run


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out.wav"


def test_an_unknown_model(speak, out):
    refused(speak("speach"), "speach: there is no such model", out=out)


def test_a_folder_that_is_no_model(speak, out, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(speak(tmp_path / "empty"), "not a model folder", out=out)


def test_a_file_that_is_no_model(speak, out, prompt):
    refused(speak(prompt), str(prompt), "not a model folder", out=out)


def test_a_missing_part(speak, out, broken):
    (broken / "stage_fine.safetensors").unlink()
    refused(speak(broken), "stage_fine.safetensors: is missing", out=out)


def test_a_truncated_part(speak, out, broken):
    path = broken / "codec.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    refused(speak(broken), "codec.safetensors: is truncated", "1000", str(len(whole)), out=out)


def test_an_altered_part(speak, out, broken):
    path = broken / "semantic.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 64
    path.write_bytes(data)
    refused(speak(broken), "semantic.safetensors: was altered", "expected", out=out)


def test_parts_of_two_models(speak, out, broken):
    other = tiny_model(seed=1).codec
    ours = json.loads((broken / "model.json").read_text())["parts"]["codec"]["fingerprint"]
    save_part(broken, "codec", other)
    refused(speak(broken), ours, other.fingerprint(), out=out)


def test_a_newer_format(speak, out, broken):
    path = broken / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))
    refused(speak(broken), "format_version 2 is newer", "pip install -U audiolm", out=out)


def test_info_refuses_them_too(audiolm, broken):
    (broken / "stage_fine.safetensors").unlink()
    refused(audiolm("info", broken), "stage_fine.safetensors: is missing")
    refused(audiolm("info", "speach"), "there is no such model")
    refused(audiolm("benchmark", "speach"), "there is no such model")
