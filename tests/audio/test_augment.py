"""Perturbations change what they say they change, and never when something is said."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from audiolm.audio.augment import (
    Augment,
    AugmentConfig,
    band_curve,
    change_voice,
    coloured,
    echo,
    equalise,
    fast_size,
    mix,
    reverberate,
)

OFF = dict.fromkeys(("voice", "equaliser", "band_limit", "room", "babble", "noise", "gain"), 0.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def voiced(pitch: float, formant: float, samples: int = 16000) -> torch.Tensor:
    """Harmonics of `pitch` under one resonance at `formant` Hz, swelling and fading: (1, T)."""
    seconds = torch.arange(samples) / 16000
    out = torch.zeros(samples)
    for k in range(1, int(7000 / pitch)):
        level = math.exp(-(((k * pitch - formant) / 400) ** 2)) + 0.01
        out += level * torch.cos(2 * math.pi * k * pitch * seconds + k * k)
    swell = 0.1 + (torch.sin(2 * math.pi * 3 * seconds)).clamp(min=0)
    return (0.1 * out * swell / out.std())[None]


def pitch_of(waveform: torch.Tensor) -> float:
    """The strongest period between 70 and 400 Hz, by autocorrelation."""
    size = 2 * waveform.shape[1]
    correlation = torch.fft.irfft(torch.fft.rfft(waveform[0], size).abs().square(), size)
    return 16000 / (40 + int(correlation[40:229].argmax()))


def centroid_of(waveform: torch.Tensor) -> float:
    """Mean frequency of the energy, in Hz."""
    power = torch.fft.rfft(waveform[0]).abs().square()
    return float((power * torch.linspace(0, 8000, len(power))).sum() / power.sum())


def swell_of(waveform: torch.Tensor) -> torch.Tensor:
    """Level in dB of each 20 ms: (B, T / 320)."""
    level = waveform.unfold(1, 320, 320).square().mean(dim=2)
    return 10 * torch.log10(level + 1e-7)


def alike(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@given(rows=st.integers(1, 4), samples=st.integers(300, 4000), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_shape_range_and_finiteness(rows: int, samples: int, seed: int):
    always = Augment(AugmentConfig(**dict.fromkeys(OFF, 1.0)))
    waveform = torch.randn(rows, samples, generator=generator(seed)).clamp(-1, 1)
    waveform[0, samples // 2 :] = 0
    out = always(waveform, generator(seed))
    assert out.shape == waveform.shape
    assert out.dtype == torch.float32
    assert torch.isfinite(out).all()
    assert out.abs().max() <= 1 + 1e-5


def test_silence_stays_finite():
    out = Augment(AugmentConfig(**dict.fromkeys(OFF, 1.0)))(torch.zeros(3, 8000), generator())
    assert torch.isfinite(out).all()
    assert out.abs().max() < 1e-3


def test_one_seed_gives_one_result_and_the_input_is_left_alone():
    waveform = torch.cat([voiced(120, 800), voiced(200, 1500)])
    before, state = waveform.clone(), torch.get_rng_state()
    first = Augment()(waveform, generator(3))
    assert torch.equal(Augment()(waveform, generator(3)), first)
    assert not torch.equal(Augment()(waveform, generator(4)), first)
    assert torch.equal(waveform, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_all_off_changes_nothing():
    waveform = voiced(150, 1000)
    assert torch.equal(Augment(AugmentConfig(**OFF))(waveform, generator()), waveform)


@pytest.mark.parametrize("name", list(OFF))
def test_each_perturbation_acts_on_its_own(name: str):
    waveform = torch.cat([voiced(120, 800), voiced(200, 1500)])
    out = Augment(AugmentConfig(**(OFF | {name: 1.0})))(waveform, generator())
    changed = (out - waveform).square().mean(dim=1)
    assert (changed > 1e-8).all()


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_pitch_is_multiplied_and_formants_stay(factor: float):
    waveform = voiced(150, 1200)
    out = change_voice(waveform, torch.ones(1), torch.tensor([factor]))
    assert pitch_of(waveform) == pytest.approx(150, rel=0.02)
    assert pitch_of(out) == pytest.approx(150 * factor, rel=0.03)
    assert centroid_of(out) == pytest.approx(centroid_of(waveform), rel=0.1)


@pytest.mark.parametrize("speaker", [0, 1, 2])
def test_harmonics_that_glide_do_not_cancel(speech_like, speaker: int):
    """Bins of one harmonic that turned apart would take a third of the level (0.56 to 0.68)."""
    waveform = torch.from_numpy(speech_like(2.0, speaker=speaker))[None]
    out = change_voice(waveform, torch.ones(1), torch.tensor([0.8]))
    assert 0.75 < float(out.norm() / waveform.norm()) < 1.25


@pytest.mark.parametrize("factor", [0.85, 1.18])
def test_formants_are_multiplied_and_pitch_stays(factor: float):
    waveform = voiced(150, 1500)
    out = change_voice(waveform, torch.tensor([factor]), torch.ones(1))
    assert pitch_of(out) == pytest.approx(150, rel=0.02)
    assert centroid_of(out) / centroid_of(waveform) == pytest.approx(factor, abs=0.08)


def test_a_voice_that_is_not_changed_comes_back():
    waveform = voiced(150, 1500)
    same = change_voice(waveform, torch.ones(1), torch.ones(1))
    torch.testing.assert_close(same, waveform, atol=1e-3, rtol=0)


def test_the_voice_keeps_its_time():
    waveform = voiced(150, 1500, samples=48000)
    for formant, pitch in ((0.85, 0.75), (1.18, 1.33)):
        out = change_voice(waveform, torch.tensor([formant]), torch.tensor([pitch]))
        there, here = swell_of(waveform), swell_of(out)
        assert alike(here, there) > 0.95
        assert alike(here, there) > alike(here, there.roll(3, dims=1)) + 0.05


def test_filters_and_rooms_answer_at_once():
    click = torch.zeros(1, 8000)
    click[0, 3000] = 1
    curve = 6 * torch.sin(torch.linspace(0, 20, 257))[None]
    assert int(equalise(click, curve).abs().argmax()) == 3000
    noise = torch.randn(1, 4800, generator=generator())
    wet = reverberate(click, echo(noise, torch.tensor([0.3]), torch.tensor([3.0])))
    assert int(wet.abs().argmax()) == 3000
    assert wet[0, :3000].abs().max() < 1e-4
    assert wet[0, 3100:6000].abs().max() > 1e-3


def test_equaliser_gain_is_the_curve():
    seconds = torch.arange(16000) / 16000
    tone = torch.sin(2 * math.pi * 2000 * seconds)[None]
    curve = torch.linspace(0, -24, 257)[None]  # -6 dB at 2 kHz
    out = equalise(tone, curve)[:, 2000:-2000]
    assert 20 * math.log10(float(out.std() / tone.std())) == pytest.approx(-6, abs=0.1)


def test_band_curve_falls_outside_its_band():
    curve = band_curve(torch.tensor([200.0]), torch.tensor([4000.0]))[0]
    hertz = torch.linspace(1, 8000, 257)
    assert (curve[(hertz > 200) & (hertz < 4000)] == 0).all()
    assert float(curve[-1]) == pytest.approx(-24, abs=0.1)


def test_echo_energy_and_decay():
    noise = torch.randn(1, 9600, generator=generator())
    response = echo(noise, torch.tensor([0.3]), torch.tensor([6.0]))[0]
    tail = response[1:]
    assert 10 * math.log10(float(tail.square().sum())) == pytest.approx(-6, abs=0.01)
    early, late = tail[800:1600].square().mean(), tail[4000:4800].square().mean()
    assert 10 * math.log10(float(late / early)) == pytest.approx(-60 * 0.2 / 0.3, abs=2)


@pytest.mark.parametrize("ratio", [0.0, 12.0])
def test_mix_sets_the_ratio(ratio: float):
    a = torch.randn(2, 4000, generator=generator(1))
    b = 7 * torch.randn(2, 4000, generator=generator(2))
    added = mix(a, b, torch.full((2,), ratio)) - a
    decibels = 10 * torch.log10(a.square().mean(dim=1) / added.square().mean(dim=1))
    torch.testing.assert_close(decibels, torch.full((2,), ratio), atol=1e-3, rtol=0)


def test_colour_of_noise():
    white = torch.randn(1, 65536, generator=generator())
    power = torch.fft.rfft(coloured(white, torch.tensor([2.0]))).abs().square()[0]
    low, high = power[4000:4400].mean(), power[8000:8800].mean()  # an octave apart
    assert 10 * math.log10(float(low / high)) == pytest.approx(6, abs=1)


def test_one_row_hears_no_other():
    config = AugmentConfig(**(OFF | {"babble": 1.0}))
    waveform = voiced(150, 900)
    assert torch.equal(Augment(config)(waveform, generator()), waveform)


@given(least=st.integers(1, 1_000_000))
def test_fast_size_is_even_enough_and_has_small_factors(least: int):
    size = fast_size(least)
    assert least <= size <= max(1.25 * least, 32)
    assert size % 2 == 0
    for factor in (2, 3, 5):
        while size % factor == 0:
            size //= factor
    assert size == 1


def test_float32_under_autocast():
    waveform = voiced(150, 900).repeat(2, 1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = Augment()(waveform, generator(5))
    torch.testing.assert_close(inside, Augment()(waveform, generator(5)), rtol=0, atol=0)


def test_a_range_upside_down_is_refused():
    with pytest.raises(ValidationError, match="lower end first"):
        AugmentConfig(gain_db=(3.0, -3.0))
