"""`audiolm train`: from a folder of recordings to a model of your own."""

import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from audiolm.cli.options import use_threads


class Minutes(click.FloatRange):
    """A time that ends: "nan" and "inf" are numbers to Python, too, and would train for ever."""

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> float:
        """The number of minutes."""
        minutes = float(super().convert(value, parameter, context))
        if not math.isfinite(minutes):
            self.fail(f"{value} is not a time; give a number above 0", parameter, context)
        return minutes


@click.command("train")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model folder.")
@click.option("--preset", "preset_name", default="small", show_default=True, help="Name or file.")
@click.option("--minutes", type=Minutes(min=0, min_open=True), help="Time in all.")
@click.option("--only", default="", metavar="PART,...", help="Only these steps of the recipe.")
@click.option(
    "--from",
    "start",
    metavar="MODEL",
    help="Start from a model's weights; parts that no step makes are copied.",
)
@click.option("--restart", is_flag=True, help="Begin these steps anew; the old state is renamed.")
@click.option("--validation", metavar="FOLDER", help="Recordings to judge by, not trained on.")
@click.option("--tokens", metavar="TOKENS", help="What audiolm tokenize made of FOLDER.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="A setting.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--seed", type=click.IntRange(0), help="Seed of everything random.")
@click.option("--quiet", is_flag=True, help="No progress, no notes.")
@click.option("--json", "as_json", is_flag=True, help="A summary as one JSON object on stdout.")
def train(
    folder: Path,
    out: Path,
    preset_name: str,
    minutes: float | None,
    only: str,
    start: str | None,
    restart: bool,
    validation: str | None,
    tokens: str | None,
    assignments: tuple[str, ...],
    device: str,
    threads: int | None,
    seed: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a model on the recordings in FOLDER.

    Every step can be interrupted; the same command goes on from its last checkpoint.
    """
    from audiolm.pretrained import choose_device, find
    from audiolm.training.preset import load_preset
    from audiolm.training.recipe import TrainingRequest, train_model

    if threads:
        use_threads(threads)
    settings = list(assignments)
    if seed is not None:
        settings.append(f"seed={seed}")
    if validation:
        settings.append(f"data.validation={json.dumps(validation)}")
    if tokens:
        settings.append(f"training.tokens.store={json.dumps(tokens)}")
    request = TrainingRequest(
        folder=folder,
        out=out,
        preset=load_preset(preset_name, settings),
        minutes=minutes,
        only=[name.strip() for name in only.split(",") if name.strip()],
        start=find(start) if start else None,
        restart=restart,
        device=choose_device(device),
        quiet=quiet,
    )
    speaks = os.environ.get("RANK", "0") == "0"  # one of torchrun's processes, for all
    try:
        summary = train_model(request)
    except KeyboardInterrupt:
        if not speaks:
            raise
        arguments = [word for word in sys.argv[1:] if word != "--restart"]
        click.echo(f"audiolm: to go on: {shlex.join(['audiolm', *arguments])}", err=True)
        raise
    if not speaks:
        return
    if as_json:
        click.echo(json.dumps(summary))
    elif not quiet:
        click.echo(_what_now(out, summary["lacks"]))


def _what_now(out: Path, lacks: Sequence[str]) -> str:
    """What the user can do with what was trained."""
    if lacks:
        return (
            f"{out}: trained; before it can be heard it needs {', '.join(lacks)}, "
            "which the same command without --only makes"
        )
    return f"{out}: trained; hear it with: audiolm continue PROMPT -o OUT --model {out}"
