"""What the mark costs: the same sound with it and without, before three judges.

ViSQOL says how far the sound is from a reference, the recogniser of Table II what words are left,
the semantic stage how likely the ids are that the tokenizer hears (in bits per second: a sound that
has become less natural takes more).

A recogniser and a tokenizer answer otherwise to any change of a sound, however small. So how often
they do is said of the mark beside the same sound 1 dB quieter, which nobody would call a cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import levels_made
from audiolm.evaluation.metrics.error_rates import errors, normalise_text
from audiolm.evaluation.metrics.quality import Visqol
from audiolm.evaluation.metrics.sequence_scores import bits
from audiolm.evaluation.metrics.statistics import Metric, ratio_metric
from audiolm.evaluation.report.results import Table, TableCell
from audiolm.evaluation.requirements import Skipped, extra
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.likelihood import likelihoods, semantic_stage, windows
from audiolm.evaluation.tables.recogniser import Recogniser, load_recogniser
from audiolm.evaluation.transcripts import transcribed
from audiolm.safety.watermark import Payload, mark
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP

RECORDING_SECONDS = 10.0
"""How much of a recording is sent through the codec."""

QUIETER = np.float32(10 ** (-1 / 20))
"""1 dB, which the mark is compared with."""

TITLES = {
    "visqol.continuations": "ViSQOL of continuations, beside themselves without the mark",
    "visqol.codec": "ViSQOL of recordings through the codec, beside the recording",
    "cer.codec": "CER of recordings through the codec",
    "bits.continuations": "Bits of the semantic ids that continuations are heard as",
}
UNITS = {"visqol": "MOS", "cer": "%", "bits": "bit/s"}


@dataclass(frozen=True)
class Pair:
    """A number of one piece of sound without the mark and with it."""

    speaker: str
    unmarked: float
    marked: float
    of: float = 1.0
    """What both are divided by, over all pairs: characters, seconds."""


@dataclass
class Costs:
    """What the judges said."""

    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    """By the names in `TITLES`."""
    changes: dict[str, list[Pair]] = field(default_factory=dict)
    """How much is heard otherwise, of `of`: 1 dB quieter, and with the mark. By `ids` and
    `characters`."""
    said: dict[str, str] = field(default_factory=dict)
    """Conditions for the report."""


def costs(
    request: ExperimentRequest,
    visqol: Visqol,
    chosen: Sequence[Utterance],
    plain: Sequence[np.ndarray],
    marked: Sequence[np.ndarray],
) -> Costs:
    """Judge continuations (T,) without the mark and with it, and recordings through the codec.

    Args:
        request: has the model; `options.watermark.recogniser` hears the words, if any does.
        visqol: set up.
        chosen: the recordings whose beginnings were continued.
        plain: the continuations.
        marked: the same ones, marked.
    """
    found = Costs()
    recogniser, texts = _words(request, chosen, found)
    payload = Payload.of_model(request.model.name, request.model.fingerprint)
    for number, utterance in enumerate(chosen):
        speaker, without, with_mark = utterance.speaker, plain[number], marked[number]
        _add_visqol(found, "visqol.continuations", speaker, visqol, without, without, with_mark)
        _add_ids(found, request, speaker, without, with_mark)
        if recogniser is not None:
            _add_changed_words(found, speaker, recogniser, without, with_mark)
        recording = read(utterance.recording.path, SAMPLE_RATE).first(RECORDING_SECONDS)
        coded = request.model.reconstruction(recording, levels_made(request.model)).samples
        of_coded = mark(coded, payload)
        _add_visqol(found, "visqol.codec", speaker, visqol, recording.samples, coded, of_coded)
        text = texts.get(utterance.recording.id)
        if recogniser is not None and text:
            _add_errors(found, speaker, recogniser, text, coded, of_coded)
    return found


def metrics_and_tables(found: Costs, seed: int) -> tuple[dict[str, Metric], list[Table]]:
    """Each pair's two columns and its cost, intervals by speaker; and what is heard otherwise."""
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    for name, title in TITLES.items():
        pairs = found.pairs.get(name, [])
        if not pairs:
            continue
        measure, _, what = name.partition(".")
        worse = -1 if measure == "visqol" else 1  # more is better of ViSQOL alone
        columns = {
            "unmarked": [pair.unmarked for pair in pairs],
            "marked": [pair.marked for pair in pairs],
            "cost": [worse * (pair.marked - pair.unmarked) for pair in pairs],
        }
        row: list[TableCell] = [title]
        for column, values in columns.items():
            metric = _ratio(values, pairs, UNITS[measure], 100 if measure == "cer" else 1, seed)
            metrics[f"{measure}_{column}.{what}"] = metric
            row.append(metric)
        rows.append(row)
    tables = [Table("What the mark costs", ["", "Unmarked", "Marked", "Cost"], rows)]
    rows = []
    for name, title in (("ids", "Semantic ids"), ("characters", "Recognised characters")):
        pairs = found.changes.get(name, [])
        if not sum(pair.of for pair in pairs):
            continue
        quieter = _ratio([pair.unmarked for pair in pairs], pairs, "%", 100, seed)
        with_mark = _ratio([pair.marked for pair in pairs], pairs, "%", 100, seed)
        metrics[f"{name}_changed.quieter"] = quieter
        metrics[f"{name}_changed.marked"] = with_mark
        rows.append([title, quieter, with_mark])
    if rows:
        heads = ["Of continuations", "1 dB quieter", "Marked"]
        note = "Compared with what is heard in the same continuation, unmarked."
        tables.append(Table("What is heard otherwise", heads, rows, note))
    return metrics, tables


