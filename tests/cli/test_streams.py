"""`--stream` and `-o -`: written as it is made, valid however it ends."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from audiolm.audio.files import read
from audiolm.pretrained import load


def start(*arguments, **settings):
    """The command as a process of its own."""
    command = [sys.executable, "-m", "audiolm", *(str(argument) for argument in arguments)]

    def heed_ctrl_c():  # what a shell starts in the background ignores it, and so would this
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c, **settings)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_streamed_file_is_the_continuation(audiolm, model, prompt, tmp_path):
    out = tmp_path / "out.wav"
    common = ("continue", prompt, "--seconds", 1.5, "--model", model, "--seed", 3, "-o")
    answer = audiolm(*common, out, "--stream")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{out}: 2.50 s, seed 3, took")
    audiolm(*common, tmp_path / "whole.wav")
    assert np.allclose(read(out).samples, read(tmp_path / "whole.wav").samples, atol=2e-4)
    assert names(tmp_path) == ["out.wav", "prompt.wav", "whole.wav"]


def test_options_reach_the_stream(audiolm, model, prompt, tmp_path):
    common = ("continue", prompt, "--seconds", 0.7, "--model", model, "--continuation-only")
    common += ("--baseline", "acoustic-only", "--levels", 1, "--temperature", "2,2,2", "-o")
    answer = audiolm(*common, tmp_path / "out.wav", "--stream", "--json")
    assert answer.code == 0
    made = answer.json["outputs"][0]
    assert made["seconds"] == 0.7 and 0 < made["first_chunk"] <= made["took"]
    audiolm(*common, tmp_path / "whole.wav")
    a, b = (read(tmp_path / f"{name}.wav").samples for name in ("out", "whole"))
    assert len(a) == 0.7 * 16_000 and np.allclose(a, b, atol=2e-4)


def test_generate_streams_too(audiolm, model, tmp_path):
    out = tmp_path / "out.wav"
    answer = audiolm("generate", "-o", out, "--seconds", 1.2, "--model", model, "--stream")
    assert answer.code == 0
    expected = load(model).unconditional(1.2).samples.clip(-1, 1)
    assert np.allclose(read(out).samples, expected, atol=2e-4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-o", "out.flac", "--stream"), "out.flac: is written as it is made, which only WAV"),
        (("-o", "out.mp3", "--stream"), "out.mp3: must end in .wav or .flac"),
        (("-o", "out.wav", "--stream", "--samples", 2), "--samples 2: a stream is one recording"),
        (("-o", "-", "--samples", 2), "--samples 2: a stream is one recording"),
        (("-o", "-", "--best-of", 3), "--best-of 3: what was heard cannot be drawn again"),
        (("-o", "-", "--acoustic", "parallel"), "--acoustic parallel: makes all frames at once"),
        (("-o", "-", "--json"), "--json: stdout has the sound"),
        (("-o", "out.wav", "--stream", "--seconds", "nan"), "seconds: nan is not a length"),
        (("-o", "out.wav", "--seconds", "inf"), "seconds: inf is not a length"),
        (("-o", "prompt.wav", "--stream"), "prompt.wav: is the recording that is read"),
    ],
)
def test_what_cannot_be_streamed_is_refused(
    audiolm, model, prompt, tmp_path, monkeypatch, arguments, says
):
    monkeypatch.chdir(tmp_path)
    answer = audiolm("continue", "prompt.wav", *arguments, "--model", model)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"audiolm: {says}") and answer.err.count("\n") == 1
    assert names(tmp_path) == ["prompt.wav"]


def test_sound_is_not_sent_to_a_terminal(audiolm, model, prompt, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    answer = audiolm("continue", prompt, "-o", "-", "--model", model)
    assert (answer.code, answer.out) == (2, "")
    assert "stdout is a terminal" in answer.err


def test_stdout_has_the_sound_and_nothing_else(model, prompt, tmp_path):
    with (tmp_path / "out.wav").open("wb") as out:
        process = start(
            *("continue", prompt, "-o", "-", "--seconds", 0.5, "--model", model), stdout=out
        )
        said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 0 and said.startswith("-: 1.50 s, seed 0, took")
    samples, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert rate == 16_000
    assert np.array_equal(read(tmp_path / "out.wav").samples, samples)
    expected = load(model).continuation(read(prompt), 0.5).samples.clip(-1, 1)
    assert np.allclose(samples, expected, atol=2e-4)


def test_a_reader_that_goes_away_ends_it_quietly(model, prompt):
    process = start(
        *("continue", prompt, "-o", "-", "--seconds", "inf", "--model", model),
        stdout=subprocess.PIPE,
    )
    assert len(process.stdout.read(200_000)) == 200_000
    process.stdout.close()
    said = process.stderr.read()
    assert (process.wait(timeout=60), said) == (0, b"")


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
def test_ctrl_c_leaves_a_file_that_can_be_played(model, prompt, tmp_path):
    out = tmp_path / "out.wav"
    process = start("continue", prompt, "-o", out, "--stream", "--seconds", "inf", "--model", model)
    deadline = time.monotonic() + 120
    while not (out.exists() and out.stat().st_size > 100_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.strip()) == (130, b"audiolm: interrupted")
    header = out.read_bytes().index(b"data") + 8
    assert 2 * len(read(out).samples) + header == out.stat().st_size > 100_000
    assert names(tmp_path) == ["out.wav", "prompt.wav"]
