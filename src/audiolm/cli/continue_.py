"""`audiolm continue`: go on from a prompt."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

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
    from audiolm.audio.waveform import Audio
    from audiolm.cli.outputs import Make
    from audiolm.model import AudioLM
    from audiolm.pipeline import Progress
    from audiolm.stages import Acoustic


@click.command("continue")
@click.argument("prompt", type=click.Path(path_type=Path))
@out_option
@click.option("--seconds", type=float, default=7.0, show_default=True, help="How much to add.")
@click.option(
    "--prompt-seconds",
    type=float,
    default=3.0,
    show_default=True,
    help="How much of the prompt to use, counted from its end.",
)
@samples_option
@click.option("--continuation-only", is_flag=True, help="Leave the prompt out of OUT.")
@click.option(
    "--baseline",
    type=click.Choice(["acoustic-only"]),
    help="Leave the semantic stage out: keeps the voice, loses the content.",
)
@levels_option
@acoustic_option
@passes_option
@common_options
def command(
    settings: Settings,
    prompt: Path,
    out: Path,
    seconds: float,
    prompt_seconds: float,
    samples: int,
    continuation_only: bool,
    baseline: Literal["acoustic-only"] | None,
    levels: int | None,
    acoustic: "Acoustic | None",
    passes: tuple[int, ...] | None,
) -> None:
    """Go on from PROMPT, a recording, in its voice and its room.

    OUT holds the prompt as the codec renders it, and SECONDS more.
    """
    paths = output_paths(out, samples, source=prompt)

    from audiolm.prompt import check_prompt_seconds, check_seconds

    check_seconds("seconds", seconds)
    check_prompt_seconds(prompt_seconds)
    settings.check_sampling()

    def prepare() -> "tuple[AudioLM, Make]":
        recording = _end_of(prompt, prompt_seconds)
        lm = settings.load()
        lm.check_levels(levels)
        lm.check_acoustic(acoustic, passes)
        sampling = settings.sampling(lm)

        def make(seed: int, path: Path, progress: "Progress") -> float:
            audio = lm.continuation(
                recording,
                seconds,
                prompt_seconds=prompt_seconds,
                seed=seed,
                sampling=sampling,
                levels=levels,
                acoustic=acoustic,
                passes=passes,
                baseline=baseline,
                continuation_only=continuation_only,
                progress=progress,
            )
            audio.write(path)
            return audio.seconds

        return lm, make

    make_files(settings, paths, prepare)


def _end_of(prompt: Path, seconds: float) -> "Audio":
    """As much of a prompt as is used: of an hour, the rest is never decoded."""
    from audiolm.audio.files import info, read_end
    from audiolm.prompt import check_prompt, warn_where_cut

    warn_where_cut(info(prompt).seconds, seconds)
    return check_prompt(read_end(prompt, seconds), str(prompt))
