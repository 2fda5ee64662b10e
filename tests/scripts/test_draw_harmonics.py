"""Voiced speech as recorded and as codecs render it: one picture."""

import numpy as np
import pytest

from audiolm.audio.waveform import Audio
from tiny import noise, tiny_model

pytest.importorskip("matplotlib")


def test_a_row_for_each_recording(load_script, tmp_path, capsys):
    for number in range(2):
        noise(2.0, seed=number).write(tmp_path / f"{number}.wav")
    tiny_model().save(tmp_path / "model")
    out = tmp_path / "harmonics.png"
    load_script("draw_harmonics").main(
        [
            *(str(tmp_path / f"{number}.wav") for number in range(2)),
            *("--models", f"{tmp_path / 'model'},{tmp_path / 'model'}/"),
            *("--levels", "2", "--out", str(out)),
        ]
    )
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "2 recordings" in capsys.readouterr().out


def test_the_stretch_with_harmonics_is_found_among_louder_noise(load_script):
    script = load_script("draw_harmonics")
    time = np.arange(16_000) / 16_000
    voiced = sum(np.sin(2 * np.pi * 120 * n * time) / n for n in range(1, 20))
    hiss = 1.5 * np.random.default_rng(0).standard_normal(32_000)
    samples = np.concatenate([hiss, voiced, hiss]).astype(np.float32)
    start, stop = script.voiced_stretch(samples, 0.8)
    assert 32_000 - 512 <= start <= stop <= 48_000 + 512
    assert script.voiced_stretch(Audio(samples, 16_000).samples[:100], 0.8) == (0, 100)
