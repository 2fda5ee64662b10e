"""Twenty minutes through the codec: as one minute of it, at little memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm.audio.files import read
from audiolm.pretrained import load
from tiny import noise

RATE = 22_050
MINUTES = 20


def write_long(path: Path, minutes: int) -> None:
    """So many minutes in stereo, another sound in each."""
    random = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
        for _ in range(minutes):
            tone = 3000 * np.sin(np.arange(60 * RATE) * random.uniform(0.05, 0.3))
            noise = random.integers(-300, 300, (60 * RATE, 2))
            file.write((tone[:, None] + noise).astype(np.int16))


def run(model: Path, source: Path, out: Path) -> float:
    """Reconstruct in a process of its own: megabytes at its peak."""
    command = [sys.executable, "-m", "audiolm", "reconstruct", source, "-o", out, "--model", model]
    answer = out.with_suffix(".json")
    with answer.open("w") as stdout:
        process = subprocess.Popen([*map(str, command), "--json"], stdout=stdout)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert json.loads(answer.read_text())["outputs"][0]["file"] == str(out)
    return used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system does not tell what a child used")
def test_memory_does_not_grow_with_the_recording(model, tmp_path):
    megabytes = []
    for minutes in (1, MINUTES):
        source, out = tmp_path / f"{minutes}.flac", tmp_path / f"{minutes}-out.flac"
        write_long(source, minutes)
        megabytes.append(run(model, source, out))
        assert soundfile.info(out).duration == 60 * minutes
    # At 16 kHz in float32 the sound alone is 77 MB, and as it lies in the file 423 MB.
    assert megabytes[1] < megabytes[0] + 40
    short, long = (soundfile.read(tmp_path / f"{n}-out.flac")[0] for n in (1, MINUTES))
    np.testing.assert_allclose(long[: len(short) - 800], short[:-800], atol=2e-4)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("seconds", [0.01, 1.0, 25.03])
def test_in_blocks_it_is_what_it_is_all_at_once(audiolm, model, tmp_path, rate, seconds):
    source, out = tmp_path / "in.flac", tmp_path / "out.wav"
    noise(seconds, sample_rate=rate).write(source)
    assert audiolm("reconstruct", source, "-o", out, "--model", model).code == 0
    expected = load(model).reconstruction(read(source)).samples.clip(-1, 1)
    samples = read(out).samples
    assert len(samples) == len(expected)
    np.testing.assert_allclose(samples, expected, atol=2e-4)


def test_damage_in_the_middle_leaves_no_output(audiolm, model, tmp_path):
    source, out = tmp_path / "in.flac", tmp_path / "out.wav"
    noise(40.0).write(source)
    source.write_bytes(source.read_bytes()[:-20_000])
    answer = audiolm("reconstruct", source, "-o", out, "--model", model)
    assert answer.code == 2
    assert answer.err.startswith(f"audiolm: {source}: is damaged or cut off")
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [source]
