import pickle

import numpy as np
import pytest

from audiolm.audio import level
from audiolm.audio.level import AFTER, FREE, LARGEST, SLEW, STEP, LevelHolder

RATE = 16_000
PROMPT = 3 * RATE


def sound(decibels, seed=0):
    """Noise whose level (dB of full scale) is told for every second."""
    amplitude = np.repeat(10 ** (np.asarray(decibels, dtype=np.float64) / 20), RATE)
    noise = np.random.default_rng(seed).standard_normal(len(amplitude))
    return (amplitude * noise).astype(np.float32)


def level_of(samples):
    return 10 * np.log10(np.square(samples.astype(np.float64)).mean())


def plain_gains(samples, prompt):
    """The gain in dB where each step begins, from sums over all that came, again and again."""
    energy = np.square(samples.astype(np.float64)).reshape(-1, STEP).mean(1)  # (n,)
    beginning = (prompt or 10 * RATE) // STEP
    wanted = 10 * np.log10((energy[:beginning] ** 2).sum() / energy[:beginning].sum())
    gains = [0.0, 0.0]  # where the first step begins, and where it ends
    for steps in range(1, len(energy)):
        if steps < beginning + 20 * 25:
            gains.append(0.0)
            continue
        weight = np.exp(-np.arange(steps)[::-1] * 0.04 / 10)
        heard = energy[:steps]
        now = 10 * np.log10((weight * heard**2).sum() / (weight * heard).sum())
        target = 0.0
        if now > wanted + 3:
            target = max(wanted + 3 - now, -12)
        if now < wanted - 3:
            target = min(wanted - 3 - now, 12)
        gains.append(gains[-1] + min(max(target - gains[-1], -0.04), 0.04))
    return np.array(gains)


RISING = [-20] * 20 + list(range(-20, 0)) + [-4] * 20
FALLING = [-20] * 20 + list(np.linspace(-20, -40, 60)) + [-38] * 30


@pytest.mark.parametrize("prompt", [PROMPT, 0])
@pytest.mark.parametrize(("decibels", "sign"), [(RISING, -1), (FALLING, 1)])
def test_gains_equal_a_plain_loop(decibels, sign, prompt):
    samples = sound(decibels)
    gains = plain_gains(samples, prompt)
    assert (sign * gains).max() > 8
    inside = np.arange(STEP) / STEP
    decibels = gains[:-1, None] + np.diff(gains)[:, None] * inside  # (n, STEP)
    expected = samples * 10 ** (decibels.reshape(-1) / 20)
    assert np.abs(LevelHolder(prompt).push(samples) - expected).max() < 1e-5


@pytest.mark.parametrize("prompt", [PROMPT, 0])
def test_nothing_is_changed_before_its_time(prompt):
    samples = sound([-30] * 3 + [-10] * 60)
    free = round((AFTER + (3 if prompt else level.WITHOUT_PROMPT)) * RATE)
    held = LevelHolder(prompt).push(samples)
    assert np.array_equal(held[:free], samples[:free])
    if prompt:
        assert level_of(held[free + 5 * RATE :]) < level_of(samples[free + 5 * RATE :]) - 3


@pytest.mark.parametrize("drift", [-11, 11])
def test_a_level_that_walks_away_is_led_back(drift):
    walk = [-20.0] * 10 + list(np.linspace(-20, -20 + drift, 60)) + [-20.0 + drift] * 60
    held = LevelHolder(PROMPT).push(sound(walk))
    assert abs(level_of(held[-30 * RATE :]) + 20) == pytest.approx(FREE, abs=0.2)
    steps = [level_of(second) for second in held.reshape(-1, RATE)]
    assert np.abs(np.diff(steps)).max() < SLEW + 0.3


def test_what_is_near_enough_is_left_alone():
    samples = sound([-20] * 30 + [-18] * 60 + [-22] * 60)
    assert np.array_equal(LevelHolder(PROMPT).push(samples), samples)


def test_no_gain_is_larger_than_the_largest():
    samples = sound([-30] * 3 + [-3] * 120)
    held = LevelHolder(PROMPT).push(samples)
    assert level_of(held[-RATE:]) == pytest.approx(level_of(samples[-RATE:]) - LARGEST, abs=0.01)


def test_a_pause_is_no_quieter_voice():
    samples = sound([-20] * 40 + [-90] * 15 + [-20] * 20)
    assert np.array_equal(LevelHolder(PROMPT).push(samples), samples)


@pytest.mark.parametrize("silence", [0.0, 1e-5])
def test_silence_has_no_level_to_be_held(silence):
    samples = sound([-20] * 60)
    samples[:PROMPT] *= silence
    assert np.array_equal(LevelHolder(PROMPT).push(samples), samples)
    assert not LevelHolder(PROMPT).push(np.zeros(40 * RATE, np.float32)).any()


def test_it_is_the_same_however_the_sound_is_cut():
    samples = sound([-25] * 10 + [-12] * 40)
    cuts = np.random.default_rng(1).integers(0, len(samples), 60)
    holder = LevelHolder(PROMPT)
    pieces = [holder.push(piece) for piece in np.split(samples, np.sort(cuts))]
    whole = LevelHolder(PROMPT).push(samples)
    assert whole.dtype == np.float32
    assert not np.array_equal(whole, samples)
    assert np.abs(np.concatenate(pieces) - whole).max() < 1e-6


def test_an_hour_takes_no_more_memory_than_a_minute():
    holder, second = LevelHolder(PROMPT), sound([-20])
    sizes = []
    for _ in range(10):
        for _ in range(30):
            holder.push(second)
        sizes.append(len(pickle.dumps(holder)))
    assert max(sizes) - min(sizes) < 8  # numbers of other lengths
