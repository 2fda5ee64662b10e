"""`--stream` and `-o -`: OUT is written as it is made.

OUT grows in place and is a whole WAV at any moment, so it is never left half written: what had its
name before is replaced when the first chunk is there, and Ctrl-C leaves what was made. `-` is
stdout, where nothing else is written. A reader that goes away ends the stream quietly.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiolm.cli.options import THREADS, Settings, use_threads
from audiolm.cli.outputs import held_warnings, output_paths, signed
from audiolm.errors import AudioError, ConfigurationError

if TYPE_CHECKING:
    import numpy as np

    from audiolm.audio.waveform import Audio
    from audiolm.model import AudioLM
    from audiolm.safety.provenance import Credentials
    from audiolm.stages import Acoustic

    Open = Callable[[], Generator[Audio, None, None]]
    """Opens the stream."""

STDOUT = Path("-")

stream_option = click.option(
    "--stream",
    is_flag=True,
    help="Write OUT, a .wav, as it is made; with --seconds inf until Ctrl-C.",
)


def is_stream(out: Path, stream: bool) -> bool:
    """Whether OUT is written as it is made."""
    return stream or out == STDOUT


def check_stream(
    settings: Settings,
    out: Path,
    seconds: float,
    samples: int,
    best_of: int,
    acoustic: "Acoustic | None" = None,
    source: Path | None = None,
    credentials: "Credentials | None" = None,
) -> float | None:
    """Refuse what cannot be streamed, before any work is done.

    Returns:
        How many seconds are asked for, None for no end.

    Raises:
        AudioError: OUT is no WAV, or could not be written.
        ConfigurationError: more than one recording or draw is asked for, or two things want stdout.
    """
    from audiolm.prompt import check_seconds

    if samples > 1:
        raise ConfigurationError(
            f"--samples {samples}: a stream is one recording; leave --stream or --samples out"
        )
    if best_of > 1:
        raise ConfigurationError(
            f"--best-of {best_of}: what was heard cannot be drawn again; leave --stream or "
            "--best-of out"
        )
    if acoustic == "parallel":
        raise ConfigurationError(
            "--acoustic parallel: makes all frames at once, a stream one after the other; leave "
            "--stream or --acoustic out"
        )
    if out != STDOUT:
        output_paths(out, source=source)
        if out.suffix.lower() != ".wav":
            raise AudioError(
                f"{out}: is written as it is made, which only WAV can be; name it .wav"
            )
    elif credentials is not None:
        raise ConfigurationError(
            "--certificate: what goes to stdout cannot be signed; name a file, or leave it out"
        )
    elif settings.as_json:
        raise ConfigurationError("--json: stdout has the sound; name a file, or leave --json out")
    elif sys.stdout.isatty():
        raise ConfigurationError(
            "-o -: stdout is a terminal; send it to a program, for example | ffplay -"
        )
    return None if seconds == math.inf else check_seconds("seconds", seconds)


def write_stream(
    settings: Settings,
    out: Path,
    seconds: float | None,
    prepare: "Callable[[], tuple[AudioLM, Open]]",
    credentials: "Credentials | None" = None,
) -> None:
    """Make one recording, write it as it is made, and report it.

    Args:
        settings: what the options say.
        out: the file, or `STDOUT`; checked by `check_stream`.
        seconds: how much is to be made, for the bar; None for no end.
        prepare: reads and loads what is needed; returns the model, and what opens the stream.
        credentials: what the file is signed with when it is done (not after Ctrl-C); not at all
            when None.
    """
    from audiolm.audio.growing_wav import grow_wav, wav_pieces
    from audiolm.shapes import SAMPLE_RATE

    with held_warnings() as say_warnings:
        if settings.threads is None:
            use_threads(THREADS)
        lm, open_stream = prepare()
        started = time.perf_counter()
        first_chunk = 0.0
        samples = 0

        def blocks(chunks: "Iterator[Audio]") -> "Iterator[np.ndarray]":
            nonlocal first_chunk, samples
            with settings.progress() as progress:
                for chunk in chunks:
                    first_chunk = first_chunk or time.perf_counter() - started
                    say_warnings()
                    samples += len(chunk.samples)
                    if seconds is not None:
                        length = round(seconds * SAMPLE_RATE)
                        progress("stream", min(samples, length), length)
                    yield chunk.samples

        with closing(open_stream()) as chunks:
            first = list(islice(chunks, 1))  # says where the sound comes from, before any of it
            origin = first[0].origin if first else None
            sound = blocks(chain(first, chunks))
            if out != STDOUT:
                grow_wav(out, sound, SAMPLE_RATE, origin)
                signed(out, credentials)
            elif not _written_to_stdout(wav_pieces(sound, SAMPLE_RATE, origin)):
                return
    took = time.perf_counter() - started
    made = {
        "file": str(out),
        "seconds": samples / SAMPLE_RATE,
        "seed": settings.seed,
        "took": took,
        "first_chunk": first_chunk,
    }
    report = {
        "model": lm.name,
        "fingerprint": lm.fingerprint,
        "device": str(lm.device),
        "outputs": [made],
    }
    line = (
        f"{out}: {samples / SAMPLE_RATE:.2f} s, seed {settings.seed}, took {took:.1f} s, "
        f"the first sound after {first_chunk:.2f} s"
    )
    if out != STDOUT:
        settings.tell(report, [line])
    elif not settings.quiet:
        click.echo(line, err=True)


def _written_to_stdout(pieces: Iterator[bytes]) -> bool:
    """Write each piece at once; whether the reader stayed to the end."""
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Let what Python still wants to write there when it ends go nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return False
    return True
