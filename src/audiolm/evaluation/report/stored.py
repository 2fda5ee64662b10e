"""The result of an experiment on disk, so that what is finished is not done again.

`OUT/abx.json` holds a result and everything that it depends on; it counts only as long as nothing
of that has changed.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiolm.atomic import replacing
from audiolm.evaluation.report.results import (
    ExperimentResult,
    result_from_json,
    result_to_json,
)

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Finished:
    """An experiment that has been measured."""

    result: ExperimentResult
    seconds: float
    """How long it took."""


def save(path: Path, finished: Finished, depends: dict[str, Any]) -> None:
    """Write a result, whole or not at all; `depends` is all that it depends on, as plain data."""
    content = {
        "format_version": FORMAT_VERSION,
        "depends": depends,
        "seconds": finished.seconds,
        "result": result_to_json(finished.result, path.parent),
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


def load(path: Path, depends: dict[str, Any]) -> Finished | None:
    """A result that depends on just this; None where there is none, or it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format_version"] != FORMAT_VERSION or content["depends"] != depends:
            return None
        result = result_from_json(content["result"], path.parent)
        finished = Finished(result, float(content["seconds"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    # The report takes the plots in: without them the experiment has to be done again.
    return finished if all(plot.is_file() for plot in finished.result.plots) else None
