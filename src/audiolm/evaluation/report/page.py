"""`report.html`: the tables of a run for somebody who knows the paper, in one file.

Everything is inside it, style and plots too, so that it can be sent and kept.
"""

import base64
import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from audiolm.evaluation.metrics.statistics import Metric
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell

MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff;
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem;
     border-top: 1px solid #ddd; padding-top: 1rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid #eee; }
th { border-bottom: 1px solid #888; font-weight: 600; }
.wide { overflow-x: auto; } .quiet { color: #666; } .note { color: #666; font-size: .9rem; }
.missing { background: #fff6e5; padding: .4rem .7rem; border-left: 3px solid #d9902f; }
.failed { background: #fdecea; padding: .4rem .7rem; border-left: 3px solid #c0392b; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem; }
dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; margin: .5rem 0; }
"""


def html_report(report: Mapping[str, Any], results: Mapping[str, ExperimentResult]) -> str:
    """The whole page.

    Args:
        report: the content of `report.json`.
        results: of the experiments that are finished, by name.
    """
    model = report["model"]
    title = model["name"] or "a model without a name"
    experiments: Mapping[str, Mapping[str, Any]] = report["experiments"]
    body = [
        f"<h1>AudioLM: evaluation of {escape(title)}</h1>",
        "<p>Intervals are 95 %. Where the paper has a value it stands beside ours; it was taken "
        "on other recordings and by a larger model, and the conditions below each table say what "
        "else differs.</p>",
        _facts(
            {
                "model": model["fingerprint"],
                "recordings": report["data"],
                "limit": "none" if report["limit"] is None else str(report["limit"]),
                "seed": str(report["seed"]),
                "speakers": report["speakers"],
                "computed on": report["device"],
                "versions": ", ".join(f"{k} {v}" for k, v in report["versions"].items()),
            }
        ),
        _overview(experiments, results),
    ]
    for name, about in experiments.items():
        body += _section(name, about, results.get(name))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}: evaluation</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _overview(
    experiments: Mapping[str, Mapping[str, Any]], results: Mapping[str, ExperimentResult]
) -> str:
    """The metrics that the paper has as well, all in one table."""
    rows: list[list[TableCell]] = [
        [experiments[one]["paper"], f"{one}: {name}", metric, metric.paper, metric.count]
        for one, result in results.items()
        for name, metric in result.metrics.items()
        if metric.paper is not None
    ]
    if not rows:
        return ""
    columns = ["in the paper", "metric", "here", "paper", "items"]
    return "<h2>Beside the paper</h2>" + _table(Table("", columns, rows), show_paper=False)


def _section(name: str, about: Mapping[str, Any], result: ExperimentResult | None) -> Iterable[str]:
    yield f"<h2>{escape(about['title'])}</h2>"
    yield (
        f'<p class="quiet">{escape(name)}, protocol {about["protocol"]}; in the paper: '
        f"{escape(about['paper'])}</p>"
    )
    if result is None:
        kind = "missing" if about["state"] == "skipped" else "failed"
        says = "; ".join(text for text in (about["reason"], about["remedy"]) if text)
        yield f'<p class="{kind}">{escape(about["state"].capitalize())}: {escape(says)}</p>'
        return
    for table in result.tables:
        yield _table(table)
    if not result.tables:
        metrics: list[list[TableCell]] = [[key, metric] for key, metric in result.metrics.items()]
        yield _table(Table("", ["metric", "value"], metrics))
    for plot in result.plots:
        yield _image(plot)
    yield _facts({**result.conditions, "took": f"{about['seconds']:.0f} s"})


def _table(table: Table, show_paper: bool = True) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_cell(cell, show_paper)}</td>" for cell in row) + "</tr>\n"
        for row in table.rows
    )
    title = f"<h3>{escape(table.title)}</h3>" if table.title else ""
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return f'{title}<div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>{note}'


def _cell(cell: TableCell, show_paper: bool) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, Metric):
        shown = escape(written(cell))
        if show_paper and cell.paper is not None:
            shown += f' <span class="quiet">(paper {cell.paper:g})</span>'
        return f'<span title="{escape(_about(cell))}">{shown}</span>'
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return escape(str(cell))


def written(metric: Metric) -> str:
    """A metric for people: as many digits as its interval bears."""
    width = metric.high - metric.low
    digits = 2 if width <= 0 else min(3, max(0, 1 - math.floor(math.log10(width))))
    low, high = f"{metric.low:.{digits}f}", f"{metric.high:.{digits}f}"
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{metric.value:.{digits}f}{unit} [{low}, {high}]"


def _about(metric: Metric) -> str:
    items = f"{metric.count} items"
    return f"{items}; {metric.note}" if metric.note else items


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    return f"<dl>{rows}</dl>"


def _image(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(path.stem)}" src="data:{MEDIA[path.suffix]};base64,{data}">'
