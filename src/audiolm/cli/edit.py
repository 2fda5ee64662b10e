"""`audiolm edit`: what stands between two points of a recording is said anew."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiolm.arguments import MOST_DRAWS
from audiolm.cli.options import (
    Settings,
    common_options,
    levels_option,
    out_option,
    passes_option,
    samples_option,
)
from audiolm.cli.outputs import make_files, output_paths

if TYPE_CHECKING:
    from audiolm.audio.waveform import Audio
    from audiolm.cli.outputs import Make
    from audiolm.model import AudioLM
    from audiolm.pipeline import Progress


@click.command("edit")
@click.argument("file", type=click.Path(path_type=Path))
@out_option
@click.option("--start", type=float, required=True, help="Where the gap begins, in seconds.")
@click.option("--end", type=float, required=True, help="Where it ends.")
@click.option(
    "--seconds", type=float, help="How long the new inside is; as long as the gap unless given."
)
@click.option(
    "--keep-content", is_flag=True, help="Keep what is said, and make only its sound anew."
)
@samples_option
@click.option(
    "--best-of",
    type=click.IntRange(1, MOST_DRAWS),
    default=4,
    show_default=True,
    help="How many insides to draw; the one that leads best to what follows is kept.",
)
@levels_option
@passes_option
@common_options
def command(
    settings: Settings,
    file: Path,
    out: Path,
    start: float,
    end: float,
    seconds: float | None,
    keep_content: bool,
    samples: int,
    best_of: int,
    levels: int | None,
    passes: tuple[int, ...] | None,
) -> None:
    """Say anew what stands between two points of FILE, in its voice.

    OUT has FILE's sample rate, and outside the gap and 25 ms on either side of it, FILE's own
    samples, as 16-bit numbers. FILE has one channel.
    """
    from audiolm.editing import check_stages, checked_gap

    paths = output_paths(out, samples, source=file)
    settings.check_sampling()

    def prepare() -> "tuple[AudioLM, Make]":
        recording = _mono(file)
        gap = checked_gap(recording, start, end, seconds, keep_content)
        lm = settings.load()
        lm.check_levels(levels)
        check_stages(lm.stages, recording, gap, keep_content)
        lm.check_acoustic("parallel", passes)
        sampling = settings.sampling(lm)

        def make(seed: int, path: Path, progress: "Progress") -> float:
            audio = lm.edit(
                recording,
                start,
                end,
                seconds,
                keep_content=keep_content,
                seed=seed,
                sampling=sampling,
                levels=levels,
                best_of=best_of,
                passes=passes,
                progress=progress,
            )
            audio.write(path)
            return audio.seconds

        return lm, make

    make_files(settings, paths, prepare)


def _mono(file: Path) -> "Audio":
    """A recording of one channel, at its own sample rate.

    Raises:
        AudioError: it has more channels, or cannot be read.
    """
    from audiolm.audio.files import info, read
    from audiolm.errors import AudioError

    channels = info(file).channels
    if channels > 1:
        raise AudioError(
            f"{file}: has {channels} channels, an edit keeps the samples of one; mix it down "
            "first, or edit a channel"
        )
    return read(file)
