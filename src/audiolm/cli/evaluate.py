"""`audiolm evaluate`: the paper's tables by one command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiolm.cli.options import Settings, best_of_option, common_options, levels_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from audiolm.evaluation.halves import Speakers
    from audiolm.evaluation.run import ExperimentOutcome


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
    help="Folder for report.json, report.html and what is made for them.",
)
@click.option(
    "--only",
    default="",
    metavar="NAME,...",
    help="Only these: abx, reconstruction, voicing, content, speaker, probes, continuation, "
    "stream, edit, detection, watermark, listening, notes, music, next_segment.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many items in each experiment.")
@click.option(
    "--speakers",
    type=click.Choice(["all", "choose", "report"]),
    default="all",
    show_default=True,
    help="Whose recordings: `choose` is half of the speakers, to choose settings by; `report` is "
    "the other half, to be measured only for what is published. Who is in which half depends on "
    "the speaker's name alone.",
)
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting.")
@best_of_option
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
    speakers: "Speakers",
    assignments: tuple[str, ...],
    best_of: int,
    levels: int | None,
) -> None:
    """Measure MODEL as the paper does, and write a report.

    The same command goes on where it was stopped: experiments that are finished are not made again.
    """
    from audiolm.configuration import override, parse
    from audiolm.evaluation.options import EvaluationConfig
    from audiolm.evaluation.run import Evaluation, chosen_experiments, run

    names = [name.strip() for name in only.split(",") if name.strip()]
    chosen_experiments(names)  # a slip is told before the model is loaded
    options = parse(EvaluationConfig, override({}, assignments), "--set")
    if not options.detection.detector:  # whoever evaluates a model means its own detector
        own = options.detection.model_copy(update={"detector": name or settings.model})
        options = options.model_copy(update={"detection": own})
    lm = settings.load(name)
    sampling = {kind: s.model_dump() for kind, s in settings.sampling(lm).items()}
    lm.check_levels(levels)
    lm.info = lm.info.model_copy(update={"sampling": sampling, "levels": levels or lm.info.levels})
    outcomes: list[ExperimentOutcome] = []

    def tell(outcome: "ExperimentOutcome") -> None:
        outcomes.append(outcome)
        if outcome.finished is None and (outcome.state != "skipped" or not settings.quiet):
            _say(outcome)

    with _bars(settings.quiet) as progress:
        report = run(
            Evaluation(lm, data, out, names, limit, settings.seed, options, speakers, best_of),
            progress,
            tell,
        )
    settings.tell(report, _lines(out, outcomes))
    if any(o.state == "broken" for o in outcomes):
        context.exit(1)
    if any(o.state == "failed" for o in outcomes) or all(o.finished is None for o in outcomes):
        context.exit(2)


def _say(outcome: "ExperimentOutcome") -> None:
    line = "; ".join(text for text in (outcome.reason, outcome.remedy) if text)
    click.echo(f"audiolm: {outcome.experiment.name} {outcome.state}: {line}", err=True)


@contextmanager
def _bars(quiet: bool) -> "Iterator[Callable[[str, float], None]]":
    """A bar on stderr for each experiment, where stderr is a terminal."""
    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}

    def show(name: str, share: float) -> None:
        if name not in bars:
            for bar in bars.values():
                bar.close()
            bars[name] = tqdm(total=100, desc=name, disable=quiet or None, file=sys.stderr)
        bars[name].update(round(100 * share) - bars[name].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


def _lines(out: Path, outcomes: "list[ExperimentOutcome]") -> list[str]:
    """The metrics for people."""
    from audiolm.evaluation.report.page import written

    lines = []
    for outcome in outcomes:
        if outcome.finished is None:
            continue
        when = ", by an earlier run" if outcome.state == "kept" else ""
        seconds = f"{outcome.finished.seconds:.0f} s"
        lines.append(
            f"{outcome.experiment.name} ({outcome.experiment.paper}; took {seconds}{when})"
        )
        for key, metric in outcome.finished.result.metrics.items():
            paper = "" if metric.paper is None else f"   paper {metric.paper:g}"
            lines.append(f"  {key:36} {written(metric)}  n = {metric.count}{paper}")
    return [*lines, f"{out / 'report.html'}: the report"]
