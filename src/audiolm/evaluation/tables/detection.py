"""Telling what a model has made from recordings (section IV-H).

Continuations without their prompts stand against what the same recordings hold at that place,
compressed by the model's own codec at the same bitrate: traces of the codec tell nothing, nor does
the voice, the text before it or the length. Two detectors are judged, apart from each other: the
one that the model brings, on speakers it never heard, by length, by what happens to files, and on
what other systems make; and one that is fitted here as the paper does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.detecting import ChosenDetector, own_detector
from audiolm.errors import AudioLMError
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import coarse_maker, levels_made, needed
from audiolm.evaluation.metrics import detection
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.detection_pairs import (
    Pairs,
    continued_pairs,
    of_another_corpus,
    strangers_to,
)
from audiolm.evaluation.tables.fitted_detector import fitted
from audiolm.evaluation.tables.other_generators import other_generators
from audiolm.model_io.manifest import read_manifest
from audiolm.parts import DETECTOR
from audiolm.pretrained import find
from audiolm.safety.calibration import calibration_for
from audiolm.safety.conditions import CONDITIONS, applied, through_codec
from audiolm.safety.detection import Detection, judged
from audiolm.safety.windows import Heard, heard
from audiolm.shapes import SAMPLE_RATE

RATES = {"1": 0.01, "0.1": 0.001}
"""Stated rates of false alarms, by how they are called in percent."""
NAMES = {
    "balanced_accuracy": "Balanced accuracy",
    "synthetic_found": "Synthetic that is found",
    "real_passed": "Originals that are let through",
    "ranked": "Synthetic ranked above its original",
    "auc": "AUC",
    "eer": "EER",
    "min_dcf": "minDCF",
    "cllr": "Cllr",
    "found.1": "Found at stated 1 % false alarms",
    "false_alarms.1": "False alarms at stated 1 %, through the codec",
    "false_alarms_raw.1": "False alarms at stated 1 %, as recorded",
    "found.0.1": "Found at stated 0.1 % false alarms",
    "false_alarms.0.1": "False alarms at stated 0.1 %, through the codec",
    "false_alarms_raw.0.1": "False alarms at stated 0.1 %, as recorded",
    "codec_accuracy": "Through the codec or not, balanced accuracy",
}


def inputs(request: ExperimentRequest) -> dict[str, Any]:
    """The detector that is judged, where there is one."""
    try:
        parts = read_manifest(find(request.options.detection.detector)).parts
    except AudioLMError:
        return {}
    return {"detector": parts[DETECTOR.name].fingerprint} if DETECTOR.name in parts else {}


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Everything about both detectors.

    Raises:
        Skipped: the model cannot continue, no recording is long enough, or there is neither a
            detector nor several speakers to fit one on.
        ModelFolderError: the detector is damaged, or its model is not there.
    """
    options, model = request.options.detection, request.model
    needed(model, "semantic", coarse_maker(model, options))
    chosen = own_detector(options.detector, model.device) if options.detector else None
    pool = request.utterances()
    if chosen is not None:
        pool = strangers_to(chosen.detector.speakers, pool)
    pairs = continued_pairs(request, pool, options.seconds)
    metrics: dict[str, Metric] = {}
    tables: list[Table] = []
    conditions = {
        "recordings": f"{len(pairs.made)}, each of them once continued and once as it is",
        "length": f"{options.seconds:g} s after a prompt of {options.prompt_seconds:g} s",
        "originals": f"through the codec, {levels_made(model)} levels",
        "speakers": str(len(set(pairs.speakers))),
    }
    if chosen is None:
        conditions["detector"] = "the model has none; only the fitted one is measured"
    else:
        conditions["detector"] = f"trained for {chosen.trained_for}, on none of these speakers"
        judge = Judge(chosen, request.seed, options.threshold)
        for section in (_of_pairs, _by_length, _by_condition, _by_generator, _of_corpora, _joints):
            found, table = section(request, judge, pairs, pool)
            metrics |= found
            tables += table
    try:
        if options.fitted_epochs:
            found = fitted(
                *(pairs.coded, pairs.made, pairs.speakers),
                options,
                model.device,
                request.seed,
                lambda share: request.progress(0.8 + 0.2 * share),
            )
            metrics |= {f"fitted.{key}": metric for key, metric in found.items()}
            rows: list[list[TableCell]] = [[NAMES[k], m, m.paper] for k, m in found.items()]
            note = "Fitted on half of these speakers, judged on the others: the paper's protocol."
            tables.append(Table("A detector fitted here", ["", "Share", "Paper"], rows, note))
    except Skipped as skipped:
        if chosen is None:
            raise
        conditions["fitted"] = f"not measured: {skipped.reason}"
    if not metrics:
        raise Skipped(
            "the model has no detector, and none is to be fitted",
            "audiolm train FOLDER --out MODEL --only detector, or --set detection.fitted_epochs=10",
        )
    request.progress(1.0)
    return ExperimentResult(metrics, tables, conditions=conditions)


