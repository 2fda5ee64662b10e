"""The tables of a report as Markdown: what docs/RESULTS.md holds, printed by `audiolm report`."""

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiolm.errors import CorpusError
from audiolm.evaluation.options import EvaluationConfig

REPORT = "report.json"


def read_report(folder: Path) -> dict[str, Any]:
    """The report that `audiolm evaluate` wrote into a folder.

    Raises:
        CorpusError: if there is none, or it is damaged, or of a version that had other words.
    """
    path = folder / REPORT
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if "experiments" in report:
            return report
        wrong = "was written by an earlier version"
    except OSError as error:
        wrong = f"cannot be read ({error.strerror})"
    except ValueError:
        wrong = "is empty or damaged"
    raise CorpusError(f"{path}: {wrong}; the same audiolm evaluate command writes it again")


def markdown_report(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines of every experiment that has a result."""
    for name, experiment in report["experiments"].items():
        if "tables" in experiment:
            yield from _experiment(name, experiment, report)
            yield ""


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """The lines of a table; cells are as in `report.json`."""
    yield _row(columns)
    yield _row(["---"] * len(columns))
    for row in rows:
        yield _row([_cell(cell) for cell in row])


def number(value: float) -> str:
    """Three significant digits, or whole numbers from 100 on."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def _experiment(
    name: str, experiment: Mapping[str, Any], report: Mapping[str, Any]
) -> Iterator[str]:
    """Heading, command and conditions of an experiment, and its tables."""
    data = Path(report["data"]).name
    words = ["audiolm", "evaluate", report["model"]["name"] or "MODEL", "--data", data]
    words += ["--out", "REPORT", "--only", name]
    words += [] if report["limit"] is None else ["--limit", str(report["limit"])]
    words += [] if report["speakers"] == "all" else ["--speakers", report["speakers"]]
    words += _settings(name, experiment["options"])
    conditions = "; ".join(f"{key}: {value}" for key, value in experiment["conditions"].items())
    yield f"### {experiment['title']} ({experiment['paper']})"
    yield ""
    yield (
        f"`{shlex.join(words)}`, seed {report['seed']}, protocol {experiment['protocol']}, "
        f"{experiment['seconds'] / 60:.0f} min. {conditions.replace(report['data'] + '/', '')}."
    )
    for table in experiment["tables"]:
        yield from ("", f"**{table['title']}**", "")
        yield from markdown_table(table["columns"], table["rows"])


def _settings(name: str, options: Mapping[str, Any]) -> list[str]:
    """The options of an experiment that are not the defaults, as they are given to the command."""
    usual = EvaluationConfig().model_dump(mode="json")
    sections = {key: held for key, held in options.items() if key in usual}
    sections[name] = {key: held for key, held in options.items() if key not in usual}
    return [
        word
        for section, held in sections.items()
        for key, value in held.items()
        if value != usual[section][key]
        for word in ("--set", f"{section}.{key}={json.dumps(value)}")
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _cell(cell: Any) -> str:
    """A text, a number, or a metric with its interval and the paper's value."""
    if cell is None:
        return ""
    if isinstance(cell, dict):
        text = number(cell["value"])
        if cell.get("low") is not None:
            text += f" [{number(cell['low'])}, {number(cell['high'])}]"
        return text + (f" (paper {cell['paper']})" if cell.get("paper") is not None else "")
    return number(cell) if isinstance(cell, float) else str(cell)