def _ratio(
    values: Sequence[float], pairs: Sequence[Pair], unit: str, scale: float, seed: int
) -> Metric:
    of, speakers = [pair.of for pair in pairs], [pair.speaker for pair in pairs]
    return ratio_metric(values, of, speakers, unit=unit, scale=scale, seed=seed)


def _words(
    request: ExperimentRequest, chosen: Sequence[Utterance], found: Costs
) -> tuple[Recogniser | None, dict[str, str]]:
    """Who hears the words, and what is said in recordings that go whole through the codec, by id.

    What is missing is said in `found`.
    """
    name = request.options.watermark.recogniser
    if not name:
        return None, {}
    try:
        extra("jiwer")
        recogniser = load_recogniser(name, request.model.device)
    except Skipped as reason:
        found.said["not measured"] = f"words: {reason}"
        return None, {}
    found.said["recogniser"] = recogniser.name
    try:
        known, _ = transcribed(chosen, request.data)
    except Skipped as reason:
        found.said["not measured"] = f"CER: {reason}"
        return recogniser, {}
    whole = [u for u in known if u.recording.seconds <= RECORDING_SECONDS]
    return recogniser, {u.recording.id: normalise_text(u.text or "") for u in whole}


def _add_visqol(
    found: Costs,
    name: str,
    speaker: str,
    visqol: Visqol,
    reference: np.ndarray,
    without: np.ndarray,
    with_mark: np.ndarray,
) -> None:
    """Add two scores beside a reference (T,), where ViSQOL has an answer for both."""
    original = Audio(reference, SAMPLE_RATE)
    a, b = (visqol.score(Audio(made, SAMPLE_RATE), original) for made in (without, with_mark))
    if a is not None and b is not None:
        found.pairs.setdefault(name, []).append(Pair(speaker, a, b))


def _add_ids(
    found: Costs,
    request: ExperimentRequest,
    speaker: str,
    without: np.ndarray,
    with_mark: np.ndarray,
) -> None:
    """Add the bits of the ids heard with the mark and without, and how many ids change."""
    model, stage = request.model, semantic_stage(request.model)
    sounds = (without, with_mark, without * QUIETER)
    ids = [model.tokenize(Audio(sound, SAMPLE_RATE)).semantic for sound in sounds]  # (S,) each
    batch_seconds = request.options.probes.batch_seconds
    unmarked, marked = (
        sum(bits(one.nats) for one in likelihoods(stage, windows(stage, row), batch_seconds))
        for row in ids[:2]
    )
    seconds = len(ids[0]) * SEMANTIC_HOP / SAMPLE_RATE
    pairs = found.pairs.setdefault("bits.continuations", [])
    pairs.append(Pair(speaker, unmarked, marked, seconds))
    marked_ids, quieter_ids = (int(torch.count_nonzero(row != ids[0])) for row in ids[1:])
    pair = Pair(speaker, quieter_ids, marked_ids, len(ids[0]))
    found.changes.setdefault("ids", []).append(pair)


def _add_changed_words(
    found: Costs,
    speaker: str,
    recogniser: Recogniser,
    without: np.ndarray,
    with_mark: np.ndarray,
) -> None:
    """Add how much of the words is recognised otherwise with the mark, and 1 dB quieter."""
    heard, quieter, marked = (
        _text(recogniser, sound) for sound in (without, without * QUIETER, with_mark)
    )
    if heard:
        a, b = (errors(text, heard) for text in (quieter, marked))
        pair = Pair(speaker, a.characters, b.characters, a.of_characters)
        found.changes.setdefault("characters", []).append(pair)


def _add_errors(
    found: Costs,
    speaker: str,
    recogniser: Recogniser,
    text: str,
    without: np.ndarray,
    with_mark: np.ndarray,
) -> None:
    """Add the errors against the transcript, in characters."""
    a, b = (errors(_text(recogniser, sound), text) for sound in (without, with_mark))
    pair = Pair(speaker, a.characters, b.characters, a.of_characters)
    found.pairs.setdefault("cer.codec", []).append(pair)


def _text(recogniser: Recogniser, samples: np.ndarray) -> str:
    return normalise_text(recogniser.transcribe(Audio(samples, SAMPLE_RATE)))
