"""Bits per semantic token on held-out speech, beside what a unigram and a bigram model need.

The semantic stage reads each recording in pieces of the length that it was trained on, each from
the beginning. The floors are fitted to the other speakers, and to some of the training data where a
layout names it.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiolm.data.corpus import Recording, open_corpus
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance, as_utterances
from audiolm.evaluation.halves import of_half
from audiolm.evaluation.metrics import ngrams
from audiolm.evaluation.metrics.ngrams import Counts
from audiolm.evaluation.metrics.sequence_scores import bits
from audiolm.evaluation.metrics.statistics import Metric, ratio_metric
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.likelihood import (
    as_predicted,
    likelihoods,
    semantic_ids,
    semantic_stage,
    windows,
)


@dataclass(frozen=True)
class Spoken:
    """A recording of held-out speech."""

    speaker: str
    seconds: float
    sequences: list[np.ndarray]
    """Its ids in pieces (n,), as the stage predicts them."""
    bits: float
    """What the stage needs for all of them."""

    @property
    def tokens(self) -> int:
        """Ids in all pieces."""
        return sum(map(len, self.sequences))


def bits_per_token(
    request: ExperimentRequest, besides: Sequence[Path], progress: Callable[[float], None]
) -> ExperimentResult | None:
    """Bits per token of the stage, of a bigram and of a unigram model.

    Args:
        request: `limit` counts recordings.
        besides: folders below the data that hold no held-out speech, but pairs to be judged.
        progress: is told which share is done, 0 to 1.

    Returns:
        None where there are no recordings.
    """
    chosen, training = _recordings(request, besides)
    validation = [utterance.recording for utterance in chosen]
    if not validation:
        return None
    stage, batch_seconds = semantic_stage(request.model), request.options.probes.batch_seconds
    heard = [*validation, *training]
    ids = semantic_ids(request.model, [r.path for r in heard], batch_seconds, progress)
    pieces = [windows(stage, row) for row in ids]
    spoken = []
    for utterance, parts in zip(chosen, pieces, strict=False):
        nats = sum(one.nats for one in likelihoods(stage, parts, batch_seconds))
        sequences = [as_predicted(stage, part) for part in parts]
        seconds = utterance.recording.seconds
        spoken.append(Spoken(utterance.speaker, seconds, sequences, bits(nats)))
    other = [as_predicted(stage, part) for parts in pieces[len(validation) :] for part in parts]
    floors = _floors(spoken, other, request.model.semantic.clusters)
    metrics = _metrics(spoken, floors, request.seed)
    seconds = sum(recording.seconds for recording in training)
    conditions = {
        "held-out recordings": f"{sum(s.seconds for s in spoken) / 3600:.2f} h, "
        f"{len({s.speaker for s in spoken})} speakers or pieces, windows of at most "
        f"{stage.config.context_seconds:g} s",
        "unigram and bigram": f"fitted to the other speakers and {seconds / 3600:.2f} h of "
        "training data",
    }
    return ExperimentResult(metrics, [_table(metrics)], [], conditions)


def _recordings(
    request: ExperimentRequest, besides: Sequence[Path]
) -> tuple[list[Utterance], list[Recording]]:
    """Held-out recordings, and recordings of training data for the floors."""
    try:
        every = open_corpus(request.data).recordings
    except CorpusError:
        return [], []
    speech = [r for r in every if not any(r.path.is_relative_to(folder) for folder in besides)]
    training = [r for r in speech if r.split == "train"]
    held_out = as_utterances(request.data, [r for r in speech if r.split != "train"])
    validation = of_half(held_out, lambda u: u.speaker, request.speakers)
    draw = random.Random(request.seed)
    if request.limit is not None and request.limit < len(validation):
        validation = sorted(draw.sample(validation, request.limit), key=lambda u: u.recording.id)
    draw.shuffle(training)
    seen: list[Recording] = []
    left = 3600 * request.options.probes.ngram_hours
    for recording in training:
        left -= recording.seconds
        if left < 0:
            break
        seen.append(recording)
    return validation, seen


def _floors(
    spoken: Sequence[Spoken], other: Sequence[np.ndarray], clusters: int
) -> dict[str, list[float]]:
    """Bits of each recording by frequency, and by the id before; empty where nobody else speaks."""
    by_speaker: dict[str, list[int]] = defaultdict(list)
    for number, recording in enumerate(spoken):
        by_speaker[recording.speaker].append(number)
    if len(by_speaker) < 2 and not other:
        return {}
    total = Counts(clusters, [*(s for one in spoken for s in one.sequences), *other])
    floors = {"bigram": [0.0] * len(spoken), "unigram": [0.0] * len(spoken)}
    # One speaker after the other: counts are K x K, and there may be thousands of speakers.
    for numbers in by_speaker.values():
        counts = total.without(Counts(clusters, [s for n in numbers for s in spoken[n].sequences]))
        for number in numbers:
            for name, needed in ngrams.evaluate(counts, spoken[number].sequences).items():
                floors[name][number] = needed
    return floors


def _metrics(
    spoken: Sequence[Spoken], floors: dict[str, list[float]], seed: int
) -> dict[str, Metric]:
    speakers = [recording.speaker for recording in spoken]
    tokens = [float(recording.tokens) for recording in spoken]
    needs = {"semantic_stage": [recording.bits for recording in spoken], **floors}
    note = "speakers resampled"
    metrics = {
        f"bits_per_token.{name}": ratio_metric(
            needed, tokens, speakers, unit="bits/token", note=note, seed=seed
        )
        for name, needed in needs.items()
    }
    seconds = [recording.seconds for recording in spoken]
    metrics["bits_per_second.semantic_stage"] = ratio_metric(
        needs["semantic_stage"], seconds, speakers, unit="bit/s", note=note, seed=seed
    )
    metrics["tokens_per_second"] = ratio_metric(
        tokens, seconds, speakers, unit="tokens/s", note=note, seed=seed
    )
    return metrics


def _table(metrics: dict[str, Metric]) -> Table:
    rows: list[list[TableCell]] = [
        [name.partition(".")[2].replace("_", " "), metric]
        for name, metric in metrics.items()
        if name.startswith("bits_per_token.")
    ]
    note = "Lower is better; the bigram model is the floor that a language model has to beat."
    return Table(
        "Bits per semantic token on held-out recordings", ["model", "bits/token"], rows, note
    )
