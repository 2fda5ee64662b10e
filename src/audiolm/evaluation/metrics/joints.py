"""Joints: is there a step where a made piece meets a recording?

Definition: around a point, `SPAN` seconds that end `MARGIN` before it are compared with as many
that begin `MARGIN` after it, so that neither holds any of a cross-fade. *Level step*: difference of
their levels in dB, whichever way. *Pitch step*: difference of the mean pitch of their voiced
frames, in semitones, whichever way; None where one of the two has none. Speech has such steps of
its own, so the same points of the recording are measured beside.

Convention: the sound, and points in seconds that lie `MARGIN` + `SPAN` or more from its ends.
"""

import numpy as np

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics.voicing import STEP, PitchTrack, track
from audiolm.shapes import SAMPLE_RATE

MARGIN = 0.025
"""Seconds."""
SPAN = 0.04
"""Seconds."""
QUIETEST = 1e-7
"""Power that counts as silence, -70 dB: what is below differs in nothing that is heard."""

UNITS = {"level_step": "dB", "pitch_step": "semitones"}
"""Metrics that `evaluate` returns."""


def validate(audio: Audio, points: list[float]) -> None:
    """Check what is to be measured.

    Raises:
        ValueError: there are no points, or one too near an end.
    """
    far = MARGIN + SPAN
    if not points or not all(far <= point <= audio.seconds - far for point in points):
        raise ValueError(f"points {points} of {audio.seconds:g} s: need {far:g} s on both sides")


def level_step(audio: Audio, point: float) -> float:
    """Difference in dB between before and after a point."""
    samples = audio.resampled(SAMPLE_RATE).samples.astype(np.float64)
    before, after = (
        samples[round(first * SAMPLE_RATE) : round((first + SPAN) * SAMPLE_RATE)]
        for first in (point - MARGIN - SPAN, point + MARGIN)
    )
    levels = [10 * np.log10(max(float(np.square(s).mean()), QUIETEST)) for s in (before, after)]
    return float(abs(levels[1] - levels[0]))


def pitch_step(tracked: PitchTrack, seconds: float, point: float) -> float | None:
    """Difference in semitones between before and after a point.

    Args:
        tracked: pitch of a recording of so many `seconds`; its frames lie in the middle of it.
        seconds: of the recording.
        point: in it.
    """
    count = len(tracked.pitch)
    time = seconds / 2 + STEP * (np.arange(count) - (count - 1) / 2)  # (n,) as Praat has them
    means = []
    for first in (point - MARGIN - SPAN, point + MARGIN):
        here = tracked.voiced & (time >= first) & (time <= first + SPAN)
        if not here.any():
            return None
        means.append(float(np.log2(tracked.pitch[here]).mean()))
    return 12 * abs(means[1] - means[0])


def evaluate(audio: Audio, points: list[float]) -> dict[str, float | None]:
    """Means over the points of all metrics of `UNITS`; None where no point has an answer.

    Raises:
        ValueError: as `validate`.
        Skipped: without praat-parselmouth.
    """
    validate(audio, points)
    tracked = track(audio)
    pitches = [pitch_step(tracked, audio.seconds, point) for point in points]
    known = [step for step in pitches if step is not None]
    return {
        "level_step": float(np.mean([level_step(audio, point) for point in points])),
        "pitch_step": float(np.mean(known)) if known else None,
    }
