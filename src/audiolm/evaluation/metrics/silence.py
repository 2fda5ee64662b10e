"""Silence: does a continuation go on at all?

Definition: a semantic step (40 ms) of a continuation is silent if it is more than `DEPTH` dB below
the loud parts of its prompt.

Convention: prompt and continuation in one recording, and how many seconds at its end are the
continuation.
"""

import numpy as np

from audiolm.audio.waveform import Audio
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP

DEPTH = 30.0
"""dB."""


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
    samples = whole.resampled(SAMPLE_RATE).samples.astype(np.float64)
    steps = samples[: len(samples) // SEMANTIC_HOP * SEMANTIC_HOP].reshape(-1, SEMANTIC_HOP)
    level = 10 * np.log10(np.square(steps).mean(axis=1) + 1e-12)  # (S,) dB
    known = round((len(samples) - seconds * SAMPLE_RATE) / SEMANTIC_HOP)
    silent: np.ndarray = level[known:] < np.percentile(level[:known], 95) - DEPTH
    return silent


def evaluate(whole: Audio, seconds: float) -> dict[str, float]:
    """`silence`: percent of the continuation's steps that are silent."""
    return {"silence": 100 * float(silent_steps(whole, seconds).mean())}
