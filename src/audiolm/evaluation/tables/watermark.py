"""The mark in what a model makes (not in the paper): is it found, where it is and nowhere else?

Continuations are made without the mark, and marked as `AudioLM.continuation` does it: same seeds,
same samples otherwise. Their beginnings, of several lengths, meet the conditions of
`safety/conditions.py` and are read. Recordings, which carry none, are read as they are, in as many
clips as asked. What the mark costs is in `watermark_costs`.

Clips of one recording overlap where there are not enough, and then say the same again and again:
intervals are those of as many clips as fit side by side. The reader takes a clip as a file of its
own. To share the transform among overlapping ones would spare it a tenth of its work; most of it is
the search among speeds, at the loudness of each clip.
"""

import math
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from audiolm.audio.files import read
from audiolm.errors import ConfigurationError
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import coarse_maker, levels_made, needed
from audiolm.evaluation.metrics.quality import Visqol
from audiolm.evaluation.metrics.statistics import Metric, clopper_pearson, mean_metric
from audiolm.evaluation.options import WatermarkConfig
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import between, prompts_of, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.watermark_costs import costs, metrics_and_tables
from audiolm.safety.conditions import CONDITIONS, Condition, applied, through_codec
from audiolm.safety.watermark import DEPTH_DB, MarkReading, Payload, mark, read_mark
from audiolm.safety.watermark_pattern import PAYLOAD_BITS
from audiolm.safety.watermark_reading import FOUND
from audiolm.shapes import SAMPLE_RATE

if TYPE_CHECKING:
    from audiolm.model import AudioLM

OWN_CODEC = "own codec"

CLIPS_PER_ITEM = 100
"""Clips of recordings that are read for each continuation, where `--limit` says how many."""

LOOSE = 1e-2
"""A second p-value at which false alarms are counted: enough of them to see if it is honest."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Marks found and read by condition and length, false alarms, and what the mark costs.

    Raises:
        Skipped: no recording is long enough, the model cannot continue, or there is no ViSQOL.
        ConfigurationError: a condition is not known.
    """
    options, model = request.options.watermark, request.model
    needed(model, "semantic", coarse_maker(model, options))
    conditions = conditions_of(options, model)
    visqol = Visqol(options.visqol)
    longest = max(options.lengths)
    everything = request.utterances()
    chosen = spread_over_speakers(
        between(everything, options.prompt_seconds, settings="watermark.prompt_seconds"),
        request.limit,
        request.seed,
    )
    speakers = [utterance.speaker for utterance in chosen]
    answers = request.generated(options).continuations(
        prompts_of(chosen, options.prompt_seconds),
        longest,
        request.seed,
        progress=lambda share: request.progress(0.4 * share),
        mark=False,
    )
    plain = [answer.last(longest).samples for answer in answers]
    payload = Payload.of_model(model.name, model.fingerprint)
    marked = [mark(samples, payload) for samples in plain]

    metrics, table = _found(request, marked, payload, conditions, speakers)
    began = time.perf_counter()
    alarms, alarm_table = _false_alarms(request, everything)
    minutes = (time.perf_counter() - began) / 60
    request.progress(0.9)
    judged = costs(request, visqol, chosen, plain, marked)
    paid, cost_tables = metrics_and_tables(judged, request.seed)
    request.progress(1.0)
    clips_read = sum(metric.count for name, metric in alarms.items() if f"_{FOUND:g}." in name)
    said = {
        "continuations": f"{len(chosen)}, of {longest:g} s after {options.prompt_seconds:g} s",
        "mark": f"{DEPTH_DB:g} dB, {PAYLOAD_BITS} bits",
        "found": f"p of at most {FOUND:g}, all that is searched paid for",
        "clips of recordings": f"{clips_read}, read in {minutes:.1f} min",
        "visqol": f"{visqol.mode} mode, mapper {visqol.mapper}",
        **judged.said,
    }
    return ExperimentResult(
        metrics | alarms | paid, [table, alarm_table, *cost_tables], conditions=said
    )


def conditions_of(options: WatermarkConfig, model: "AudioLM") -> dict[str, Condition]:
    """The conditions that are asked for, by name; the model's own codec among them.

    Raises:
        ConfigurationError: a name is not known.
    """
    known = {**CONDITIONS, OWN_CODEC: through_codec(model.codec, levels_made(model))}
    for name in options.conditions:
        if name not in known:
            raise ConfigurationError(
                f"watermark.conditions: {name} is not known; use {', '.join(known)}"
            )
    return {name: known[name] for name in options.conditions or known}


