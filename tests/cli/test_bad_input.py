"""Bad input: exit code 2, one line that names the trouble, no traceback, no output file."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

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


def infinite(path: Path) -> None:
    soundfile.write(path, np.full(16_000, np.inf, np.float32), 16_000, subtype="FLOAT")


def too_short(path: Path) -> None:
    noise(0.3).write(path)


def truncated_flac(path: Path) -> None:
    """Longer than a prompt, so that it is told that only its end is used, but not before this."""
    soundfile.write(path, noise(9.0).samples, 16_000, format="FLAC")
    path.write_bytes(path.read_bytes()[:-5000])


def nan_at_the_end(path: Path) -> None:
    samples = noise(9.0).samples
    samples[-10] = np.nan
    soundfile.write(path, samples, 16_000, subtype="FLOAT")


def truncated_ogg(path: Path) -> None:
    soundfile.write(path, noise(9.0).samples, 16_000, format="OGG", subtype="VORBIS")
    path.write_bytes(path.read_bytes()[:-5000])


def joined_ogg(path: Path) -> None:
    soundfile.write(path, noise(9.0).samples, 16_000, format="OGG", subtype="OPUS")
    path.write_bytes(2 * path.read_bytes())


def header_tells_less(path: Path) -> None:
    noise(9.0).write(path)
    whole = bytearray(path.read_bytes())
    whole[40:44] = (8000).to_bytes(4, "little")
    path.write_bytes(whole)


def scale_of_int16(path: Path) -> None:
    soundfile.write(path, 32_768 * noise(9.0).samples, 16_000, subtype="FLOAT")


def pipe(path: Path) -> None:
    os.mkfifo(path)


RECORDINGS = [
    (missing, "there is no such file"),
    (directory, "is a folder"),
    (empty, "is an empty file"),
    (text, "is no recording that can be read"),
    (truncated, "is cut off"),
    (no_samples, "holds no samples"),
    (nan, "holds NaN"),
    (infinite, "holds NaN or infinite"),
    (truncated_flac, "is damaged or cut off"),
    (nan_at_the_end, "holds NaN"),
    (truncated_ogg, "is cut off"),
    (joined_ogg, "holds several recordings"),
    (header_tells_less, "280000 more follow"),
    (scale_of_int16, "divide them by 32768"),
    (pipe, "is a pipe"),
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
    refused(answer, f"{path}: 0.30 s is too short", "at least 0.5 s", out=out)
    path.unlink()
    noise(9.0).write(path)
    answer = audiolm("continue", path, "-o", out, "--model", model, "--prompt-seconds", 0.3)
    refused(answer, "prompt_seconds: 0.3 s is too short", out=out)


def test_names_that_are_no_utf8(audiolm, model, tmp_path):
    path, out = (tmp_path / os.fsdecode(b"caf\xe9-" + name) for name in (b"in.wav", b"out.wav"))
    refused(audiolm("reconstruct", path, "-o", out, "--model", model), "no such file", out=out)
    noise(1.0).write(path)
    for option in ((), ("--json",)):
        answer = audiolm("reconstruct", path, "-o", out, "--model", model, *option)
        assert (answer.code, answer.err) == (0, "")
        assert "caf" in answer.out and "out.wav" in answer.out
        assert out.exists()


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
        ("a" * 251 + ".wav", "File name too long"),
        ("a" * 240 + ".wav", "File name too long"),  # the file beside it, until it is whole
        ("a" * 300 + "/out.wav", "there is no folder"),
        ("pipe.wav", "is a pipe"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(
    audiolm, prompt, tmp_path, verb, name, says
):
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    source = [] if verb == "generate" else [prompt]
    answer = audiolm(verb, *source, "-o", tmp_path / name, "--model", "no-such-model")
    refused(answer, str(tmp_path / name), says)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "folder.wav", "pipe.wav", "prompt.wav",
    ]  # fmt: skip


def test_a_folder_without_permission(audiolm, prompt, tmp_path, monkeypatch):
    def deny(self, *_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", deny)  # root may write anywhere
    answer = audiolm("continue", prompt, "-o", tmp_path / "out.wav", "--model", "no-such-model")
    refused(answer, "cannot be written to (Permission denied)", out=tmp_path / "out.wav")


def test_numbered_names_are_tried_too(audiolm, tmp_path):
    """A name that fits, but not with a number in it."""
    longest = 255 - len(".") - len(".12345678.part") - len(".wav")
    common = ("generate", "--model", "no-such-model", "-o")
    name = tmp_path / ("a" * longest + ".wav")
    refused(audiolm(*common, name), "there is no such model")
    refused(audiolm(*common, name, "--samples", 100), "-100.wav", "File name too long")


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
    [
        *(("--top-k", "0"), ("--top-k", "-3"), ("--top-p", "2"), ("--top-p", "nan")),
        *(("--top-p", "inf"), ("--top-p", "0"), ("--temperature", "-1,1,1")),
        *(("--temperature", "nan,1,1"), ("--temperature", "1,inf,1"), ("--temperature", "1,1,nan")),
    ],
)
@pytest.mark.parametrize("verb", ["continue", "generate", "resynthesize"])
def test_sampling_that_cannot_be_is_refused_before_any_work(
    audiolm, prompt, tmp_path, verb, option, value
):
    out = tmp_path / "out.wav"
    source = [] if verb == "generate" else [prompt]
    answer = audiolm(verb, *source, "-o", out, "--model", "no-such-model", option, value)
    refused(answer, "sampling", option.removeprefix("--").replace("-", "_"), out=out)


@pytest.mark.parametrize("option", ["--seconds", "--prompt-seconds"])
def test_lengths_are_refused_before_any_work(audiolm, prompt, tmp_path, option):
    common = ("-o", tmp_path / "out.wav", "--model", "no-such-model")
    answer = audiolm("continue", prompt, *common, option, "nan")
    refused(answer, "nan is not a length", out=tmp_path / "out.wav")


def test_an_error_stands_alone(audiolm, model, tmp_path):
    """What would have been warned of is not said where nothing comes of it."""
    path, out = tmp_path / "in.wav", tmp_path / "out.wav"
    noise(9.0).write(path)
    answer = audiolm("continue", path, "-o", out, "--model", "no-such-model")
    refused(answer, "there is no such model", out=out)
    soundfile.write(path, np.zeros(16_000), 16_000)
    answer = audiolm("resynthesize", path, "-o", out, "--model", model, "--levels", 99)
    refused(answer, "give 1 to 4", out=out)


def test_more_threads_than_cores(audiolm, model, prompt, tmp_path):
    before = torch.get_num_threads()
    try:
        answer = audiolm(
            "reconstruct", prompt, "-o", tmp_path / "o.wav", "--model", model, "--threads", 100_000
        )
        assert answer.code == 0
        assert answer.err.startswith("audiolm: warning: threads: 100000 asked for")
        assert answer.err.count("\n") == 1
        assert torch.get_num_threads() == os.cpu_count()
        audiolm("reconstruct", prompt, "-o", tmp_path / "o.wav", "--model", model)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    refused(audiolm("generate", "-o", tmp_path / "o2.wav", "--threads", 0), "--threads")


@pytest.mark.parametrize("levels", ["0", "-2", "99"])
def test_levels_that_are_not_there(audiolm, model, prompt, tmp_path, levels):
    out = tmp_path / "out.wav"
    answer = audiolm("reconstruct", prompt, "-o", out, "--model", model, "--levels", levels)
    refused(answer, "give 1 to 4", out=out)


@pytest.mark.parametrize("draws", ["0", "65", "two"])
def test_draws_that_cannot_be(audiolm, model, prompt, tmp_path, draws):
    out = tmp_path / "out.wav"
    answer = audiolm("continue", prompt, "-o", out, "--model", model, "--best-of", draws)
    refused(answer, "--best-of", out=out)


@pytest.mark.parametrize(("guidance", "says"), [("nan", "guidance"), ("-1", "guidance")])
def test_guidance_that_cannot_be(audiolm, model, prompt, tmp_path, guidance, says):
    out = tmp_path / "out.wav"
    answer = audiolm("continue", prompt, "-o", out, "--model", model, "--guidance", guidance)
    refused(answer, says, out=out)


def test_guidance_of_a_model_that_has_not_learnt_it(audiolm, model, prompt, tmp_path):
    out = tmp_path / "out.wav"
    answer = audiolm("continue", prompt, "-o", out, "--model", model, "--guidance", "1.5")
    refused(answer, "coarse stage: guidance is 1.5", out=out)


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
