"""An hour-long prompt: its end is used and said so, in little time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

HOUR = 3600
RATE = 8000


@pytest.fixture(scope="module")
def hour(tmp_path_factory) -> Path:
    """One hour at 8 kHz: noise, and in its last two seconds a tone."""
    path = tmp_path_factory.mktemp("hour") / "hour.flac"
    minute = np.random.default_rng(0).integers(-300, 300, 60 * RATE, dtype=np.int16)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(HOUR // 60 - 1):
            file.write(minute)
        tone = 9000 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
        file.write(np.concatenate([minute[: 58 * RATE], tone.astype(np.int16)]))
    return path


@pytest.fixture(scope="module")
def end(hour) -> Path:
    """The hour's last two seconds as a file of their own."""
    path = hour.with_name("end.flac")
    with soundfile.SoundFile(hour) as file:
        file.seek((HOUR - 2) * RATE)
        soundfile.write(path, file.read(dtype="int16"), RATE)
    return path


def run(model: Path, prompt: Path, out: Path) -> tuple[str, float, float]:
    """Continue in a process of its own: stderr, seconds of computing, megabytes at its peak."""
    command = [sys.executable, "-m", "audiolm", "continue", prompt, "-o", out, "--model", model]
    command += ["--prompt-seconds", "2", "--seconds", "0.4", "--threads", "1", "--json"]
    said, answer = out.with_suffix(".err"), out.with_suffix(".json")
    with said.open("w") as stderr, answer.open("w") as stdout:
        process = subprocess.Popen(list(map(str, command)), stdout=stdout, stderr=stderr)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said.read_text()
    assert json.loads(answer.read_text())["outputs"][0]["seconds"] == pytest.approx(2.4)
    megabyte = 1e6 if sys.platform == "darwin" else 1e3  # of ru_maxrss: bytes there, kilobytes here
    return said.read_text(), used.ru_utime + used.ru_stime, used.ru_maxrss / megabyte


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell what a child used")
def test_the_last_seconds_of_an_hour_are_used_and_said_so(model, hour, end, tmp_path) -> None:
    said, seconds, megabytes = run(model, hour, tmp_path / "of-hour.wav")
    assert said == (
        "audiolm: warning: prompt: 3600.00 s long, of which the last 2 s are used; "
        "ask for more with prompt_seconds\n"
    )
    nothing, least_seconds, least_megabytes = run(model, end, tmp_path / "of-end.wav")
    assert nothing == ""
    of_hour, of_end = (soundfile.read(tmp_path / name)[0] for name in ("of-hour.wav", "of-end.wav"))
    assert np.array_equal(of_hour, of_end)  # what came before the last seconds is not heard
    assert seconds < least_seconds + 5
    assert megabytes < least_megabytes + 50  # an hour at 8 kHz in float32 is 115
