"""The result of a part on disk, so that what is finished is not done again.

`OUT/abx.json` holds a result and everything that it depends on; it counts only as long as nothing
of that has changed.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audiolm.atomic import replacing
from audiolm.evaluation.protocol import Cell, Figure, PartResult, Table

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Finished:
    """A part that has been measured."""

    result: PartResult
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
    # The report takes the plots in: without them the part has to be done again.
    return finished if all(plot.is_file() for plot in finished.result.plots) else None


def result_to_json(result: PartResult, folder: Path) -> dict[str, Any]:
    """A result as plain data; plots by their path from `folder`."""
    return {
        "metrics": {name: asdict(figure) for name, figure in result.metrics.items()},
        "tables": [
            {**asdict(table), "rows": [[_cell_to_json(cell) for cell in row] for row in table.rows]}
            for table in result.tables
        ],
        "plots": [plot.relative_to(folder).as_posix() for plot in result.plots],
        "conditions": result.conditions,
    }


def result_from_json(content: dict[str, Any], folder: Path) -> PartResult:
    """The inverse of `result_to_json`."""
    tables = [
        Table(**{**table, "rows": [[_cell_from_json(cell) for cell in row] for row in rows]})
        for table in content["tables"]
        for rows in [table["rows"]]
    ]
    return PartResult(
        {name: Figure(**figure) for name, figure in content["metrics"].items()},
        tables,
        [folder / plot for plot in content["plots"]],
        dict(content["conditions"]),
    )


def _cell_to_json(cell: Cell) -> Any:
    return asdict(cell) if isinstance(cell, Figure) else cell


def _cell_from_json(cell: Any) -> Cell:
    return Figure(**cell) if isinstance(cell, dict) else cell
