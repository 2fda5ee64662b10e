"""Every channel of a recording by itself, block by block."""

import numpy as np
import pytest
import soundfile

from audiolm.audio import decoding
from audiolm.audio.blocks import read_blocks, read_channel_blocks
from audiolm.audio.resample import resample
from audiolm.errors import AudioError


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_channels_are_those_of_the_file(tmp_path, monkeypatch, channels, rate) -> None:
    monkeypatch.setattr(decoding, "BLOCK", 5000)
    samples = 0.1 * np.random.default_rng(channels).standard_normal((2 * rate, channels))
    soundfile.write(tmp_path / "some.wav", samples, rate, subtype="FLOAT")
    blocks = list(read_channel_blocks(tmp_path / "some.wav", 16_000))
    found = np.concatenate(blocks)
    assert found.shape == (32_000, channels) and found.dtype == np.float32
    assert len(blocks) > 1
    for channel in range(channels):
        wanted = resample(samples[:, channel].astype(np.float32), rate, 16_000)
        assert np.abs(found[:, channel] - wanted).max() < 1e-5
    mixed = np.concatenate(list(read_blocks(tmp_path / "some.wav", 16_000)))
    assert np.abs(found.mean(axis=1) - mixed).max() < 1e-5


def test_what_cannot_be_read_is_told(tmp_path) -> None:
    samples = np.zeros((1000, 2), dtype=np.float32)
    samples[500, 1] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN"):
        list(read_channel_blocks(tmp_path / "nan.wav"))
    with pytest.raises(AudioError, match="no such file"):
        list(read_channel_blocks(tmp_path / "none.wav"))
