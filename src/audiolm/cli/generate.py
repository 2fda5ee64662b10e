"""`audiolm generate`: something new, without a prompt."""

from pathlib import Path

import click

from audiolm.cli.options import (
    Settings,
    common_options,
    levels_option,
    make_files,
    out_option,
    output_paths,
    samples_option,
)


@click.command("generate")
@out_option
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How much to make.")
@samples_option
@levels_option
@common_options
def command(
    settings: Settings, out: Path, seconds: float, samples: int, levels: int | None
) -> None:
    """Make something new: any voice, any content."""
    paths = output_paths(out, samples)
    lm = settings.load()
    sampling = settings.sampling(lm)
    make_files(
        settings,
        lm,
        paths,
        lambda seed, progress: lm.unconditional(
            seconds, seed=seed, sampling=sampling, levels=levels, progress=progress
        ),
    )
