"""Stretches of recordings of music: a prompt, and what truly follows it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.requirements import Skipped
from audiolm.shapes import SAMPLE_RATE


@dataclass(frozen=True)
class Window:
    """A prompt and what truly follows it."""

    utterance: Utterance
    begin: float
    """Seconds, in the recording."""
    audio: Audio
    """Prompt and continuation."""

    @property
    def piece(self) -> str:
        """What intervals resample: see `Utterance.speaker`."""
        return self.utterance.speaker


def windows_of(chosen: Sequence[Utterance], seconds: float, places: int) -> list[Window]:
    """Up to so many stretches of each recording, one after the other, from its first sound on.

    Raises:
        Skipped: no recording is long enough, or there is one piece only.
    """
    windows = []
    for utterance in chosen:
        audio = read(utterance.recording.path, SAMPLE_RATE)
        begin, length = first_sound(audio), round(seconds * SAMPLE_RATE)
        for place in range(places):
            samples = audio.samples[begin + place * length :][:length]
            if len(samples) == length and samples.any():
                at = (begin + place * length) / SAMPLE_RATE
                windows.append(Window(utterance, at, Audio(samples, SAMPLE_RATE)))
    if len({window.piece for window in windows}) < 2:
        raise Skipped(
            f"there are no recordings of two pieces that last {seconds:g} s from their first sound",
            "give longer ones, or set music.prompt_seconds and music.seconds (--set KEY=VALUE)",
        )
    return windows


def first_sound(audio: Audio) -> int:
    """The sample at which a recording first comes within 40 dB of its peak, in steps of 20 ms.

    A prompt of the silence before the first note would be none.
    """
    step = audio.sample_rate // 50
    steps = np.abs(audio.samples[: len(audio.samples) // step * step]).reshape(-1, step).max(axis=1)
    loud = np.flatnonzero(steps > 0.01 * steps.max(initial=0.0))
    return int(loud[0]) * step if len(loud) else 0


def other_pieces(pieces: Sequence[str], seed: int) -> list[int]:
    """For each window, one of another piece, drawn by the seed."""
    draw = random.Random(seed)
    return [draw.choice([j for j, other in enumerate(pieces) if other != own]) for own in pieces]