@dataclass(frozen=True)
class Judge:
    """Asks one detector, and counts."""

    chosen: ChosenDetector
    seed: int
    threshold: float

    def hear(self, clips: Sequence[Audio]) -> list[Heard]:
        """What the detector says of the windows of each clip."""
        return [
            heard(self.chosen.detector, [clip.resampled(SAMPLE_RATE).samples]) for clip in clips
        ]

    def log_odds(self, pieces: Sequence[Heard], question: str = "made") -> list[float]:
        """Calibrated log-odds of each piece as a whole; 0 of silence."""
        config = self.chosen.detector.config
        calibrations, index = getattr(config, question), ("made", "codec").index(question)
        return [
            calibration_for(calibrations, piece.audible).log_odds(piece.mean(index))
            if piece.audible
            else 0.0
            for piece in pieces
        ]

    def answers(self, pieces: Sequence[Heard], rate: float) -> list[Detection]:
        """The verdicts at a stated rate of false alarms."""
        return [judged(piece, self.chosen.detector.config, rate) for piece in pieces]

    def share(self, said: Sequence[float | bool], speakers: Sequence[str]) -> Metric:
        """Percent of pieces, with an interval over speakers."""
        numbers = [float(one) for one in said]
        return mean_metric(numbers, speakers, unit="%", scale=100, seed=self.seed)

    def found(self, pieces: Sequence[Heard], speakers: Sequence[str], rate: float) -> Metric:
        """Percent that the verdict calls made, wholly or partly."""
        return self.share([answer.made for answer in self.answers(pieces, rate)], speakers)

    def accuracy(self, no: Sequence[float], yes: Sequence[float], who: Sequence[str]) -> Metric:
        """Balanced accuracy of log-odds of pairs, in percent."""
        limit = float(np.log(self.threshold / (1 - self.threshold)))
        right = [((n < limit) + (y >= limit)) / 2 for n, y in zip(no, yes, strict=True)]
        return self.share(right, who)


Section = tuple[dict[str, Metric], list[Table]]


def _of_pairs(
    request: ExperimentRequest, judge: Judge, pairs: Pairs, pool: list[Utterance]
) -> Section:
    """What is asked of any detector, on whole clips."""
    raw, coded, made = (judge.hear(clips) for clips in (pairs.raw, pairs.coded, pairs.made))
    real, synthetic = judge.log_odds(coded), judge.log_odds(made)
    who = pairs.speakers
    probabilities = [[1 / (1 + np.exp(-odds)) for odds in one] for one in (real, synthetic)]
    metrics = detection.evaluate(
        probabilities[0], probabilities[1], who, judge.threshold, request.seed
    )
    metrics |= detection.curves(real, synthetic, who, who, request.seed)
    for name, rate in RATES.items():
        metrics[f"found.{name}"] = judge.found(made, who, rate)
        metrics[f"false_alarms.{name}"] = judge.found(coded, who, rate)
        metrics[f"false_alarms_raw.{name}"] = judge.found(raw, who, rate)
    metrics["codec_accuracy"] = judge.accuracy(
        judge.log_odds(raw, "codec"), judge.log_odds(coded, "codec"), who
    )
    rows: list[list[TableCell]] = [[NAMES[key], m, m.paper] for key, m in metrics.items()]
    note = (
        "minDCF and Cllr as ASVspoof 5 defines them (a real piece refused costs 1, a synthetic one "
        "accepted 10, 5 % are synthetic). The paper's detector was fitted to its own model's sound "
        "with the protocol below."
    )
    request.progress(0.45)
    return metrics, [Table("Detection of synthetic speech", ["", "Here", "Paper"], rows, note)]


