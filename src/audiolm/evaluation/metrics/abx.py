"""Phonetic ABX: is X, of the same phone as A, nearer to A than to B, of another one?

Definition (Libri-Light): a group is all tokens of one phone, context and speaker. A cell takes X, A
and B from three groups (X and A from the same one within speakers); its error is the share of its
triples in which X is nearer to B, ties a half. Errors are averaged over the cells of a speaker and
pair of phones, over speakers, over pairs. The distance of two tokens is in `dtw`.

Convention: tokens as items of an item file, and as many segments of frames, in the same order.
"""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from audiolm.errors import CorpusError
from audiolm.evaluation.metrics.dtw import Segments, pair_distances
from audiolm.evaluation.metrics.statistics import HIGH, LOW, bootstrap_weights

MODES = ("within", "across")
Context = tuple[str, str]
Group = tuple[int, ...]
"""Numbers of tokens."""
TRIPLES = 1 << 18
"""Triples that are looked at at once."""


@dataclass(frozen=True)
class Item:
    """One token of an ABX item file."""

    file: str
    """Stem of the recording's name."""
    onset: float
    """Seconds from the beginning of the recording."""
    offset: float
    phone: str
    context: tuple[str, str]
    """The phones before and after."""
    speaker: str


@dataclass(frozen=True)
class TripleCell:
    """Every X with every A and every B; X and A are the same group within speakers."""

    speaker: str
    """Of A and B."""
    phones: tuple[str, str]
    """Of A (and X), and of B."""
    x: Group
    a: Group
    b: Group


@dataclass(frozen=True)
class AbxScore:
    """The errors of all cells, averaged as the protocol has it; 0 to 1."""

    value: float
    low: float
    """Of the 95 % interval: the speakers of A resampled."""
    high: float


def cut(
    items: Sequence[Item], rate: float, counts: Mapping[str, int], drop_last: bool
) -> tuple[list[Item], list[int], list[int]]:
    """The frames of each token: those whose middle lies between its onset and its offset.

    Args:
        items: the tokens.
        rate: frames per second; the middle of frame i is at (i + 0.5) / rate.
        counts: frames of each file; the files stand one after the other in this order.
        drop_last: leave out the last of them, as Libri-Light's scripts do.

    Returns:
        The tokens that have frames, and of each its first frame and number of frames.
    """
    first = dict(zip(counts, np.cumsum([0, *counts.values()]).tolist(), strict=False))
    kept, starts, lengths = [], [], []
    for item in items:
        start = max(0, math.ceil(rate * item.onset - 0.5))
        end = math.floor(rate * item.offset - 0.5) + (not drop_last)
        length = min(end, counts[item.file]) - start
        if length > 0:
            kept.append(item)
            starts.append(first[item.file] + start)
            lengths.append(length)
    return kept, starts, lengths


class Groups:
    """The tokens by context, speaker and phone, no more than `largest` of each.

    Args:
        items: the tokens, counted in this order.
        largest: of a larger group, so many are drawn.
        any_context: tokens of different context belong together.
        seed: of the draw.
    """

    def __init__(
        self, items: Sequence[Item], largest: int, any_context: bool = False, seed: int = 0
    ) -> None:
        draw = random.Random(seed)
        self.seed = seed
        self.tokens: dict[tuple[Context, str, str], Group] = {}
        """By (context, speaker, phone)."""
        found: dict[tuple[Context, str, str], list[int]] = defaultdict(list)
        for number, item in enumerate(items):
            context = ("", "") if any_context else item.context
            found[context, item.speaker, item.phone].append(number)
        self.phones: dict[tuple[Context, str], list[str]] = defaultdict(list)
        """Of each context and speaker."""
        self.speakers: dict[tuple[Context, str], list[str]] = defaultdict(list)
        """Of each context and phone."""
        for (context, speaker, phone), numbers in sorted(found.items()):
            if len(numbers) > largest:
                numbers = sorted(draw.sample(numbers, largest))
            self.tokens[context, speaker, phone] = tuple(numbers)
            self.phones[context, speaker].append(phone)
            self.speakers[context, phone].append(speaker)

    def within(self) -> list[TripleCell]:
        """Cells whose A, B and X are of one speaker; groups of one token have no other X."""
        return [
            TripleCell(speaker, (a, b), of_a, of_a, self.tokens[context, speaker, b])
            for (context, speaker, a), of_a in self.tokens.items()
            if len(of_a) > 1
            for b in self.phones[context, speaker]
            if b != a
        ]

    def across(self, most: int) -> list[TripleCell]:
        """Cells whose X is of another speaker, of at most so many for each group of A."""
        draw = random.Random(self.seed)
        cells = []
        for (context, speaker, a), of_a in self.tokens.items():
            phones = [b for b in self.phones[context, speaker] if b != a]
            others = [s for s in self.speakers[context, a] if s != speaker]
            if not phones or not others:
                continue
            if len(others) > most:
                others = sorted(draw.sample(others, most))
            cells += [
                TripleCell(
                    speaker,
                    (a, b),
                    self.tokens[context, other, a],
                    of_a,
                    self.tokens[context, speaker, b],
                )
                for other in others
                for b in phones
            ]
        return cells


