"""Which steps of a recording are silent."""

import numpy as np
import pytest

from audiolm.audio.silence import silent_steps, step_levels


def test_levels_are_those_of_whole_steps_and_of_what_is_left():
    samples = np.concatenate([np.full(640, 0.1), np.full(320, 0.01)]).astype(np.float32)
    assert step_levels(samples) == pytest.approx([-20, -40], abs=1e-4)
    assert len(step_levels(samples[:0])) == 0


def test_silence_is_relative_to_what_is_loud():
    tone = np.sin(np.arange(640 * 20))
    faint = np.concatenate([tone, 10 ** (-29 / 20) * tone, 10 ** (-31 / 20) * tone])
    for gain in (1.0, 1e-3):
        silent = silent_steps((gain * faint).astype(np.float32))
        assert silent.tolist() == [False] * 40 + [True] * 20
    assert len(silent_steps(tone[:0])) == 0
