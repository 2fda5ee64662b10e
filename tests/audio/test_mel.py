"""Log-mel frames against their definition, and at the ends of a recording."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from audiolm.audio.mel import LogMel, MelConfig, mel_filters


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(samples=st.integers(1, 2000))
@settings(max_examples=30, deadline=None)
def test_one_frame_for_every_hop_begun(samples: int):
    assert LogMel()(noise(2, samples)).shape == (2, math.ceil(samples / 160), 80)


@given(samples=st.integers(1, 1500), padding=st.integers(0, 900))
@settings(max_examples=30, deadline=None)
def test_zeros_at_the_end_change_no_real_frame(samples: int, padding: int):
    mel, waveform = LogMel(), noise(1, samples)
    padded = torch.cat([waveform, torch.zeros(1, padding)], dim=1)
    alone = mel(waveform)
    torch.testing.assert_close(mel(padded)[:, : alone.shape[1]], alone)


def test_a_frame_is_what_the_definition_says():
    config = MelConfig(bins=20, mean=-3.0, std=2.0)
    waveform = noise(1, 1600).double().numpy()[0]
    i = 4
    first = i * 160 - 120  # centred on the hop's middle, i * 160 + 80
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft(waveform[first : first + 400] * hann, 512)) ** 2

    mel = lambda hertz: 2595 * np.log10(1 + hertz / 700)  # noqa: E731
    edges = 700 * (10 ** (np.linspace(mel(20), mel(7600), 22) / 2595) - 1)
    expected = []
    for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
        energy = 0.0
        for k, p in enumerate(power):
            hertz = k * 16000 / 512
            if left < hertz <= centre:
                energy += p * (hertz - left) / (centre - left)
            elif centre < hertz < right:
                energy += p * (right - hertz) / (right - centre)
        expected.append((math.log(energy) + 3.0) / 2.0)
    frame = LogMel(config)(torch.from_numpy(waveform).float()[None])[0, i]
    np.testing.assert_allclose(frame.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("bins", [40, 64, 80, 128])
def test_no_mel_bin_is_dead(bins: int):
    assert (mel_filters(MelConfig(bins=bins)).sum(dim=0) > 0).all()


def test_a_louder_tone_raises_the_bin_of_its_frequency_most():
    seconds = torch.arange(16000) / 16000
    mel = LogMel()
    peaks = [
        int(mel(torch.sin(2 * math.pi * hertz * seconds)[None]).mean(dim=1).argmax())
        for hertz in (300, 1000, 4000)
    ]
    centres = 700 * (10 ** (torch.linspace(31.7, 2787.8, 82)[1:-1] / 2595) - 1)
    for peak, hertz in zip(peaks, (300, 1000, 4000), strict=True):
        assert abs(peak - int((centres - hertz).abs().argmin())) <= 1


def test_silence_lies_on_the_floor_and_nothing_below():
    config = MelConfig()
    floor = (math.log(config.floor) - config.mean) / config.std
    torch.testing.assert_close(LogMel()(torch.zeros(1, 800)), torch.full((1, 5, 80), floor))


def test_float32_under_autocast():
    waveform = noise(1, 3200)
    with torch.autocast("cpu", torch.bfloat16):
        inside = LogMel()(waveform)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, LogMel()(waveform), rtol=0, atol=0)


def test_nothing_to_store():
    assert not LogMel().state_dict()


@pytest.mark.parametrize("wrong", [{"fmin": 8000.0}, {"fmax": 9000.0}, {"window": 401}])
def test_impossible_settings_are_refused(wrong: dict):
    with pytest.raises(ValidationError, match=r"change|choose"):
        MelConfig(**wrong)
