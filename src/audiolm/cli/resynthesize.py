"""`audiolm resynthesize`: acoustic generation, the same content in another voice."""

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


@click.command("resynthesize")
@click.argument("file", type=click.Path(path_type=Path))
@out_option
@samples_option
@levels_option
@common_options
def command(settings: Settings, file: Path, out: Path, samples: int, levels: int | None) -> None:
    """Say what FILE says in another voice and another room."""
    paths = output_paths(out, samples, source=file)

    from audiolm.audio.files import read

    recording = read(file)
    lm = settings.load()
    sampling = settings.sampling(lm)
    make_files(
        settings,
        lm,
        paths,
        lambda seed, progress: lm.acoustic_generation(
            recording, seed=seed, sampling=sampling, levels=levels, progress=progress
        ),
    )