class Comparisons:
    """What cells ask of the distances between tokens: X, A and B may be many tokens each.

    Args:
        cells: the cells.
    """

    pairs: np.ndarray
    """(P, 2) numbers of tokens, of X and another one: the distances that are needed."""

    def __init__(self, cells: Sequence[TripleCell]) -> None:
        blocks: dict[tuple[Group, Group], int] = {}
        """Where the distances of two groups begin."""
        pairs: list[tuple[int, ...]] = []
        shapes: dict[tuple[int, int, int, bool], list[int]] = defaultdict(list)
        for number, cell in enumerate(cells):
            for other in (cell.a, cell.b):
                if (cell.x, other) not in blocks:
                    blocks[cell.x, other] = len(pairs)
                    block: Iterable[tuple[int, ...]] = product(cell.x, other)
                    # A distance between two of one group is taken once: the earlier comes first.
                    pairs.extend(map(_in_order, block) if other is cell.x else block)
            shapes[len(cell.x), len(cell.a), len(cell.b), cell.x is cell.a].append(number)
        self.pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        self._to_a = np.array([blocks[cell.x, cell.a] for cell in cells], dtype=np.int64)
        self._to_b = np.array([blocks[cell.x, cell.b] for cell in cells], dtype=np.int64)
        self._shapes = {shape: np.array(numbers) for shape, numbers in shapes.items()}
        """Which cells have so many X, A and B, with X and A the same group or not."""

    def errors(self, distances: np.ndarray) -> np.ndarray:
        """The error of each cell, (cells,): how often X is nearer to B than to A, ties half.

        Args:
            distances: of each of `pairs`, (P,).
        """
        errors = np.empty(len(self._to_a))
        for (x, a, b, same), numbers in self._shapes.items():
            most = max(1, TRIPLES // (x * a * b))
            for cells in np.split(numbers, range(most, len(numbers), most)):
                blocks_a = self._to_a[cells, None] + np.arange(x * a)  # (cells, x * a)
                blocks_b = self._to_b[cells, None] + np.arange(x * b)  # (cells, x * b)
                to_a = distances[blocks_a].reshape(-1, x, a, 1)
                to_b = distances[blocks_b].reshape(-1, x, 1, b)
                wrong = (to_b < to_a) + 0.5 * (to_b == to_a)  # (cells, x, a, b)
                if same:  # X is not compared with itself
                    wrong = wrong[:, ~np.eye(x, dtype=bool)]  # (cells, x * (a - 1), b)
                errors[cells] = wrong.reshape(len(cells), -1).mean(axis=1)
        return errors


def _in_order(pair: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(pair))


def score(cells: Sequence[TripleCell], errors: np.ndarray, seed: int = 0) -> AbxScore:
    """Errors averaged over the cells of a speaker and pair of phones, over speakers, over pairs.

    Raises:
        CorpusError: if there are no cells.
    """
    if not cells:
        raise CorpusError("there are no two phones in one context to compare; use more recordings")
    speakers = {name: i for i, name in enumerate(sorted({cell.speaker for cell in cells}))}
    pairs = {phones: i for i, phones in enumerate(sorted({cell.phones for cell in cells}))}
    places = np.array([speakers[c.speaker] * len(pairs) + pairs[c.phones] for c in cells])
    total = len(speakers) * len(pairs)
    shape = (len(speakers), len(pairs))
    count = np.bincount(places, minlength=total).reshape(shape)
    mean = np.bincount(places, errors, minlength=total).reshape(shape) / np.maximum(count, 1)
    there = (count > 0).astype(float)  # (speakers, pairs)

    def averaged(weights: np.ndarray) -> np.ndarray:
        """(rounds, speakers) times each speaker is counted to (rounds,) scores."""
        drawn = weights @ there  # (rounds, pairs)
        by_pair = (weights @ mean) / np.maximum(drawn, 1)
        scores: np.ndarray = by_pair.sum(axis=1) / (drawn > 0).sum(axis=1)
        return scores

    value = averaged(np.ones((1, len(speakers))))[0]
    rounds = averaged(bootstrap_weights(len(speakers), seed))  # (rounds,)
    # A round lacks the pairs of phones that only speakers outside it say, and these are not like
    # the others: the rounds lie beside the value, as far as that, and are moved back.
    low, high = np.percentile(rounds, [LOW, HIGH]) + value - rounds.mean()
    return AbxScore(float(value), float(max(0.0, low)), float(min(1.0, high)))


class Questions:
    """All triples that one set of tokens is asked about, within and across speakers.

    Args:
        items: the tokens.
        largest: tokens of one phone, context and speaker that are used at most.
        most: other speakers that X is of at most, for each group of A.
        any_context: tokens of different context belong together.
        seed: of the draws, and of the bootstrap.
    """

    cells: dict[str, list[TripleCell]]
    """By mode; a mode without cells is absent."""
    tokens: dict[str, int]
    """By mode, how many tokens its cells use."""
    pairs: np.ndarray
    """(P, 2) numbers of tokens whose distances are needed."""

    def __init__(
        self, items: Sequence[Item], largest: int, most: int, any_context: bool, seed: int
    ) -> None:
        groups = Groups(items, largest, any_context, seed)
        both = zip(MODES, (groups.within(), groups.across(most)), strict=True)
        self.cells = {mode: cells for mode, cells in both if cells}
        self.tokens = {
            mode: len({number for cell in cells for number in (*cell.x, *cell.a, *cell.b)})
            for mode, cells in self.cells.items()
        }
        self._seed = seed
        self._comparisons = Comparisons([cell for cells in self.cells.values() for cell in cells])
        self.pairs = self._comparisons.pairs

    def scores(self, distances: np.ndarray) -> dict[str, AbxScore]:
        """By mode, from the distance of each of `pairs`, (P,)."""
        errors = self._comparisons.errors(distances)  # of all cells, one mode after the other
        ends = np.cumsum([len(cells) for cells in self.cells.values()])
        return {
            mode: score(cells, errors[end - len(cells) : end], self._seed)
            for (mode, cells), end in zip(self.cells.items(), ends, strict=True)
        }


def validate(questions: Questions, segments: Segments) -> None:
    """Check that there are frames for every token.

    Raises:
        ValueError: there is a token without.
    """
    if len(questions.pairs) and questions.pairs.max() >= len(segments):
        raise ValueError(f"there are frames of {len(segments)} tokens only")


def evaluate(
    questions: Questions,
    segments: Segments,
    progress: Callable[[float], None] = lambda share: None,
) -> dict[str, AbxScore]:
    """The score of each mode (`within`, `across`) that has triples.

    Args:
        questions: the triples.
        segments: the frames of each token, one segment per item.
        progress: is told which share is done, 0 to 1.

    Raises:
        ValueError: as `validate`.
    """
    validate(questions, segments)
    return questions.scores(pair_distances(segments, questions.pairs, progress))
