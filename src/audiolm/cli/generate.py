"""`audiolm generate`: something new, without a prompt."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiolm.cli.options import (
    Settings,
    acoustic_option,
    common_options,
    levels_option,
    out_option,
    passes_option,
    samples_option,
)
from audiolm.cli.outputs import make_files, output_paths

if TYPE_CHECKING:
    from audiolm.cli.outputs import Make
    from audiolm.model import AudioLM
    from audiolm.pipeline import Progress
    from audiolm.stages import Acoustic


@click.command("generate")
@out_option
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How much to make.")
@samples_option
@levels_option
@acoustic_option
@passes_option
@common_options
def command(
    settings: Settings,
    out: Path,
    seconds: float,
    samples: int,
    levels: int | None,
    acoustic: "Acoustic | None",
    passes: tuple[int, ...] | None,
) -> None:
    """Make something new: any voice, any content."""
    paths = output_paths(out, samples)

    from audiolm.prompt import check_seconds

    check_seconds("seconds", seconds)
    settings.check_sampling()

    def prepare() -> "tuple[AudioLM, Make]":
        lm = settings.load()
        lm.check_levels(levels)
        lm.check_acoustic(acoustic, passes)
        sampling = settings.sampling(lm)

        def make(seed: int, path: Path, progress: "Progress") -> float:
            audio = lm.unconditional(
                seconds,
                seed=seed,
                sampling=sampling,
                levels=levels,
                acoustic=acoustic,
                passes=passes,
                progress=progress,
            )
            audio.write(path)
            return audio.seconds

        return lm, make

    make_files(settings, paths, prepare)
