"""One run of `audiolm evaluate`: the parts one after the other, and the report.

A part that is finished is written at once and not done again. A part that lacks its data or an
extra, or whose data cannot be used, is reported with its line, and the other parts still run.
"""

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from audiolm._version import __version__
from audiolm.atomic import replacing
from audiolm.errors import AudioLMError, ConfigurationError, CorpusError
from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.protocol import PARTS, Part, Request, Skipped, options_of
from audiolm.evaluation.report import html_report
from audiolm.evaluation.stored import Finished, load, result_to_json, save
from audiolm.model import AudioLM

FORMAT_VERSION = 1

LIBRARIES = (
    *("torch", "numpy", "scipy", "soundfile", "soxr", "scikit-learn", "matplotlib"),
    *("visqol-python", "pystoi", "jiwer", "pocketsphinx", "transformers"),
)
"""Whose versions a report states, where they are installed."""

State = Literal["done", "kept", "skipped", "failed"]


@dataclass(frozen=True)
class Evaluation:
    """What is asked of a run."""

    model: AudioLM
    data: Path
    out: Path
    """The folder of the report; made where it is not there."""
    only: Sequence[str] = ()
    """Names of parts; all when empty."""
    limit: int | None = None
    seed: int = 0
    options: EvaluationConfig = field(default_factory=EvaluationConfig)


@dataclass(frozen=True)
class Outcome:
    """How a part ended."""

    part: Part
    state: State
    """`kept`: it was finished by an earlier run."""
    finished: Finished | None = None
    reason: str = ""
    """Of a part that was skipped or failed: a line that says what is wrong."""
    remedy: str = ""
    """How to get what a skipped part lacks."""


def chosen_parts(only: Sequence[str]) -> list[Part]:
    """The parts of these names, in the order of the table; all when there are none.

    Raises:
        ConfigurationError: if there is no such part.
    """
    unknown = [name for name in only if name not in PARTS]
    if unknown:
        raise ConfigurationError(
            f"--only {unknown[0]}: there is no such part; choose of {', '.join(PARTS)}"
        )
    return [part for name, part in PARTS.items() if not only or name in only]


def run(
    asked: Evaluation,
    progress: Callable[[str, float], None] = lambda name, share: None,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> dict[str, Any]:
    """Run the parts that are asked for and are not finished yet, and write the report.

    The report also holds what earlier runs of the same model, data, limit, seed and options have
    finished in the same folder.

    Args:
        asked: what is asked.
        progress: is told the name of a part and which share of it is done, 0 to 1.
        tell: is told how each part ended.

    Returns:
        The content of `report.json`.

    Raises:
        CorpusError: if there is no such data folder, or the report cannot be written there.
        ConfigurationError: if a part is not known.
    """
    parts = chosen_parts(asked.only)
    if not asked.data.is_dir():
        raise CorpusError(f"{asked.data}: there is no such folder; check the path")
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(
            f"{asked.out}: cannot be made ({error.strerror}); choose another folder for the report"
        ) from None
    outcomes = []
    for part in PARTS.values():
        request = _request(part, asked, progress)
        depends = _depends(part, asked, request)
        earlier = load(asked.out / f"{part.name}.json", depends)
        if earlier is not None:
            outcome = Outcome(part, "kept", earlier)
        elif part in parts:
            outcome = _run_part(part, asked.out, request, depends)
        else:
            continue
        outcomes.append(outcome)
        if part in parts:
            tell(outcome)
        report = _report(asked, outcomes)
        _write(asked.out, report, outcomes)
    return report


def _request(part: Part, asked: Evaluation, progress: Callable[[str, float], None]) -> Request:
    def advance(share: float) -> None:
        progress(part.name, min(1.0, max(0.0, share)))

    folder = asked.out / part.name
    return Request(asked.model, asked.data, folder, asked.limit, asked.seed, advance, asked.options)


def _run_part(part: Part, out: Path, request: Request, depends: dict[str, Any]) -> Outcome:
    request.out.mkdir(exist_ok=True)
    started = time.perf_counter()
    request.progress(0.0)
    try:
        result = part.load()(request)
    except Skipped as skipped:
        outcome = Outcome(part, "skipped", reason=skipped.reason, remedy=skipped.remedy)
    except AudioLMError as error:
        outcome = Outcome(part, "failed", reason=str(error))
    else:
        finished = Finished(result, time.perf_counter() - started)
        save(out / f"{part.name}.json", finished, depends)
        outcome = Outcome(part, "done", finished)
        request.progress(1.0)
    if not any(request.out.iterdir()):
        request.out.rmdir()
    return outcome


def _depends(part: Part, asked: Evaluation, request: Request) -> dict[str, Any]:
    """What the result of a part depends on; a part is done again when any of it changes.

    Data are known by their folder: what is exchanged inside it is not noticed.
    """
    inputs = part.inputs_of(request)
    return {
        "part": part.name,
        "protocol": part.version,
        "model": asked.model.fingerprint,
        "sampling": {kind: s.model_dump(mode="json") for kind, s in asked.model.sampling.items()},
        "levels": asked.model.levels,
        "data": str(asked.data.resolve()),
        "limit": asked.limit,
        "seed": asked.seed,
        "options": options_of(part, asked.options),
    } | ({"inputs": inputs} if inputs else {})


def _report(asked: Evaluation, outcomes: list[Outcome]) -> dict[str, Any]:
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
        "versions": _versions(),
        "device": str(model.device),
        "parts": {outcome.part.name: _part_report(outcome, asked) for outcome in outcomes},
    }


def _part_report(outcome: Outcome, asked: Evaluation) -> dict[str, Any]:
    part = outcome.part
    about = {
        "title": part.title,
        "paper": part.paper,
        "protocol": part.version,
        "state": outcome.state,
        "options": options_of(part, asked.options),
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


def _write(out: Path, report: dict[str, Any], outcomes: list[Outcome]) -> None:
    results = {o.part.name: o.finished.result for o in outcomes if o.finished is not None}
    with replacing(out / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False), encoding="utf-8")
    with replacing(out / "report.html") as temporary:
        temporary.write_text(html_report(report, results), encoding="utf-8")
