"""`audiolm detect`: whether recordings were made by a model, where, and what their mark says."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiolm.cli.options import THREADS, Settings, common_options, use_threads
from audiolm.errors import AudioError

if TYPE_CHECKING:
    from audiolm.safety.detection import Detection, Stretch


@click.command("detect")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--false-alarms",
    type=float,
    default=0.01,
    show_default=True,
    help="Share of recordings that may be called made, 0.001 to 0.1.",
)
@common_options
@click.pass_context
def command(
    context: click.Context, settings: Settings, files: tuple[str, ...], false_alarms: float
) -> None:
    """Say of each FILE whether MODEL made it, or a part of it, and whether it carries its mark.

    Files may be of any length, rate and number of channels; each channel is looked at. A FILE that
    cannot be read is said on stderr, and the others are answered all the same; the exit status is
    then 2, and 0 otherwise, whatever the verdict.
    """
    from audiolm.detecting import choose_detector, detect_file
    from audiolm.safety.calibration import checked_false_alarms

    checked_false_alarms(false_alarms)
    use_threads(settings.threads or THREADS)
    chosen = choose_detector(settings.model, settings.device)
    answers: list[dict[str, Any]] = []
    lines: list[str] = []
    failed = False
    for name in files:
        try:
            answer = detect_file(Path(name), chosen, false_alarms)
        except AudioError as error:
            click.echo(f"audiolm: {error}", err=True)
            answers.append({"file": name, "error": str(error)})
            failed = True
            continue
        answers.append({"file": name, **asdict(answer)})
        lines += _lines(name, answer)
    report = {"model": settings.model, "false_alarms": false_alarms, "files": answers}
    settings.tell(report, lines)
    if failed:
        context.exit(2)


def _lines(name: str, answer: "Detection") -> list[str]:
    """An answer for people: a line for the file, one for each stretch, one for the mark."""
    facts = [f"{answer.seconds:.2f} s"]
    if answer.probability is not None:
        facts.append(f"probability {answer.probability:.3f}")
    if answer.codec_probability is not None:
        facts.append(f"through the codec {answer.codec_probability:.3f}")
    if len(answer.channels) > 1:
        facts.append(f"channel {answer.channel} of {len(answer.channels)}")
    facts.append(f"at {answer.false_alarms:.1%} false alarms")
    marked = answer.mark is not None and answer.mark.found
    said = f"marked as made; by its sound {answer.verdict}" if marked else answer.verdict
    lines = [f"{name}: {said} ({', '.join(facts)})"]
    if len(answer.timeline) > 1:
        lines += [f"  {_stretch(one)}" for one in answer.timeline]
    if answer.mark is not None:
        lines.append(f"  mark: {_mark(answer)}")
    return lines + ([f"  {answer.note}"] if answer.note else [])


def _stretch(stretch: "Stretch") -> str:
    """`3.12 - 10.00 s  made 0.991`."""
    if stretch.probability is None:
        said = "silence"
    else:
        said = f"{'made' if stretch.made else 'not detected'} {stretch.probability:.3f}"
    return f"{stretch.start:8.2f} - {stretch.end:.2f} s  {said}"


def _mark(answer: "Detection") -> str:
    """What is known of the mark."""
    mark = answer.mark
    assert mark is not None
    if not mark.found:
        return f"none found (p = {mark.p_value:.2g})"
    where = ""
    if mark.start is not None and mark.end is not None:
        where = f", {mark.start:.2f} - {mark.end:.2f} s"
    payload = mark.payload
    says = "" if payload is None else f", model {payload.family}, version {payload.fingerprint}"
    return f"found (p = {mark.p_value:.2g}{where}{says})"