def _by_length(
    request: ExperimentRequest, judge: Judge, pairs: Pairs, pool: list[Utterance]
) -> Section:
    """The beginnings of clips."""
    options, metrics = request.options.detection, dict[str, Metric]()
    rows: list[list[TableCell]] = []
    for seconds in options.lengths:
        try:
            some = (
                pairs.first(seconds)
                if seconds <= options.seconds
                else continued_pairs(request, pool, seconds)
            )
        except Skipped as skipped:
            rows.append([f"{seconds:g} s", None, None, None, skipped.reason])
            continue
        coded, made = judge.hear(some.coded), judge.hear(some.made)
        real, synthetic = judge.log_odds(coded), judge.log_odds(made)
        of_length = {
            "accuracy": judge.accuracy(real, synthetic, some.speakers),
            "eer": detection.curves(real, synthetic, some.speakers, some.speakers, request.seed)[
                "eer"
            ],
            "found.1": judge.found(made, some.speakers, RATES["1"]),
        }
        metrics |= {f"length.{seconds:g}.{key}": metric for key, metric in of_length.items()}
        rows.append([f"{seconds:g} s", *of_length.values(), ""])
    columns = ["Length", "Balanced accuracy", "EER", "Found at 1 %", "Not measured"]
    request.progress(0.5)
    return metrics, [Table("Detection by length", columns, rows)] if rows else []


def _by_condition(
    request: ExperimentRequest, judge: Judge, pairs: Pairs, pool: list[Utterance]
) -> Section:
    """What is left after what happens to files; originals meet the same."""
    options, model = request.options.detection, request.model
    if not options.conditions:
        return {}, []
    some, metrics = pairs.some(options.clips), dict[str, Metric]()
    everything = {
        **CONDITIONS,
        "the model's codec": through_codec(model.codec, levels_made(model)),
    }
    rows: list[list[TableCell]] = []
    for number, (name, condition) in enumerate(everything.items()):

        def under(
            clips: Sequence[Audio], name: str = name, condition: Callable[..., Any] = condition
        ) -> list[Heard]:
            changed = [
                applied(name, clip.resampled(SAMPLE_RATE).samples, request.seed + n, condition)
                for n, clip in enumerate(clips)
            ]
            return judge.hear([Audio(samples, SAMPLE_RATE) for samples in changed])

        coded, made = under(some.coded), under(some.made)
        of_condition = {
            "accuracy": judge.accuracy(judge.log_odds(coded), judge.log_odds(made), some.speakers),
            "found.1": judge.found(made, some.speakers, RATES["1"]),
            "false_alarms.1": judge.found(coded, some.speakers, RATES["1"]),
        }
        key = name.lower().replace(" ", "_")
        metrics |= {f"condition.{key}.{k}": metric for k, metric in of_condition.items()}
        rows.append([name, *of_condition.values()])
        request.progress(0.5 + 0.15 * (number + 1) / len(everything))
    columns = ["Condition", "Balanced accuracy", "Found at 1 %", "False alarms at 1 %"]
    return metrics, [Table("Detection by condition", columns, rows)]


