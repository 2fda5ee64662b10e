"""`audiolm resynthesize`: acoustic generation, the same content in another voice."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiolm.cli.options import (
    Settings,
    acoustic_option,
    best_of_option,
    common_options,
    levels_option,
    no_mark_option,
    out_option,
    passes_option,
    samples_option,
    signing_options,
)
from audiolm.cli.outputs import make_files, output_paths, tell_marks

if TYPE_CHECKING:
    from audiolm.cli.outputs import Make
    from audiolm.model import AudioLM
    from audiolm.pipeline import Progress
    from audiolm.safety.provenance import Credentials
    from audiolm.stages import Acoustic


@click.command("resynthesize")
@click.argument("file", type=click.Path(path_type=Path))
@out_option
@samples_option
@best_of_option
@levels_option
@acoustic_option
@passes_option
@no_mark_option
@signing_options
@common_options
def command(
    settings: Settings,
    file: Path,
    out: Path,
    samples: int,
    best_of: int,
    levels: int | None,
    acoustic: "Acoustic | None",
    passes: tuple[int, ...] | None,
    no_mark: bool,
    credentials: "Credentials | None",
) -> None:
    """Say what FILE says in another voice and another room."""
    paths = output_paths(out, samples, source=file)
    settings.check_sampling()

    def prepare() -> "tuple[AudioLM, Make]":
        from audiolm.audio.files import read
        from audiolm.shapes import SAMPLE_RATE

        recording = read(file, SAMPLE_RATE)
        tell_marks(no_mark, recording, file)
        lm = settings.load()
        lm.check_levels(levels)
        lm.check_acoustic(acoustic, passes)
        sampling = settings.sampling(lm)

        def make(seed: int, path: Path, progress: "Progress") -> float:
            audio = lm.acoustic_generation(
                recording,
                seed=seed,
                sampling=sampling,
                levels=levels,
                best_of=best_of,
                acoustic=acoustic,
                passes=passes,
                mark=not no_mark,
                progress=progress,
            )
            audio.write(path)
            return audio.seconds

        return lm, make

    make_files(settings, paths, prepare, credentials)
