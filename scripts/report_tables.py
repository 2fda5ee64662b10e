"""The tables of one or more evaluations as Markdown: `python scripts/report_tables.py REPORT...`.

REPORT is a folder that `audiolm evaluate` wrote. What it prints is what docs/RESULTS.md holds.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from audiolm.evaluation.options import EvaluationConfig


def main() -> None:
    """Print every finished part of every report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="+", help="folders with a report.json")
    for folder in parser.parse_args().reports:
        report = json.loads((folder / "report.json").read_text("utf-8"))
        for name, part in report["parts"].items():
            if part["state"] in ("done", "kept"):
                print("\n".join(_part(name, part, report)), end="\n\n")


def _part(name: str, part: dict[str, Any], report: dict[str, Any]) -> list[str]:
    """Heading, command and conditions of a part, and its tables."""
    data = Path(report["data"]).name
    limit = f" --limit {report['limit']}" if report["limit"] else ""
    minutes = part["seconds"] / 60
    lines = [
        f"### {part['title']} ({part['paper']})",
        "",
        f"`audiolm evaluate speech --data {data} --out REPORT --only {name}{limit}"
        f"{_settings(name, part['options'])}`, seed "
        f"{report['seed']}, protocol {part['protocol']}, {minutes:.0f} min. "
        + "; ".join(f"{key}: {value}" for key, value in part["conditions"].items()).replace(
            f"{report['data']}/", ""
        )
        + ".",
    ]
    for table in part["tables"]:
        columns = table["columns"]
        lines += ["", f"**{table['title']}**", "", _row(columns), _row(["---"] * len(columns))]
        lines += [_row([_cell(cell) for cell in row]) for row in table["rows"]]
    return lines


def _settings(name: str, options: dict[str, Any]) -> str:
    """The options of a part that are not the defaults, as they are given to the command."""
    usual = EvaluationConfig().model_dump(mode="json")
    sections = {key: held for key, held in options.items() if key in usual}
    sections[name] = {key: held for key, held in options.items() if key not in usual}
    return "".join(
        f" --set {section}.{key}={json.dumps(value)}"
        for section, held in sections.items()
        for key, value in held.items()
        if value != usual[section][key]
    )


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Any) -> str:
    """A text, a number, or a figure with its interval and the paper's value."""
    if cell is None:
        return ""
    if isinstance(cell, dict):
        text = _number(cell["value"])
        if cell.get("low") is not None:
            text += f" [{_number(cell['low'])}, {_number(cell['high'])}]"
        return text + (f" (paper {cell['paper']})" if cell.get("paper") is not None else "")
    return _number(cell) if isinstance(cell, float) else str(cell)


def _number(value: float) -> str:
    """Three significant digits, or whole numbers from 100 on."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
