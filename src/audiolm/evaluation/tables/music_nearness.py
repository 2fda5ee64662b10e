"""Which of a pair of continuations is nearer to the true one, by metrics: a table of its own.

In place of the paper's raters (section IV-I), and not the same: see `metrics.music.Nearness` for
what is near.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from audiolm.evaluation.metrics.music import FEATURES, Nearness, Passage
from audiolm.evaluation.metrics.statistics import Metric, binomial_test, mean_metric
from audiolm.evaluation.report.results import Table, TableCell
from audiolm.evaluation.tables.music_windows import Window

NAMES = {
    "original": "True continuation (ceiling)",
    "audiolm": "AudioLM",
    "acoustic_only": "Acoustic-only baseline",
    "other": "Another piece's continuation (floor)",
}
PAIR = ("audiolm", "acoustic_only")


@dataclass
class Heard:
    """Continuations of one kind: of each, its window and the two passages."""

    windows: list[int] = field(default_factory=list)
    pairs: list[tuple[Passage, Passage]] = field(default_factory=list)
    """The prompt, as the codec renders the true one, and the continuation."""

    def add(self, window: int, pair: tuple[Passage, Passage]) -> None:
        """One more."""
        self.windows.append(window)
        self.pairs.append(pair)


def nearness(
    heard: Mapping[str, Heard], windows: Sequence[Window], seed: int
) -> tuple[dict[str, Metric], Table]:
    """Distances to the true continuations, and where there is a baseline, which is nearer.

    Args:
        heard: continuations by kind; `original` are the true ones, one of each window. Those of
            `audiolm` and `acoustic_only` are in the same order: pairs.
        windows: that they continue.
        seed: of the bootstrap.
    """
    true = [rest for _, rest in heard["original"].pairs]
    near = Nearness(true, [window.piece for window in windows])
    metrics: dict[str, Metric] = {}
    distances: dict[str, list[float]] = {}
    rows: list[list[TableCell]] = []
    for kind in (*PAIR, "other"):
        if kind not in heard:
            continue
        numbers = heard[kind].windows
        distances[kind] = [
            near.distance(true[number], rest)
            for number, (_, rest) in zip(numbers, heard[kind].pairs, strict=True)
        ]
        pieces = [windows[number].piece for number in numbers]
        metrics[f"distance_to_true.{kind}"] = mean_metric(
            distances[kind], pieces, unit="standard deviations", seed=seed
        )
        rows.append([NAMES[kind], metrics[f"distance_to_true.{kind}"], None, None, None])
    if not all(kind in distances for kind in PAIR):
        return metrics, _nearness_table(rows)
    numbers = heard["audiolm"].windows
    pieces = [windows[number].piece for number in numbers]
    ahead = np.subtract(distances["acoustic_only"], distances["audiolm"])
    wins = [1.0 if lead > 0 else 0.5 if lead == 0 else 0.0 for lead in ahead]
    metrics["nearer_by_metrics.pairs"] = mean_metric(
        wins, pieces, unit="%", scale=100, note="pieces resampled", seed=seed
    )
    by_piece = [float(ahead[[p == piece for p in pieces]].mean()) for piece in sorted(set(pieces))]
    shares = [1.0 if lead > 0 else 0.5 if lead == 0 else 0.0 for lead in by_piece]
    metrics["nearer_by_metrics.pieces"] = mean_metric(shares, unit="%", scale=100, seed=seed)
    for name, leads in (("pairs", list(ahead)), ("pieces", by_piece)):
        found = metrics[f"nearer_by_metrics.{name}"]
        rows.append([f"AudioLM nearer than the baseline, {name}", None, found, *sign_test(leads)])
    return metrics, _nearness_table(rows)


def sign_test(leads: Sequence[float]) -> tuple[str, str]:
    """How many of those that are not zero are above it, and the two-sided p of a fair coin."""
    above, below = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    p = binomial_test(above, above + below) if above + below else math.nan
    return f"{above} of {above + below}", f"{p:.2g}"


def _nearness_table(rows: list[list[TableCell]]) -> Table:
    names = ", ".join(FEATURES)
    return Table(
        "Nearer to the true continuation, by metrics",
        ["", "Distance", "Nearer, %", "Wins", "p, sign test"],
        rows,
        f"Distance: root mean square over {names} and pitch classes, each in standard deviations "
        "among true continuations. Pairs of one piece resemble each other: the test over pieces, "
        "each by its mean distances, is the honest one. This is no listener's preference (paper: "
        "83.3 % of 150 answers).",
    )
