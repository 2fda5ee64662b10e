"""The plots of a report: metrics with their intervals, and the paper's beside them.

Drawn by matplotlib where it is installed; a report without plots is whole as well.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audiolm.evaluation.metrics.statistics import Metric

COLOURS = ("#1f5fa8", "#c8552b", "#3c8d5a", "#7b4fa3", "#8a8a8a")


def dots(path: Path, axis: str, series: Mapping[str, Mapping[str, Metric]]) -> list[Path]:
    """A row per thing that was measured, and in it a dot with its interval per series.

    Hollow diamonds are the paper's metrics.

    Args:
        path: the SVG to write.
        axis: what the horizontal axis shows.
        series: of each series the metrics by the name of their row.

    Returns:
        `[path]`, or nothing where matplotlib is not installed or there is nothing to draw.
    """
    rows = list(dict.fromkeys(row for metrics in series.values() for row in metrics))
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        return []
    if not rows:
        return []
    canvas = Canvas(figsize=(8, 1.1 + 0.32 * len(rows) * max(1, 0.6 * len(series))))
    axes = canvas.subplots()
    for number, (name, metrics) in enumerate(series.items()):
        shift = (number - (len(series) - 1) / 2) * 0.6 / len(series)
        places = [rows.index(row) + shift for row in metrics]
        values = [metric.value for metric in metrics.values()]
        below = [max(0.0, f.value - f.low) for f in metrics.values()]
        above = [max(0.0, f.high - f.value) for f in metrics.values()]
        colour = COLOURS[number % len(COLOURS)]
        axes.errorbar(
            values, places, xerr=[below, above], fmt="o", color=colour, label=name, capsize=2
        )
        paper = [
            (f.paper, p)
            for f, p in zip(metrics.values(), places, strict=True)
            if f.paper is not None
        ]
        if paper:
            xs, ys = zip(*paper, strict=True)
            axes.plot(xs, ys, "D", mfc="none", color=colour, label=f"{name}: paper")
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    _finish(axes, axis)
    return _saved(canvas, path)


def lines(
    path: Path, across: str, up: str, series: Mapping[str, Mapping[float, Metric]]
) -> list[Path]:
    """Curves with their intervals as bands: of each series the metrics by their place.

    Args:
        path: the SVG to write.
        across: what the horizontal axis shows.
        up: what the vertical axis shows.
        series: the curves.

    Returns:
        As `dots`.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        return []
    if not any(series.values()):
        return []
    canvas = Canvas(figsize=(7, 4))
    axes = canvas.subplots()
    for number, (name, metrics) in enumerate(series.items()):
        places = sorted(metrics)
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(places, [metrics[p].value for p in places], "o-", color=colour, label=name)
        low, high = [metrics[p].low for p in places], [metrics[p].high for p in places]
        axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
        paper = {p: known for p in places if (known := metrics[p].paper) is not None}
        if paper:
            axes.plot(
                list(paper), list(paper.values()), "D", mfc="none", color=colour, label="paper"
            )
    axes.set_ylabel(up)
    _finish(axes, across)
    return _saved(canvas, path)


def _finish(axes: Any, across: str) -> None:
    axes.set_xlabel(across)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _saved(canvas: Any, path: Path) -> list[Path]:
    # Letters stay letters and nothing depends on the day: the same metrics give the same file.
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "audiolm"}):
        canvas.savefig(path, bbox_inches="tight", metadata={"Date": None})
    return [path]
