"""Steps that are silent beside the prompt."""

import numpy as np
import pytest

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics.silence import evaluate, silent_steps


def test_silence_is_counted_beside_the_loud_parts_of_the_prompt():
    generator = np.random.default_rng(0)
    step, quiet, loud = 640, 0.003, 0.3  # 40 dB apart
    gains = np.repeat([loud, quiet, loud, loud, quiet, quiet, loud, 0.0], 5)
    samples = gains.repeat(step) * generator.choice([-1, 1], len(gains) * step)
    whole = Audio(samples.astype(np.float32), 16_000)
    silent = silent_steps(whole, 25 * step / 16_000)  # the last five gains
    assert silent.tolist() == [False] * 5 + [True] * 10 + [False] * 5 + [True] * 5
    louder = Audio(samples.astype(np.float32) * 0.1, 16_000)
    assert silent_steps(louder, 25 * step / 16_000).tolist() == silent.tolist()


def test_what_is_a_little_softer_is_no_silence():
    samples = np.ones(16_000, np.float32)
    samples[8_000:] = 0.05  # 26 dB
    assert not silent_steps(Audio(samples, 16_000), 0.4).any()
    samples[8_000:] = 0.02  # 34 dB
    assert silent_steps(Audio(samples, 16_000), 0.4).all()


def test_the_share_is_in_percent():
    loud, silent = 0.1 * np.ones(16_000, np.float32), np.zeros(16_000, np.float32)
    whole = Audio(np.concatenate([loud, loud, silent]), 16_000)
    assert evaluate(whole, 2.0) == {"silence": 50}


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_prompt_and_continuation_are_needed(seconds):
    with pytest.raises(ValueError, match="no step on either side"):
        evaluate(Audio(np.zeros(16_000, np.float32), 16_000), seconds)
