"""`audiolm evaluate`: the paper's tables by one command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiolm.cli.options import Settings, common_options, levels_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from audiolm.evaluation.run import Outcome


@click.command("evaluate")
@click.argument("name", metavar="[MODEL]", required=False)
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of recordings: LibriSpeech, ABX items, ZeroResource 2021, MAESTRO, any other.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for report.json, report.html and what the parts make.",
)
@click.option(
    "--only",
    default="",
    metavar="NAME,...",
    help="Only these: abx, reconstruction, voicing, content, speaker, probes, continuation, "
    "detection, listening.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many items in each part.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting.")
@levels_option
@common_options
@click.pass_context
def command(
    context: click.Context,
    settings: Settings,
    name: str | None,
    data: Path,
    out: Path,
    only: str,
    limit: int | None,
    assignments: tuple[str, ...],
    levels: int | None,
) -> None:
    """Measure MODEL as the paper does, and write a report.

    The same command goes on where it was stopped: parts that are finished are not run again.
    """
    from audiolm.configuration import override, parse
    from audiolm.evaluation.options import EvaluationConfig
    from audiolm.evaluation.run import Evaluation, chosen_parts, run

    names = [part.strip() for part in only.split(",") if part.strip()]
    chosen_parts(names)  # a slip is told before the model is loaded
    options = parse(EvaluationConfig, override({}, assignments), "--set")
    lm = settings.load(name)
    sampling = {kind: s.model_dump() for kind, s in settings.sampling(lm).items()}
    lm.check_levels(levels)
    lm.info = lm.info.model_copy(update={"sampling": sampling, "levels": levels or lm.info.levels})
    outcomes: list[Outcome] = []

    def tell(outcome: "Outcome") -> None:
        outcomes.append(outcome)
        if outcome.finished is None and (outcome.state == "failed" or not settings.quiet):
            _say(outcome)

    with _bars(settings.quiet) as progress:
        report = run(
            Evaluation(lm, data, out, names, limit, settings.seed, options), progress, tell
        )
    settings.tell(report, _lines(out, outcomes))
    if any(o.state == "failed" for o in outcomes) or all(o.finished is None for o in outcomes):
        context.exit(2)


def _say(outcome: "Outcome") -> None:
    line = "; ".join(text for text in (outcome.reason, outcome.remedy) if text)
    click.echo(f"audiolm: {outcome.part.name} {outcome.state}: {line}", err=True)


@contextmanager
def _bars(quiet: bool) -> "Iterator[Callable[[str, float], None]]":
    """A bar on stderr for each part, where stderr is a terminal."""
    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}

    def show(part: str, share: float) -> None:
        if part not in bars:
            for bar in bars.values():
                bar.close()
            bars[part] = tqdm(total=100, desc=part, disable=quiet or None, file=sys.stderr)
        bars[part].update(round(100 * share) - bars[part].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


def _lines(out: Path, outcomes: "list[Outcome]") -> list[str]:
    """The figures for people."""
    from audiolm.evaluation.report import written

    lines = []
    for outcome in outcomes:
        if outcome.finished is None:
            continue
        when = ", by an earlier run" if outcome.state == "kept" else ""
        seconds = f"{outcome.finished.seconds:.0f} s"
        lines.append(f"{outcome.part.name} ({outcome.part.paper}; took {seconds}{when})")
        for key, figure in outcome.finished.result.metrics.items():
            paper = "" if figure.paper is None else f"   paper {figure.paper:g}"
            lines.append(f"  {key:36} {written(figure)}  n = {figure.count}{paper}")
    return [*lines, f"{out / 'report.html'}: the report"]
