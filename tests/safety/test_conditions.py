"""Every condition: samples at 16 kHz in, samples at 16 kHz out, the same for the same seed."""

import numpy as np
import pytest

from audiolm.safety.conditions import CONDITIONS, applied, through_codec
from tiny import tiny_model


@pytest.fixture(scope="module")
def sound(speech_like):
    return speech_like(1.0, seed=3)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition(name, sound):
    made = applied(name, sound, seed=1)
    assert made.dtype == np.float32 and made.ndim == 1 and np.abs(made).max() <= 1.1
    assert np.array_equal(made, applied(name, sound, seed=1))
    lengths = {"speed 95 %": 16_842, "speed 105 %": 15_238}
    if name != "trimming":
        assert len(made) == lengths.get(name, 16_000)
    if name != "clean":
        assert len(made) != len(sound) or np.abs(made - sound).max() > 1e-3


@pytest.mark.parametrize("name", [n for n in CONDITIONS if "noise" in n or "music" in n])
def test_what_is_mixed_in_has_the_level_that_its_name_says(name, sound):
    added = applied(name, 0.2 * sound, seed=1) - 0.2 * sound
    ratio = 10 * np.log10(np.mean((0.2 * sound) ** 2) / np.mean(added**2))
    assert ratio == pytest.approx(float(name.split()[1]), abs=0.1)


def test_bands_are_narrow():
    loud = np.random.default_rng(0).uniform(-0.5, 0.5, 32_000).astype(np.float32)
    for name, highest in (("telephone", 3400), ("resampling", 5512)):
        power = np.abs(np.fft.rfft(applied(name, loud, seed=0))) ** 2
        above = int((highest + 300) * len(loud) / 16_000)
        assert power[above:].sum() < 0.01 * power.sum()


def test_through_a_codec(sound):
    codec = tiny_model().codec
    made = applied("own codec", sound, 0, through_codec(codec, 1))
    assert made.shape == sound.shape and made.dtype == np.float32
