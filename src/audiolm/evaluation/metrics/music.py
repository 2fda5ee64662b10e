"""A passage of piano music in numbers, and how near two passages are.

Definition: `describe` says what a passage is like, `compare` how much a continuation stays with its
prompt, and `Nearness` how far a continuation is from the true one: the root mean square over the
features of `FEATURES` and over pitch classes, each difference in standard deviations among true
continuations (for pitch classes, in mean distances between true continuations of different
pieces). What only one of two passages has (a velocity, where the other has no notes) counts as
three standard deviations.

Convention: a passage has its notes, rows of onset and offset in seconds, MIDI note and velocity
(n, 4), its level, its silence. Times are counted from its beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics import harmony, motives, rhythm
from audiolm.evaluation.metrics.silence import silent_steps

FEATURES = {
    "density": "notes/s",
    "regularity": "",
    "polyphony": "keys",
    "range": "semitones",
    "register": "MIDI note",
    "velocity": "",
    "level": "dB",
    "silence": "%",
    "motives": "%",
}
"""What `describe` returns, with units."""

RELATIONS = {
    "pitch_classes": "",
    "key_score": "",
    "key_fit": "",
    "tempo": "%",
    "density": "octaves",
    "polyphony": "octaves",
    "register": "semitones",
    "velocity": "",
    "level": "dB",
}
"""What `compare` returns, with units."""

LACKING = 3.0
"""Standard deviations, where one passage has a feature and the other has not."""
SMALLEST_SPREAD = 1e-6
"""Features that hardly differ among true continuations say nothing of nearness."""


@dataclass(frozen=True)
class Passage:
    """A stretch of music."""

    notes: np.ndarray
    """(n, 4): those that begin in it."""
    seconds: float
    level: float
    """dB below full scale: of the mean square."""
    silence: float | None = None
    """Percent of its steps that are silent beside its prompt; None of a prompt."""
    motives: float | None = None
    """Percent of its motives that were there before, in it or in its prompt."""

    @cached_property
    def description(self) -> dict[str, float | None]:
        """See `describe`."""
        return describe(self)


def divided(whole: Audio, notes: np.ndarray, seconds: float) -> tuple[Passage, Passage]:
    """Prompt and continuation, the last `seconds` of `whole`, whose notes are given.

    A note belongs to where it begins; what still sounds of the prompt is the prompt's.

    Raises:
        ValueError: nothing is left on one side.
    """
    silence = 100 * float(silent_steps(whole, seconds).mean())
    known = whole.seconds - seconds
    before, after = notes[notes[:, 0] < known], notes[notes[:, 0] >= known]
    moved = after - np.array([known, known, 0, 0])
    prompt = Passage(before, known, _level(whole.first(known)))
    came_back = motives.recurrence(notes, since=known)
    rest = Passage(moved, seconds, _level(whole.last(seconds)), silence, came_back)
    return prompt, rest


def describe(passage: Passage) -> dict[str, float | None]:
    """What a passage is like, by the names of `FEATURES`.

    density: notes that begin in a second. regularity: `rhythm.regularity`. polyphony: keys that
    sound at once, as a mean over the time at which any does. range: from the lowest to the highest
    note, the outer 5 % on either side left out. register: the median note. velocity: its mean.
    level: of the sound. silence: `metrics.silence`. motives: `motives.recurrence`. Without notes
    there is neither register nor velocity, and density, regularity, polyphony and range are 0.
    """
    notes = passage.notes
    low, high = np.percentile(notes[:, 2], [5, 95]) if len(notes) else (0.0, 0.0)
    return {
        "density": len(notes) / passage.seconds,
        "regularity": rhythm.regularity(notes),
        "polyphony": polyphony(notes, passage.seconds),
        "range": float(high - low),
        "register": float(np.median(notes[:, 2])) if len(notes) else None,
        "velocity": float(notes[:, 3].mean()) if len(notes) else None,
        "level": passage.level,
        "silence": passage.silence,
        "motives": passage.motives,
    }


def compare(prompt: Passage, rest: Passage) -> dict[str, float | None]:
    """How much a continuation stays with its prompt, by the names of `RELATIONS`.

    pitch_classes, key_score, key_fit: see `harmony`. tempo: 100 where it is the same, else 0
    (`rhythm.same_tempo`). density, polyphony: by which factor they change, in octaves (1 is twice
    or half). register, velocity, level: by how much. None where one of the two has no answer.
    """
    same = rhythm.same_tempo(prompt.notes, rest.notes)
    before, after = prompt.description, rest.description
    return {
        "pitch_classes": harmony.pitch_class_distance(prompt.notes, rest.notes),
        "key_score": harmony.key_score(prompt.notes, rest.notes),
        "key_fit": harmony.key_fit(prompt.notes, rest.notes),
        "tempo": None if same is None else 100 * same,
        **{name: _octaves(before[name], after[name]) for name in ("density", "polyphony")},
        **{
            name: _difference(before[name], after[name])
            for name in ("register", "velocity", "level")
        },
    }


def polyphony(notes: np.ndarray, seconds: float) -> float:
    """Keys that sound at once, as a mean over the time at which any does; 0 where none does."""
    if not len(notes):
        return 0.0
    begins, ends = notes[:, 0], np.minimum(notes[:, 1], seconds)
    times = np.concatenate([begins, ends])
    changes = np.concatenate([np.ones(len(notes)), -np.ones(len(notes))])
    order = np.argsort(times, kind="stable")
    sounding = np.cumsum(changes[order])[:-1]  # keys from each moment to the next
    spans = np.diff(times[order])
    heard = spans[sounding > 0].sum()
    return float((sounding * spans).sum() / heard) if heard > 0 else 0.0


class Nearness:
    """How far one continuation of a prompt is from another, in the spread of true ones.

    Args:
        true: true continuations, at least two.
        pieces: of each, which piece it is of.

    Raises:
        ValueError: there are not two.
    """

    def __init__(self, true: Sequence[Passage], pieces: Sequence[str]) -> None:
        if len(true) < 2:
            raise ValueError("the spread of true continuations takes at least two")
        self.spread: dict[str, float] = {}
        for name in FEATURES:
            known = [v for one in true if (v := one.description[name]) is not None]
            if len(known) > 1 and np.std(known) > SMALLEST_SPREAD:
                self.spread[name] = float(np.std(known))
        apart = [
            distance
            for i, first in enumerate(true)
            for j, second in enumerate(true[:i])
            if pieces[i] != pieces[j]
            and (distance := harmony.pitch_class_distance(first.notes, second.notes)) is not None
        ]
        self.pitch_classes = float(np.mean(apart)) if apart and np.mean(apart) > 0 else 1.0

    def distance(self, first: Passage, second: Passage) -> float:
        """Root mean square of the differences in standard deviations; 0 for the same."""
        squares = []
        for name, spread in self.spread.items():
            a, b = first.description[name], second.description[name]
            if a is None and b is None:
                continue
            off = LACKING if a is None or b is None else abs(a - b) / spread
            squares.append(off**2)
        harmonic = harmony.pitch_class_distance(first.notes, second.notes)
        if harmonic is not None:
            squares.append((harmonic / self.pitch_classes) ** 2)
        elif len(first.notes) or len(second.notes):
            squares.append(LACKING**2)
        return float(np.sqrt(np.mean(squares))) if squares else 0.0


def _level(audio: Audio) -> float:
    return 10 * float(np.log10(np.square(audio.samples.astype(np.float64)).mean() + 1e-12))


def _octaves(first: float | None, second: float | None) -> float | None:
    return abs(float(np.log2(second / first))) if first and second else None


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else abs(second - first)
