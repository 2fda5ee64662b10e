"""`audiolm generate`: something new, without a prompt."""

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
from audiolm.cli.streams import check_stream, is_stream, stream_option, write_stream

if TYPE_CHECKING:
    from audiolm.cli.outputs import Make
    from audiolm.cli.streams import Open
    from audiolm.model import AudioLM
    from audiolm.pipeline import Progress
    from audiolm.safety.provenance import Credentials
    from audiolm.stages import Acoustic


@click.command("generate")
@out_option
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How much to make.")
@samples_option
@best_of_option
@levels_option
@acoustic_option
@passes_option
@no_mark_option
@signing_options
@stream_option
@common_options
def command(
    settings: Settings,
    out: Path,
    seconds: float,
    samples: int,
    best_of: int,
    levels: int | None,
    acoustic: "Acoustic | None",
    passes: tuple[int, ...] | None,
    no_mark: bool,
    credentials: "Credentials | None",
    stream: bool,
) -> None:
    """Make something new: any voice, any content.

    With --stream OUT is written as it is made, and can be played at any moment; with -o - it is a
    WAV on stdout.
    """
    from audiolm.prompt import check_seconds

    length: float | None = seconds
    paths = []
    if is_stream(out, stream):
        length = check_stream(
            settings, out, seconds, samples, best_of, acoustic, credentials=credentials
        )
    else:
        paths = output_paths(out, samples)
        check_seconds("seconds", seconds)
    settings.check_sampling()

    def prepare_stream() -> "tuple[AudioLM, Open]":
        lm = settings.load()
        lm.check_levels(levels)
        sampling = settings.sampling(lm)
        tell_marks(no_mark)
        return lm, lambda: lm.stream(
            None, length, seed=settings.seed, sampling=sampling, levels=levels, mark=not no_mark
        )

    def prepare() -> "tuple[AudioLM, Make]":
        lm = settings.load()
        lm.check_levels(levels)
        lm.check_acoustic(acoustic, passes)
        sampling = settings.sampling(lm)
        tell_marks(no_mark)

        def make(seed: int, path: Path, progress: "Progress") -> float:
            audio = lm.unconditional(
                seconds,
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

    if is_stream(out, stream):
        write_stream(settings, out, length, prepare_stream, credentials)
    else:
        make_files(settings, paths, prepare, credentials)
