"""One run of `audiolm evaluate`: the experiments one after the other, and the report.

An experiment that is finished is written at once and not made again. One that lacks its data or an
extra, or whose data cannot be used, is reported with its line, and the others are still made.
"""

import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from audiolm._version import __version__
from audiolm.atomic import replacing
from audiolm.errors import AudioLMError, ConfigurationError, CorpusError
from audiolm.evaluation.halves import Speakers
from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.report.page import html_report
from audiolm.evaluation.report.results import ExperimentResult, result_to_json
from audiolm.evaluation.report.stored import Finished, load, save
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.registry import EXPERIMENTS, Experiment, options_of
from audiolm.model import AudioLM

FORMAT_VERSION = 2

LIBRARIES = (
    *("torch", "numpy", "scipy", "soundfile", "soxr", "scikit-learn", "matplotlib"),
    *("visqol-python", "pystoi", "pesq", "praat-parselmouth", "jiwer", "pocketsphinx"),
    *("mir_eval", "transkun", "transformers"),
)
"""Whose versions a report states, where they are installed."""

State = Literal["done", "kept", "skipped", "failed", "broken"]


@dataclass(frozen=True)
class Evaluation:
    """What is asked of a run."""

    model: AudioLM
    data: Path
    out: Path
    """The folder of the report; made where it is not there."""
    only: Sequence[str] = ()
    """Names of experiments; all when empty."""
    limit: int | None = None
    seed: int = 0
    options: EvaluationConfig = field(default_factory=EvaluationConfig)
    speakers: Speakers = "all"
    """Whose recordings are measured."""
    best_of: int = 1
    """Draws of everything that is generated, of which the best is kept."""


@dataclass(frozen=True)
class ExperimentOutcome:
    """How an experiment ended."""

    experiment: Experiment
    state: State
    """`kept`: it was finished by an earlier run. `broken`: a fault of ours."""
    finished: Finished | None = None
    reason: str = ""
    """Of one without a result: a line that says what is wrong."""
    remedy: str = ""
    """How to get what a skipped one lacks."""


def chosen_experiments(only: Sequence[str]) -> list[Experiment]:
    """The experiments of these names, in the order of the list; all when there are none.

    Raises:
        ConfigurationError: if there is no such experiment.
    """
    unknown = [name for name in only if name not in EXPERIMENTS]
    if unknown:
        raise ConfigurationError(
            f"--only {unknown[0]}: there is no such experiment; choose of {', '.join(EXPERIMENTS)}"
        )
    return [one for name, one in EXPERIMENTS.items() if not only or name in only]


def run(
    asked: Evaluation,
    progress: Callable[[str, float], None] = lambda name, share: None,
    tell: Callable[[ExperimentOutcome], None] = lambda outcome: None,
) -> dict[str, Any]:
    """Make the experiments that are asked for and are not finished yet, and write the report.

    The report also holds what earlier runs of the same model, data, limit, seed, speakers and
    options have finished in the same folder.

    Args:
        asked: what is asked.
        progress: is told the name of an experiment and which share of it is done, 0 to 1.
        tell: is told how each experiment ended.

    Returns:
        The content of `report.json`.

    Raises:
        CorpusError: if there is no such data folder, or the report cannot be written there.
        ConfigurationError: if an experiment is not known.
    """
    chosen = chosen_experiments(asked.only)
    if not asked.data.is_dir():
        raise CorpusError(f"{asked.data}: there is no such folder; check the path")
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(
            f"{asked.out}: cannot be made ({error.strerror}); choose another folder for the report"
        ) from None
    outcomes = []
    for experiment in EXPERIMENTS.values():
        request = _request(experiment, asked, progress)
        depends = _depends(experiment, asked, request)
        earlier = load(asked.out / f"{experiment.name}.json", depends)
        if earlier is not None:
            outcome = ExperimentOutcome(experiment, "kept", earlier)
        elif experiment in chosen:
            outcome = _made(experiment, asked.out, request, depends)
        else:
            continue
        outcomes.append(outcome)
        if experiment in chosen:
            tell(outcome)
        report = _report(asked, outcomes)
        _write(asked.out, report, outcomes)
    return report


def _request(
    experiment: Experiment, asked: Evaluation, progress: Callable[[str, float], None]
) -> ExperimentRequest:
    def advance(share: float) -> None:
        progress(experiment.name, min(1.0, max(0.0, share)))

    return ExperimentRequest(
        asked.model,
        asked.data,
        asked.out / experiment.name,
        asked.limit,
        asked.seed,
        advance,
        asked.options,
        asked.speakers,
        asked.best_of,
    )


