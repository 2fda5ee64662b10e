"""The voice of continuations second by second: a part of the table of continuations.

Beside the recording's own continuation stands the voice of another speaker: what the cosine falls
to when nothing of the voice is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics import voice_drift
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.report import plots
from audiolm.evaluation.report.results import Table, TableCell
from audiolm.safety.classifier import CROP, WINDOW_HOP, Classifier
from audiolm.shapes import SAMPLE_RATE

UNITS = {"accuracy": "%", "cosine": ""}
STRANGER = "stranger"
NAMES = {
    "original": "Original, through the codec",
    "audiolm": "AudioLM",
    "acoustic_only": "Acoustic-only baseline",
    STRANGER: "Original of another speaker (floor)",
}


@dataclass(frozen=True)
class Continued:
    """What the classifier heard of one prompt and its continuation."""

    speaker: str
    prompt: Tensor
    """(D,) mean embedding."""
    probabilities: Tensor
    """(seconds, classes)"""
    embeddings: Tensor
    """(seconds, D)"""


@dataclass
class VoiceBySecond:
    """Collects what a classifier of voices hears, by kind of continuation."""

    classifier: Classifier
    heard: dict[str, list[Continued]] = field(default_factory=dict)

    def hear(self, kind: str, whole: Audio, seconds: float, speaker: str) -> None:
        """Take in the last `seconds`, whole ones, and what is before them as the prompt."""
        _, of_prompt = self.classifier.windows(whole.first(whole.seconds - seconds), WINDOW_HOP)
        rest = whole.last(seconds).first(int(seconds + 1 / SAMPLE_RATE))
        probabilities, embeddings = self.classifier.windows(rest, CROP)
        one = Continued(speaker, of_prompt.mean(0), probabilities, embeddings)
        self.heard.setdefault(kind, []).append(one)

    def metrics(self, seed: int) -> dict[str, Metric]:
        """`accuracy_second_N.kind` and `cosine_second_N.kind`, with intervals by speaker."""
        found: dict[str, Metric] = {}
        for kind, pieces in (self.heard | self._strangers()).items():
            values = [self._evaluated(one) for one in pieces]
            longest = max(len(one["accuracy"]) for one in values)
            for second in range(longest):
                for name, unit in UNITS.items():
                    if name == "accuracy" and kind == STRANGER:
                        continue
                    there = [
                        (one[name][second], piece.speaker)
                        for one, piece in zip(values, pieces, strict=True)
                        if second < len(one[name])
                    ]
                    numbers, speakers = zip(*there, strict=True)
                    scale = 100 if unit == "%" else 1
                    key = f"{name}_second_{second + 1}.{kind}"
                    found[key] = mean_metric(numbers, speakers, unit=unit, scale=scale, seed=seed)
        return found

    def _evaluated(self, one: Continued) -> dict[str, list[float]]:
        number = self.classifier.classes.index(one.speaker)
        return voice_drift.evaluate(one.probabilities, one.embeddings, one.prompt, number)

    def _strangers(self) -> dict[str, list[Continued]]:
        """Each prompt beside the recording of another speaker."""
        originals = self.heard.get("original", [])
        pairs = []
        for place, one in enumerate(originals):
            turn = (place + len(originals) // 2) % len(originals)
            others = [o for o in [*originals[turn:], *originals[:turn]] if o.speaker != one.speaker]
            if others:
                other = others[0]
                pairs.append(
                    Continued(one.speaker, one.prompt, other.probabilities, other.embeddings)
                )
        return {STRANGER: pairs} if pairs else {}


def table(metrics: Mapping[str, Metric]) -> Table:
    """A row per kind and metric, a column per second."""
    numbers = sorted({_second(name) for name in metrics})
    rows: list[list[TableCell]] = []
    for name in UNITS:
        for kind, title in NAMES.items():
            cells = [metrics.get(f"{name}_second_{n}.{kind}") for n in numbers]
            if any(cells):
                rows.append([title, name, *cells])
    note = (
        "Accuracy: the classifier of voices takes this second for the prompt's speaker. Cosine: of "
        "its embeddings of this second and of the prompt."
    )
    columns = ["Continuation", "", *(f"second {n}" for n in numbers)]
    return Table("Voice second by second", columns, rows, note)


def drawn(metrics: Mapping[str, Metric], path: Path) -> list[Path]:
    """Cosine against time, a line for each kind."""
    curves: dict[str, dict[float, Metric]] = {}
    for name, metric in metrics.items():
        kind = name.partition(".")[2]
        if name.startswith("cosine"):
            curves.setdefault(NAMES[kind], {})[_second(name)] = metric
    return plots.lines(path, "second after the prompt", "cosine with the prompt", curves)


def _second(name: str) -> int:
    return int(name.partition(".")[0].rpartition("_")[2])
