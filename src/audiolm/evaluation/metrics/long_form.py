"""Long streams, minute by minute: does a stream fall silent, or go round in circles?

Definition, for each minute: *level*, how many dB its sound is above that of the prompt; *silence*,
percent of its semantic steps that are silent (as `silence` has it); *distinct*, how many different
semantic ids it has; *fresh*, percent of its runs of `RUN` ids that did not occur in it before. Of
speech that goes on, no run comes back often; of a loop, all but the first round do.

Convention: the prompt, and what follows it, at 16 kHz; the semantic ids of each minute.
"""

from collections.abc import Sequence

import numpy as np

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics.silence import silent_steps
from audiolm.shapes import SAMPLE_RATE

MINUTE = 60.0
"""Seconds."""

RUN = 4
"""Semantic ids, 0.16 s."""


def minutes_of(stream: Audio, minute: float = MINUTE) -> list[Audio]:
    """The whole minutes of a stream; what is left over is left out."""
    length = round(minute * stream.sample_rate)
    starts = range(0, len(stream.samples) - length + 1, length)
    return [Audio(stream.samples[start : start + length], stream.sample_rate) for start in starts]


def fresh_share(ids: np.ndarray) -> float:
    """Share of the runs of `RUN` ids (S,) that did not occur before; 1 where there is no run."""
    runs = [tuple(ids[start : start + RUN].tolist()) for start in range(len(ids) - RUN + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0


def validate(prompt: Audio, minutes: Sequence[Audio], ids: Sequence[np.ndarray]) -> None:
    """Check what is to be measured.

    Raises:
        ValueError: rates differ, or there are not as many sequences of ids as minutes.
    """
    if any(audio.sample_rate != SAMPLE_RATE for audio in (prompt, *minutes)):
        raise ValueError(f"need {SAMPLE_RATE} samples per second")
    if len(minutes) != len(ids):
        raise ValueError(f"{len(minutes)} minutes, but ids of {len(ids)}")


def evaluate(
    prompt: Audio, minutes: Sequence[Audio], ids: Sequence[np.ndarray]
) -> dict[str, list[float]]:
    """`level`, `silence`, `distinct` and `fresh` of each minute.

    Args:
        prompt: what came before them.
        minutes: in order.
        ids: (S,) of each.

    Raises:
        ValueError: as `validate`, or there is no step of the prompt.
    """
    validate(prompt, minutes, ids)
    return {
        "level": [_decibels(minute) - _decibels(prompt) for minute in minutes],
        "silence": [
            100 * float(silent_steps(_joined(prompt, minute), minute.seconds).mean())
            for minute in minutes
        ],
        "distinct": [float(len(np.unique(one))) for one in ids],
        "fresh": [100 * fresh_share(one) for one in ids],
    }


def _decibels(audio: Audio) -> float:
    return 10 * float(np.log10(np.square(audio.samples.astype(np.float64)).mean() + 1e-12))


def _joined(first: Audio, second: Audio) -> Audio:
    return Audio(np.concatenate([first.samples, second.samples]), first.sample_rate)
