"""`audiolm reconstruct`: a recording through the codec and back."""

from pathlib import Path

import click

from audiolm.cli.options import Settings, common_options, make_files, out_option, output_paths


@click.command("reconstruct")
@click.argument("file", type=click.Path(path_type=Path))
@out_option
@click.option("--levels", type=int, help="How many quantizer levels to use; all unless given.")
@common_options
def command(settings: Settings, file: Path, out: Path, levels: int | None) -> None:
    """Encode FILE with the codec and decode it again."""
    paths = output_paths(out, source=file)

    from audiolm.audio.files import read

    recording = read(file)
    lm = settings.load()
    make_files(settings, lm, paths, lambda seed, progress: lm.reconstruction(recording, levels))
