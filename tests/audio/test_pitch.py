import numpy as np
import pytest
import torch

from audiolm.audio.pitch import track_pitch


def voice(pitch, seconds, silence=0.0):
    """Ten harmonics that fall off, after some silence."""
    t = torch.arange(round(seconds * 16000)) / 16000
    waves = sum(torch.cos(2 * torch.pi * k * pitch * t) / k for k in range(1, 11))
    return torch.cat([torch.zeros(round(silence * 16000)), 0.1 * waves])


def test_the_pitch_of_a_voice_is_found_and_silence_has_none():
    samples = voice(140.0, 1.0, silence=1.0)[None]
    centres = np.arange(0, 32000, 80)
    track = track_pitch(samples, centres)[0].numpy()
    assert track.shape == (400,)
    assert not track[:190].any()
    inside = track[215:385]
    assert (inside > 0).mean() > 0.95
    assert np.median(np.abs(1200 * np.log2(inside[inside > 0] / 140.0))) < 20


def test_rows_have_their_own_pitch_and_padding_has_none():
    samples = torch.stack([voice(110.0, 1.0), voice(250.0, 1.0)])
    track = track_pitch(samples, np.arange(0, 16000, 10), torch.tensor([16000, 8000]))
    low, high = (float(row[row > 0].median()) for row in track)
    assert low == pytest.approx(110.0, rel=0.02)
    assert high == pytest.approx(250.0, rel=0.02)
    assert track[1, 790:800].all() and not track[1, 800:].any()
