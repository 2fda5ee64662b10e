"""`audiolm continue`: go on from a prompt."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from audiolm.arguments import SECONDS
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
    from audiolm.audio.waveform import Audio
    from audiolm.cli.outputs import Make
    from audiolm.cli.streams import Open
    from audiolm.model import AudioLM
    from audiolm.pipeline import Progress
    from audiolm.safety.provenance import Credentials
    from audiolm.stages import Acoustic, Sampling


@click.command("continue")
@click.argument("prompt", type=click.Path(path_type=Path))
@out_option
@click.option(
    "--seconds", type=float, help="How much to add; as the model has it (speech: 7) unless given."
)
@click.option(
    "--prompt-seconds",
    type=float,
    help="How much of the prompt to use, counted from its end; as the model has it (speech: 3) "
    "unless given.",
)
@samples_option
@click.option("--continuation-only", is_flag=True, help="Leave the prompt out of OUT.")
@click.option(
    "--baseline",
    type=click.Choice(["acoustic-only"]),
    help="Leave the semantic stage out: keeps the voice, loses the content.",
)
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
    prompt: Path,
    out: Path,
    seconds: float | None,
    prompt_seconds: float | None,
    samples: int,
    best_of: int,
    continuation_only: bool,
    baseline: Literal["acoustic-only"] | None,
    levels: int | None,
    acoustic: "Acoustic | None",
    passes: tuple[int, ...] | None,
    no_mark: bool,
    credentials: "Credentials | None",
    stream: bool,
) -> None:
    """Go on from PROMPT, a recording, in its voice and its room.

    OUT holds the prompt as the codec renders it, and SECONDS more. With --stream it is written as
    it is made, and can be played at any moment; with -o - it is a WAV on stdout.
    """
    from audiolm.prompt import check_prompt_seconds, check_seconds

    # What is asked for is checked before a model is looked for, which may lie on the hub.
    asked = SECONDS if seconds is None else seconds
    paths = []
    if is_stream(out, stream):
        check_stream(settings, out, asked, samples, best_of, acoustic, prompt, credentials)
    else:
        paths = output_paths(out, samples, source=prompt)
        check_seconds("seconds", asked)
    if prompt_seconds is not None:
        check_prompt_seconds(prompt_seconds)
    settings.check_sampling()
    seconds, prompt_seconds = settings.lengths(seconds, prompt_seconds)
    length = None if seconds == math.inf else seconds

    def load() -> "tuple[Audio, AudioLM, dict[str, Sampling]]":
        recording = _end_of(prompt, prompt_seconds)
        tell_marks(no_mark, recording, prompt)
        lm = settings.load()
        lm.check_levels(levels)
        lm.check_acoustic(acoustic, passes)
        return recording, lm, settings.sampling(lm)

    def prepare_stream() -> "tuple[AudioLM, Open]":
        recording, lm, sampling = load()
        return lm, lambda: lm.stream(
            recording,
            length,
            prompt_seconds=prompt_seconds,
            seed=settings.seed,
            sampling=sampling,
            levels=levels,
            baseline=baseline,
            continuation_only=continuation_only,
            mark=not no_mark,
        )

    def prepare() -> "tuple[AudioLM, Make]":
        recording, lm, sampling = load()

        def make(seed: int, path: Path, progress: "Progress") -> float:
            audio = lm.continuation(
                recording,
                seconds,
                prompt_seconds=prompt_seconds,
                seed=seed,
                sampling=sampling,
                levels=levels,
                best_of=best_of,
                acoustic=acoustic,
                passes=passes,
                mark=not no_mark,
                baseline=baseline,
                continuation_only=continuation_only,
                progress=progress,
            )
            audio.write(path)
            return audio.seconds

        return lm, make

    if is_stream(out, stream):
        write_stream(settings, out, length, prepare_stream, credentials)
    else:
        make_files(settings, paths, prepare, credentials)


def _end_of(prompt: Path, seconds: float) -> "Audio":
    """As much of a prompt as is used: of an hour, the rest is never decoded."""
    from audiolm.audio.files import info, read_end
    from audiolm.prompt import check_prompt, warn_where_cut

    warn_where_cut(info(prompt).seconds, seconds)
    return check_prompt(read_end(prompt, seconds), str(prompt))