def _found(
    request: ExperimentRequest,
    marked: list[np.ndarray],
    payload: Payload,
    conditions: Mapping[str, Condition],
    speakers: list[str],
) -> tuple[dict[str, Metric], Table]:
    """Shares of marks found, and of payloads read, by condition and length."""
    lengths = request.options.watermark.lengths
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    for number, (name, condition) in enumerate(conditions.items(), start=1):
        row: list[TableCell] = [name]
        for seconds in lengths:
            readings = []
            for place, samples in enumerate(marked):
                clip = samples[: round(seconds * SAMPLE_RATE)]
                changed = applied(name, clip, request.seed + place, condition)
                readings.append(read_mark(changed, SAMPLE_RATE))
            shares = {
                "found": [float(reading.found) for reading in readings],
                "read": [float(reading.payload == payload) for reading in readings],
            }
            errors = [wrong_bits(reading, payload) for reading in readings]
            words = name.lower().replace("%", "percent").replace("/s", "").replace(" ", "_")
            stem = f"{words}.{seconds:g}_s"
            for key, values in shares.items():
                metrics[f"{key}.{stem}"] = mean_metric(
                    values, speakers, unit="%", scale=100, seed=request.seed
                )
            wrong = sum(count for count in errors if count is not None)
            row += [metrics[f"found.{stem}"], metrics[f"read.{stem}"], wrong]
        rows.append(row)
        request.progress(0.4 + 0.3 * number / len(conditions))
    heads = [
        f"{what}, {seconds:g} s" for seconds in lengths for what in ("Found", "Read", "Wrong bits")
    ]
    note = (
        "Found: a mark is there. Read: its payload is right; otherwise none is reported, but where "
        "bits are wrong (counted over all payloads that were reported)."
    )
    return metrics, Table("Marks by condition and length", ["Condition", *heads], rows, note)


def wrong_bits(reading: MarkReading, payload: Payload) -> int | None:
    """How many of the bits that are reported are wrong; None where none are reported."""
    if reading.payload is None:
        return None
    if reading.payload.family.startswith("family "):
        family = int(reading.payload.family.removeprefix("family "))
        number = family << 12 | int(reading.payload.fingerprint, 16)
    else:
        number = reading.payload.number
    return (number ^ payload.number).bit_count()


def _false_alarms(
    request: ExperimentRequest, everything: list[Utterance]
) -> tuple[dict[str, Metric], Table]:
    """Recordings in which a mark is found, though there is none."""
    options = request.options.watermark
    few = request.limit is not None and "clips" not in options.model_fields_set
    most = CLIPS_PER_ITEM * (request.limit or 1) if few else options.clips
    count = max(1, min(options.clips, most) // len(options.lengths))
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    for number, seconds in enumerate(options.lengths, start=1):
        hop = hop_for(everything, seconds, count)
        values: list[float] = []
        speakers: list[str] = []
        for speaker, clip in clips(everything, seconds, hop):
            if len(values) == count:
                break
            values.append(read_mark(clip, SAMPLE_RATE).p_value)
            speakers.append(speaker)
        if not values:
            raise Skipped(
                f"no recording lasts {seconds:g} s", "set watermark.lengths to shorter ones"
            )
        independent = min(len(values), side_by_side(everything, seconds))
        row: list[TableCell] = [f"{seconds:g} s", len(values), independent]
        for at in (FOUND, LOOSE):
            alarms = sum(value <= at for value in values)
            share = alarms / len(values)
            # As many alarms as the same share of independent clips would be, rounded outwards.
            low, _ = clopper_pearson(math.floor(share * independent), independent)
            _, high = clopper_pearson(math.ceil(share * independent), independent)
            note = f"{alarms} of {len(values)}; interval of {independent} independent clips"
            metric = Metric(100 * share, 100 * low, 100 * high, len(values), "%", note)
            metrics[f"false_alarms_at_{at:g}.{seconds:g}_s"] = metric
            row.append(metric)
        rows.append(row)
        request.progress(0.7 + 0.2 * number / len(options.lengths))
    columns = ["Length", "Clips", "Of them independent", f"p ≤ {FOUND:g}", f"p ≤ {LOOSE:g}"]
    note = "Intervals: Clopper and Pearson's, of the independent clips."
    return metrics, Table("Marks found in recordings, which have none", columns, rows, note)


def side_by_side(everything: list[Utterance], seconds: float) -> int:
    """How many clips fit into the recordings without overlap."""
    return sum(int(u.recording.seconds / seconds) for u in everything)


def hop_for(everything: list[Utterance], seconds: float, count: int) -> float:
    """Seconds between the beginnings of clips, so that there are about `count`; never above
    `seconds`.
    """
    room = sum(max(0.0, u.recording.seconds - seconds) for u in everything)
    return max(0.02, min(seconds, room / count))


def clips(
    everything: list[Utterance], seconds: float, hop: float
) -> Iterator[tuple[str, np.ndarray]]:
    """Clips (n,) of recordings, `hop` seconds apart, each with its speaker."""
    length = round(seconds * SAMPLE_RATE)
    step = max(1, round(hop * SAMPLE_RATE))
    for utterance in everything:
        if utterance.recording.seconds < seconds:
            continue
        samples = read(utterance.recording.path, SAMPLE_RATE).samples
        for start in range(0, len(samples) - length + 1, step):
            yield utterance.speaker, samples[start : start + length]
