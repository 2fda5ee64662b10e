"""WAV that is written as it is made, into a file or for a pipe, and can be read however it ends.

The header of a WAV states how much sound follows. In a file it is put right after every block, so
that the file is whole at any moment. In a pipe nothing can be put right: the header states the
largest size there is, as ffmpeg does, and readers go on to the end (libsndfile, and `read` here).
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from io import FileIO
from os import PathLike
from pathlib import Path

import numpy as np

from audiolm.atomic import replacing
from audiolm.audio.blocks import ClippingWarning, to_int16
from audiolm.audio.origin import Origin
from audiolm.audio.wav_header import wav_header
from audiolm.errors import AudioError

_BYTES = 2
"""Of a sample."""


def wav_pieces(
    blocks: Iterable[np.ndarray], sample_rate: int, origin: Origin | None = None
) -> Iterator[bytes]:
    """(n,) float32 blocks as a WAV for a pipe, block by block; the header comes with the first.

    Where the sound comes from is said in the header, if it is told.

    Warns:
        ClippingWarning: at the end, if samples above full scale were clipped.
    """
    before = wav_header(sample_rate, None, origin)
    for block in _clipping_told("the stream", blocks):
        yield before + _pcm(block)
        before = b""


def grow_wav(
    path: str | PathLike[str],
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    origin: Origin | None = None,
) -> int:
    """Write (n,) float32 blocks to a file that is a whole WAV at any moment.

    What had the name before is replaced when the first block is there, whole, and not touched
    until then. However the blocks end, by Ctrl-C or an error too, what came is kept. `origin`,
    where the sound comes from, is said before it.

    Returns:
        How many samples were written.

    Raises:
        AudioError: the file cannot be written, or there are no samples. What `blocks` raises is
            passed on.

    Warns:
        ClippingWarning: if samples above full scale were clipped.
    """
    path = Path(path)
    told = _clipping_told(str(path), blocks)
    first = next(told, None)
    if first is None:
        raise AudioError(f"{path}: there are no samples to write; ask for a longer piece")
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(wav_header(sample_rate, len(first), origin) + _pcm(first))
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be written ({error.strerror}); choose a folder that is there and "
            "writable"
        ) from None
    try:
        with path.open("r+b", buffering=0) as file:
            try:
                file.seek(0, os.SEEK_END)
                for block in told:
                    _write_all(file, _pcm(block))
                    _state_length(file, sample_rate, origin)
            finally:
                samples = _state_length(file, sample_rate, origin)
    except OSError as error:
        raise AudioError(
            f"{path}: cannot be written on ({error.strerror}); what was made until then is in it; "
            "make room"
        ) from None
    return samples


def _write_all(file: FileIO, data: bytes) -> None:
    """Write all of it: a file without a buffer may take a part, where the disk is nearly full."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _state_length(file: FileIO, sample_rate: int, origin: Origin | None) -> int:
    """Put the header right, go to the end again; how many samples are there."""
    before = len(wav_header(sample_rate, 0, origin))
    samples = (file.seek(0, os.SEEK_END) - before) // _BYTES
    end = file.truncate(before + samples * _BYTES)
    file.seek(0)
    file.write(wav_header(sample_rate, samples, origin))
    file.seek(end)
    return samples


def _pcm(block: np.ndarray) -> bytes:
    pcm: bytes = to_int16(block).astype("<i2").tobytes()
    return pcm


def _clipping_told(name: str, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks as they are; at the end a warning if samples were above full scale."""
    above, peak = 0, 0.0
    for block in blocks:
        above += int((np.abs(block) > 1).sum())
        peak = max(peak, float(np.abs(block).max(initial=0.0)))
        yield block
    if above:
        warnings.warn(
            f"{name}: {above} samples above full scale (peak {peak:.3g}) are clipped",
            ClippingWarning,
            stacklevel=3,
        )
