"""The protocol of results: what an experiment gives back, and the same as plain data.

Whoever measures makes these, whoever writes reports reads these; neither knows the other.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from audiolm.evaluation.metrics.statistics import Metric

TableCell = str | int | float | Metric | None
"""What stands in a table; None is printed as a dash."""


@dataclass(frozen=True)
class Table:
    """A table of the report, the way a paper would print it."""

    title: str
    columns: list[str]
    rows: list[list[TableCell]]
    """One cell per column in each."""
    note: str = ""
    """Printed below it."""
    by_speaker: bool = True
    """Whether it is of recordings of the corpus' speakers, or of the half that is asked for."""


@dataclass(frozen=True)
class ExperimentResult:
    """What one experiment found."""

    metrics: dict[str, Metric]
    """By a stable name such as `within.semantic`: lower case, words joined by `_` and `.`."""
    tables: list[Table] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)
    """PNG or SVG files in the experiment's folder, which the report takes in."""
    conditions: dict[str, str] = field(default_factory=dict)
    """What the metrics depend on: choices of protocol, versions, the recordings' quality."""


def result_to_json(result: ExperimentResult, folder: Path) -> dict[str, Any]:
    """A result as plain data; plots by their path from `folder`."""
    return {
        "metrics": {name: asdict(metric) for name, metric in result.metrics.items()},
        "tables": [
            {**asdict(table), "rows": [[_cell_to_json(cell) for cell in row] for row in table.rows]}
            for table in result.tables
        ],
        "plots": [plot.relative_to(folder).as_posix() for plot in result.plots],
        "conditions": result.conditions,
    }


def result_from_json(content: dict[str, Any], folder: Path) -> ExperimentResult:
    """The inverse of `result_to_json`."""
    tables = [
        Table(**{**table, "rows": [[_cell_from_json(cell) for cell in row] for row in rows]})
        for table in content["tables"]
        for rows in [table["rows"]]
    ]
    return ExperimentResult(
        {name: Metric(**metric) for name, metric in content["metrics"].items()},
        tables,
        [folder / plot for plot in content["plots"]],
        dict(content["conditions"]),
    )


def _cell_to_json(cell: TableCell) -> Any:
    return asdict(cell) if isinstance(cell, Metric) else cell


def _cell_from_json(cell: Any) -> TableCell:
    return Metric(**cell) if isinstance(cell, dict) else cell