def _by_generator(
    request: ExperimentRequest, judge: Judge, pairs: Pairs, pool: list[Utterance]
) -> Section:
    """What was not trained on: found or not, there are no originals to it."""
    options = request.options.detection
    if not options.generators:
        return {}, []
    some, metrics = pairs.some(options.clips), dict[str, Metric]()
    prompts = [clip.first(options.prompt_seconds) for clip in some.whole]
    rows: list[list[TableCell]] = []
    for name, clips in other_generators(request, prompts, options).items():
        if isinstance(clips, str):
            rows.append([name, None, None, clips])
            continue
        who = (
            some.speakers
            if len(clips) == len(some.speakers)
            else [str(n) for n in range(len(clips))]
        )
        pieces = judge.hear(clips)
        key = name.lower().replace(" ", "_")
        metrics[f"generator.{key}.found.1"] = judge.found(pieces, who, RATES["1"])
        through = [odds >= 0 for odds in judge.log_odds(pieces, "codec")]
        metrics[f"generator.{key}.codec"] = judge.share(through, who)
        rows.append(
            [name, metrics[f"generator.{key}.found.1"], metrics[f"generator.{key}.codec"], ""]
        )
    columns = ["Generator", "Found at 1 %", "Said to be through the codec", "Not measured"]
    note = "Speech of other systems is not this model's: to find none of it is right."
    request.progress(0.75)
    return metrics, [Table("What the detector says of other sound", columns, rows, note)]


def _of_corpora(
    request: ExperimentRequest, judge: Judge, pairs: Pairs, pool: list[Utterance]
) -> Section:
    """False alarms on recordings of other corpora, as they are and through the codec.

    Raises:
        CorpusError: a corpus is not there.
    """
    options, model, metrics = request.options.detection, request.model, dict[str, Metric]()
    rows: list[list[TableCell]] = []
    for folder in options.corpora:
        heard_nowhere = of_another_corpus(Path(folder))
        chosen = spread_over_speakers(heard_nowhere, request.limit or options.clips, request.seed)
        clips = [read(u.recording.path, SAMPLE_RATE).first(options.seconds) for u in chosen]
        coded = [model.reconstruction(clip, levels_made(model)) for clip in clips]
        who, key = [u.speaker for u in chosen], Path(folder).name
        row: list[TableCell] = [key]
        for kind, sounds in (("raw", clips), ("coded", coded)):
            pieces = judge.hear(sounds)
            for name, rate in RATES.items():
                metric = judge.found(pieces, who, rate)
                metrics[f"corpus.{key}.{kind}.false_alarms.{name}"] = metric
                row.append(metric)
        rows.append(row)
    columns = ["Corpus", *(f"{k}, at {n} %" for k in ("As recorded", "Codec") for n in RATES)]
    return metrics, [Table("False alarms on other corpora", columns, rows)] if rows else []


def _joints(
    request: ExperimentRequest, judge: Judge, pairs: Pairs, pool: list[Utterance]
) -> Section:
    """Where a prompt turns into a continuation, by the timeline of the whole clip."""
    prompt = request.options.detection.prompt_seconds
    timelines = judge.answers(judge.hear(pairs.whole), RATES["1"])
    nearest = [
        min(abs(joint - prompt) for joint in one.joints) if one.joints else None
        for one in timelines
    ]
    there = [n for n, error in enumerate(nearest) if error is not None]
    found = [error is not None for error in nearest]
    metrics = {"joint.found": judge.share(found, pairs.speakers)}
    rows: list[list[TableCell]] = [["Clips with a joint in the timeline", metrics["joint.found"]]]
    if there:
        errors = [error for error in nearest if error is not None]
        metrics["joint.error"] = mean_metric(
            errors, [pairs.speakers[n] for n in there], unit="s", seed=request.seed
        )
        rows.append(["Distance of the nearest from the true one, mean", metrics["joint.error"]])
        rows.append(["The same, median", f"{float(np.median(errors)):.2f} s"])
    request.progress(0.8)
    return metrics, [Table("Where a prompt turns into a continuation", ["", "Here"], rows)]
