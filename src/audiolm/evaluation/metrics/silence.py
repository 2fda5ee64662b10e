"""Silence: does a continuation go on at all?

Definition: a semantic step (40 ms) of a continuation is silent if it is more than `DEPTH` dB
below the loud parts of its prompt (`audiolm.audio.silence`).

Convention: prompt and continuation in one recording, and how many seconds at its end are the
continuation.
"""

import numpy as np

from audiolm.audio.silence import DEPTH, LOUD, step_levels
from audiolm.audio.waveform import Audio
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP


def validate(whole: Audio, seconds: float) -> None:
    """Check what is to be measured.

    Raises:
        ValueError: there is no prompt of at least a step, or no continuation.
    """
    step = SEMANTIC_HOP / SAMPLE_RATE
    if not step <= seconds <= whole.seconds - step:
        raise ValueError(f"{seconds:g} s of {whole.seconds:g} s leave no step on either side")


def silent_steps(whole: Audio, seconds: float) -> np.ndarray:
    """Which semantic steps (n,) of the last `seconds` are silent, beside what comes before them.

    A step's level is that of its 640 samples; what 95 % of the steps before do
    not exceed counts as loud.

    Raises:
        ValueError: as `validate`.
    """
    validate(whole, seconds)
    samples = whole.resampled(SAMPLE_RATE).samples
    level = step_levels(samples[: len(samples) // SEMANTIC_HOP * SEMANTIC_HOP])  # (S,) dB
    known = round((len(samples) - seconds * SAMPLE_RATE) / SEMANTIC_HOP)
    silent: np.ndarray = level[known:] < np.percentile(level[:known], LOUD) - DEPTH
    return silent


def evaluate(whole: Audio, seconds: float) -> dict[str, float]:
    """`silence`: percent of the continuation's steps that are silent."""
    return {"silence": 100 * float(silent_steps(whole, seconds).mean())}
