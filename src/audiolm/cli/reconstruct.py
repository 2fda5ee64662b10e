"""`audiolm reconstruct`: a recording through the codec and back, of any length."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiolm.cli.options import Settings, common_options, out_option
from audiolm.cli.outputs import make_files, output_paths

if TYPE_CHECKING:
    import numpy as np

    from audiolm.cli.outputs import Make
    from audiolm.model import AudioLM
    from audiolm.pipeline import Progress


@click.command("reconstruct")
@click.argument("file", type=click.Path(path_type=Path))
@out_option
@click.option("--levels", type=int, help="How many quantizer levels to use; all unless given.")
@common_options
def command(settings: Settings, file: Path, out: Path, levels: int | None) -> None:
    """Encode FILE with the codec and decode it again.

    FILE is read, coded and written a few seconds at a time: an hour takes as much memory as a
    minute.
    """
    paths = output_paths(out, source=file)

    def prepare() -> "tuple[AudioLM, Make]":
        from audiolm.audio.blocks import read_blocks, write_blocks
        from audiolm.audio.files import info
        from audiolm.codec.chunks import reconstruct_chunks
        from audiolm.shapes import SAMPLE_RATE

        length = round(info(file).seconds * SAMPLE_RATE)
        lm = settings.load()
        lm.check_levels(levels)

        def make(seed: int, path: Path, progress: "Progress") -> float:
            def chunks() -> "Iterator[np.ndarray]":
                done = 0
                for chunk in reconstruct_chunks(lm.codec, read_blocks(file, SAMPLE_RATE), levels):
                    done += len(chunk)
                    progress("codec", done, length)
                    yield chunk

            return write_blocks(path, chunks(), SAMPLE_RATE) / SAMPLE_RATE

        return lm, make

    make_files(settings, paths, prepare)
