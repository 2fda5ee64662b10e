"""What a model hears of a prompt, and which prompts and lengths it refuses."""

import math
import warnings

import numpy as np
import pytest

from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError, ConfigurationError
from audiolm.model import AudioLM
from audiolm.prompt import PromptCutWarning, prompt_samples, warn_where_cut
from tiny import noise, tiny_model


@pytest.fixture(scope="module")
def lm() -> AudioLM:
    return tiny_model()


def same(a: Audio, b: Audio) -> bool:
    return np.array_equal(a.samples, b.samples)


# ---- what of a prompt is used --------------------------------------------------------------------


def test_the_last_seconds_of_a_long_prompt_are_used_and_it_is_said(lm):
    prompt = noise(2.0)
    with pytest.warns(PromptCutWarning, match=r"2\.00 s long, of which the last 1 s are used") as w:
        out = lm.continuation(prompt, 0.5, prompt_seconds=1.0)
    assert w[0].filename == __file__
    assert same(out, lm.continuation(prompt.last(1.0), 0.5))
    assert not same(out, lm.continuation(prompt.first(1.0), 0.5))


def test_a_whole_long_prompt_is_used_when_asked(lm):
    assert lm.continuation(noise(5.0), 0.5, prompt_seconds=None).seconds == 5.5


def test_the_front_of_a_prompt_is_cut_to_whole_semantic_steps(lm):
    samples = noise(1.0).samples
    longer = Audio(np.concatenate([np.float32([0.5] * 639), samples]), 16_000)
    assert same(lm.continuation(longer, 0.5), lm.continuation(Audio(samples, 16_000), 0.5))


def test_a_prompt_of_another_rate_is_resampled(lm):
    prompt = noise(1.0, sample_rate=44_100)
    assert same(lm.continuation(prompt, 0.5), lm.continuation(prompt.resampled(16_000), 0.5))


def test_of_a_long_prompt_its_end_is_used_in_whole_semantic_steps() -> None:
    prompt = noise(2.0)
    with pytest.warns(PromptCutWarning) as w:
        used = prompt_samples(prompt, 1.01)  # 16,160 samples: 25 steps and 160
    assert w[0].filename == __file__
    assert np.array_equal(used, prompt.samples[-16_000:])


def test_nothing_is_said_of_less_than_a_semantic_step() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_where_cut(3.039, 3.0)
    with pytest.warns(PromptCutWarning, match=r"3\.05 s long, of which the last 3 s are used") as w:
        warn_where_cut(3.05, 3.0)
    assert w[0].filename == __file__


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, 1e9])
def test_absurd_lengths_are_refused(lm, seconds):
    for make in (
        lambda: lm.continuation(noise(1.0), seconds),
        lambda: lm.continuation(noise(1.0), 1.0, prompt_seconds=seconds),
        lambda: lm.unconditional(seconds),
    ):
        with pytest.raises(ConfigurationError, match="give more than 0 and at most 3600 seconds"):
            make()


def test_too_short_or_empty_audio_is_refused(lm):
    with pytest.raises(AudioError, match=r"0\.49 s is too short.*at least 0\.5 s"):
        lm.continuation(noise(0.49), 1.0)
    for rate, length in ((16_000, 0), (44_100, 0), (44_100, 1)):
        empty = Audio(np.zeros(length, np.float32), rate)
        for mode in (lm.continuation, lm.acoustic_generation, lm.reconstruction, lm.tokenize):
            with pytest.raises(AudioError):
                mode(empty)


def test_too_little_of_a_prompt_names_the_setting(lm):
    with pytest.raises(ConfigurationError, match=r"prompt_seconds: 0\.3 s is too short.*at least"):
        lm.continuation(noise(1.0), 0.5, prompt_seconds=0.3)


@pytest.mark.filterwarnings("ignore:samples reach")
def test_samples_in_the_scale_of_int16_are_refused(lm):
    loud = Audio(noise(1.0).samples / 0.1 * 9830, 16_000)
    for mode in (lm.continuation, lm.acoustic_generation, lm.reconstruction, lm.tokenize):
        with pytest.raises(AudioError, match=r"its samples reach .* divide them by 32768"):
            mode(loud)


def test_what_is_no_audio_is_refused(lm):
    for prompt in ("prompt.wav", noise(1.0).samples, [noise(1.0), "prompt.wav"]):
        with pytest.raises(AudioError, match=r"need an Audio.*audiolm\.read"):
            lm.continuation(prompt)
    with pytest.raises(AudioError, match=r"need an Audio"):
        lm.tokenize("audio.wav")
