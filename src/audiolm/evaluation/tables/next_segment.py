"""Does the semantic stage know what comes next in a piece? A choice of two, chance 50 %.

As sWUGGY asks which of two is a word, this asks of music: the first 4 s of a stretch are known;
which of two stretches of 4 s follows? One truly does, the other is from another piece, or from
elsewhere in the same piece, on the same instrument. The stage chooses the one to whose ids, given
those of the first stretch, it gives the higher probability, per id as the paper does (Table IV).
Every stretch is tokenized by itself, so that no tokenizer hears across the place where they meet.

Beside it stands a choice that knows no order: the stretch whose ids are, as a bag, nearer to those
of the first (cosine of their counts). What the stage has beyond that it has learnt of music.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from audiolm.audio.files import read
from audiolm.evaluation.corpora import is_music
from audiolm.evaluation.metrics.sequence_scores import Likelihood, preference
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.likelihood import likelihoods, semantic_stage
from audiolm.model import AudioLM
from audiolm.shapes import SAMPLE_RATE

TOGETHER = 32
"""Stretches that are tokenized at once."""

RIVALS = {"other_piece": "of another piece", "same_piece": "from elsewhere in the piece"}


@dataclass(frozen=True)
class Stretch:
    """A few seconds of a recording."""

    piece: str
    recording: str
    place: int
    """In its recording, counted in stretches."""
    ids: Tensor
    """(S,), tokenized by itself."""


@dataclass(frozen=True)
class Choice:
    """A stretch, what follows it, and what does not: indices of stretches."""

    known: int
    true: int
    rival: int
    kind: str
    """Of `RIVALS`."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """How often the semantic stage chooses what truly follows.

    Raises:
        Skipped: the recordings are no music, or too short, or the model has no semantic stage.
    """
    options, stage = request.options.next_segment, semantic_stage(request.model)
    everything = request.utterances()
    if not options.unlabelled and not is_music(request.data, everything):
        raise Skipped(
            f"{request.data}: no recording has a table of notes (.tsv) beside it, so this is taken "
            "for no music",
            "for music without such tables: --set next_segment.unlabelled=true",
        )
    stretches: list[Stretch] = []
    chosen = spread_over_speakers(everything, request.limit, request.seed)
    for number, utterance in enumerate(chosen):
        samples = read(utterance.recording.path, SAMPLE_RATE).samples
        rows = _ids(request.model, samples, options.seconds)
        stretches += [
            Stretch(utterance.speaker, utterance.recording.id, place, row)
            for place, row in enumerate(rows)
        ]
        request.progress(0.5 * (number + 1) / len(chosen))
    choices = choices_of(stretches, options.rivals, request.seed)
    if not choices:
        raise Skipped(
            f"there are no two pieces with {2 * options.seconds:g} s of sound",
            "give longer recordings, or set next_segment.seconds (--set KEY=VALUE)",
        )
    alone = likelihoods(stage, [one.ids for one in stretches], options.batch_seconds)
    joined = sorted({(c.known, after) for c in choices for after in (c.true, c.rival)})
    found = likelihoods(
        stage,
        [torch.cat([stretches[a].ids, stretches[b].ids]) for a, b in joined],
        options.batch_seconds,
    )
    given = {
        (a, b): Likelihood(both.nats - alone[a].nats, both.tokens - alone[a].tokens)
        for (a, b), both in zip(joined, found, strict=True)
    }
    request.progress(0.95)
    clusters = request.model.semantic.clusters
    bags = [np.bincount(one.ids.numpy(), minlength=clusters) for one in stretches]
    return _result(stretches, choices, given, bags, request)


def _ids(model: AudioLM, samples: np.ndarray, seconds: float) -> list[Tensor]:
    """Ids (S,) of each whole stretch of a recording; those of silence end the list.

    Silence before the first note and after the last is no music, and follows nothing.
    """
    length = round(seconds * SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max(initial=0.0))
    if not len(loud):
        return []
    samples = samples[loud[0] : loud[-1] + 1]
    pieces = [
        torch.from_numpy(samples[begin : begin + length])
        for begin in range(0, len(samples) - length + 1, length)
    ]
    rows: list[Tensor] = []
    for first in range(0, len(pieces), TOGETHER):
        waveform = pad_sequence(pieces[first : first + TOGETHER], batch_first=True)  # (B, T)
        with torch.inference_mode():
            rows += list(model.semantic.encode(waveform.to(model.device)).cpu())  # (S,) each
    return rows


def choices_of(stretches: Sequence[Stretch], rivals: int, seed: int) -> list[Choice]:
    """Each stretch that has a next one, with up to so many rivals of either kind, by the seed.

    A rival from the same piece is neither of the two, nor next to them.
    """
    draw = random.Random(seed)
    choices = []
    for known in range(len(stretches) - 1):
        true = known + 1
        here = stretches[known]
        if stretches[true].recording != here.recording:
            continue
        candidates = {
            "other_piece": [n for n, s in enumerate(stretches) if s.piece != here.piece],
            "same_piece": [
                n
                for n, s in enumerate(stretches)
                if s.recording == here.recording and not -1 <= s.place - here.place <= 2
            ],
        }
        for kind, others in candidates.items():
            for rival in draw.sample(others, min(rivals, len(others))):
                choices.append(Choice(known, true, rival, kind))
    return choices


def _result(
    stretches: Sequence[Stretch],
    choices: Sequence[Choice],
    given: dict[tuple[int, int], Likelihood],
    bags: Sequence[np.ndarray],
    request: ExperimentRequest,
) -> ExperimentResult:
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    for kind, title in RIVALS.items():
        own = [choice for choice in choices if choice.kind == kind]
        if not own:
            continue
        pieces = [stretches[choice.known].piece for choice in own]
        ways = {
            kind: [right(given, choice) for choice in own],
            f"{kind}.not_normalised": [right(given, choice, per_token=False) for choice in own],
            f"{kind}.bag_of_ids": [bag_right(bags, choice) for choice in own],
        }
        for name, values in ways.items():
            metrics[name] = mean_metric(values, pieces, unit="%", scale=100, seed=request.seed)
        rows.append([f"a stretch {title}", *(metrics[name] for name in ways)])
    options = request.options.next_segment
    recordings = len({s.recording for s in stretches})
    conditions = {
        "stretches": f"{len(stretches)} of {options.seconds:g} s, of {recordings} recordings of "
        f"{len({s.piece for s in stretches})} pieces; intervals resample pieces",
        "rivals": f"up to {options.rivals} of either kind for each",
    }
    table = Table(
        f"Which {options.seconds:g} s follow?",
        ["Rival", "Right, %", "Not normalised, %", "By the bag of ids, %"],
        rows,
        "Chance is 50. Another piece may be of another instrument and room, which the bag of ids "
        "may tell; elsewhere in the piece it is the same.",
    )
    return ExperimentResult(metrics, [table], [], conditions)


def right(
    given: dict[tuple[int, int], Likelihood], choice: Choice, per_token: bool = True
) -> float:
    """1 if the stage finds the true stretch likelier, a half for a tie."""
    good, bad = given[choice.known, choice.true], given[choice.known, choice.rival]
    return preference(good, bad, per_token)


def bag_right(bags: Sequence[np.ndarray], choice: Choice) -> float:
    """1 if the true stretch has the more similar ids whatever their order, a half for a tie."""

    def similarity(other: int) -> float:
        a, b = bags[choice.known].astype(float), bags[other].astype(float)
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    good, bad = similarity(choice.true), similarity(choice.rival)
    return 0.5 if good == bad else float(good > bad)