def _made(
    experiment: Experiment, out: Path, request: ExperimentRequest, depends: dict[str, Any]
) -> ExperimentOutcome:
    """Make an experiment; whatever goes wrong in it, the next one can be made."""
    request.out.mkdir(exist_ok=True)
    started = time.perf_counter()
    request.progress(0.0)
    try:
        result = _with_speakers(experiment.load()(request), request)
    except Skipped as skipped:
        outcome = ExperimentOutcome(
            experiment, "skipped", reason=skipped.reason, remedy=skipped.remedy
        )
    except AudioLMError as error:
        outcome = ExperimentOutcome(experiment, "failed", reason=str(error))
    except Exception as error:  # a fault of ours, which must not take the other experiments along
        if os.environ.get("AUDIOLM_TRACEBACK"):
            traceback.print_exc()
        what = " ".join(f"{type(error).__name__}: {error}".split())
        outcome = ExperimentOutcome(
            experiment,
            "broken",
            reason=f"{what}; a fault of ours, AUDIOLM_TRACEBACK=1 shows where",
        )
    else:
        finished = Finished(result, time.perf_counter() - started)
        save(out / f"{experiment.name}.json", finished, depends)
        outcome = ExperimentOutcome(experiment, "done", finished)
        request.progress(1.0)
    if not any(request.out.iterdir()):
        request.out.rmdir()
    return outcome


def _with_speakers(result: ExperimentResult, request: ExperimentRequest) -> ExperimentResult:
    """The result with what it says of the half of the speakers that was measured."""
    if request.speakers == "all" or not any(table.by_speaker for table in result.tables):
        return result
    says = f"Speakers of the half `{request.speakers}` only."
    tables = [
        replace(table, note=f"{says} {table.note}".strip()) if table.by_speaker else table
        for table in result.tables
    ]
    conditions = {"half of the speakers": request.speakers, **result.conditions}
    return replace(result, tables=tables, conditions=conditions)


def _depends(
    experiment: Experiment, asked: Evaluation, request: ExperimentRequest
) -> dict[str, Any]:
    """What a result depends on; an experiment is made again when any of it changes.

    Data are known by their folder: what is exchanged inside it is not noticed.
    """
    inputs = experiment.inputs_of(request)
    return {
        "experiment": experiment.name,
        "protocol": experiment.version,
        "model": asked.model.fingerprint,
        "sampling": {kind: s.model_dump(mode="json") for kind, s in asked.model.sampling.items()},
        "levels": asked.model.levels,
        "best_of": asked.best_of,
        "data": str(asked.data.resolve()),
        "limit": asked.limit,
        "seed": asked.seed,
        "speakers": asked.speakers,
        "options": options_of(experiment, asked.options),
    } | ({"inputs": inputs} if inputs else {})


def _report(asked: Evaluation, outcomes: list[ExperimentOutcome]) -> dict[str, Any]:
    model = asked.model
    return {
        "format_version": FORMAT_VERSION,
        "model": {
            "name": model.name,
            "fingerprint": model.fingerprint,
            "parts": dict(model.fingerprints),
            "made_by": model.info.made_by,
            "data": model.info.data,
            "sampling": {k: s.model_dump(mode="json") for k, s in model.sampling.items()},
            "levels": model.levels,
        },
        "data": str(asked.data),
        "limit": asked.limit,
        "seed": asked.seed,
        "speakers": asked.speakers,
        "best_of": asked.best_of,
        "versions": _versions(),
        "device": str(model.device),
        "experiments": {one.experiment.name: _experiment_report(one, asked) for one in outcomes},
    }


def _experiment_report(outcome: ExperimentOutcome, asked: Evaluation) -> dict[str, Any]:
    experiment = outcome.experiment
    about = {
        "title": experiment.title,
        "paper": experiment.paper,
        "protocol": experiment.version,
        "state": outcome.state,
        "options": options_of(experiment, asked.options),
    }
    if outcome.finished is None:
        return about | {"reason": outcome.reason, "remedy": outcome.remedy}
    result = result_to_json(outcome.finished.result, asked.out)
    return about | {"seconds": outcome.finished.seconds} | result


def _versions() -> dict[str, str]:
    versions = {"audiolm": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _write(out: Path, report: dict[str, Any], outcomes: list[ExperimentOutcome]) -> None:
    results = {o.experiment.name: o.finished.result for o in outcomes if o.finished is not None}
    with replacing(out / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")
    with replacing(out / "report.html") as temporary:
        temporary.write_text(html_report(report, results), encoding="utf-8")
