"""Long recordings on disk, read and written block by block: as little memory for an hour as for
a minute.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import soundfile

from audiolm.atomic import replacing
from audiolm.audio.containers.opening import file_name
from audiolm.audio.decoding import decoder_of_all, recording, warn_where_silent
from audiolm.audio.origin import Origin
from audiolm.audio.resample import resample_blocks
from audiolm.audio.wav_header import wav_header
from audiolm.audio.waveform import checked_rate
from audiolm.errors import AudioError

WRITE_SUFFIXES = (".wav", ".flac")

_WAV_BYTES = 0xFFFF_FFFF - 4096
"""What the 32 bits of a WAV header can count, the header itself left out."""


class ClippingWarning(UserWarning):
    """Samples above full scale were clipped to it."""


def read_blocks(path: str | PathLike[str], sample_rate: int | None = None) -> Iterator[np.ndarray]:
    """Read a recording as `read` does, a few seconds at a time.

    Args:
        path: the file.
        sample_rate: resample to this; keep the file's own when None.

    Returns:
        (n,) float32 blocks of any lengths above 0, together the samples of `read(path,
        sample_rate)` (resampled ones to within 1e-6 of full scale).

    Raises:
        AudioError: as `read`, some of it only when the block in question is reached.

    Warns:
        SilentAudioWarning, CancellingChannelsWarning: as `read`, after the last block.
    """
    path = Path(path)
    wanted = None if sample_rate is None else checked_rate(sample_rate)
    with recording(path) as (file, length):
        rate = file.samplerate
        decoder = decoder_of_all(path, file, length)
        total = 0
        for block in resample_blocks(decoder.blocks(), rate, wanted or rate):
            total += len(block)
            if len(block):
                yield block
    decoder.warn_where_cancelled()
    warn_where_silent(path, decoder.peak)
    if not total:
        raise AudioError(f"{path}: is shorter than one sample at {wanted} Hz; record it again")


def read_channel_blocks(
    path: str | PathLike[str], sample_rate: int | None = None
) -> Iterator[np.ndarray]:
    """Read a recording a few seconds at a time, every channel of it by itself.

    Args:
        path: the file.
        sample_rate: resample to this; keep the file's own when None.

    Returns:
        (n, channels) float32 blocks of any lengths above 0; their mean over the channels is what
        `read_blocks` gives.

    Raises:
        AudioError: as `read_blocks`.
    """
    path = Path(path)
    wanted = None if sample_rate is None else checked_rate(sample_rate)
    with recording(path) as (file, length):
        rate, channels = file.samplerate, file.channels
        decoder = decoder_of_all(path, file, length)
        total = 0
        for block in resample_blocks(decoder.channel_blocks(), rate, wanted or rate, channels):
            total += len(block)
            if len(block):
                yield block
    if not total:
        raise AudioError(f"{path}: is shorter than one sample at {wanted} Hz; record it again")


def write_blocks(
    path: str | PathLike[str],
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    stacklevel: int = 2,
    origin: Origin | None = None,
) -> int:
    """Write (n,) float32 blocks as one file of 16-bit PCM, which is there whole or not at all.

    Samples above full scale are clipped, never wrapped.

    Args:
        path: the file; its name ends in .wav or .flac.
        blocks: together the samples.
        sample_rate: samples per second.
        stacklevel: whom a warning is said to come from, counted from here: 2 is the caller.
        origin: where the sound comes from; it is said in the container (WAV: LIST INFO and bext,
            FLAC: comments).

    Returns:
        How many samples were written.

    Raises:
        AudioError: if the name ends otherwise, the folder is missing or cannot be written to, or
            there are no samples. What `blocks` raises is passed on.

    Warns:
        ClippingWarning: if samples above full scale were clipped.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITE_SUFFIXES:
        raise AudioError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'}; "
            f"end the name in {' or '.join(WRITE_SUFFIXES)}"
        )
    kind = path.suffix[1:].upper()
    total = above = 0
    peak = 0.0
    try:
        with replacing(path) as temporary:
            with _sink(temporary, kind, sample_rate, origin) as write:
                for block in blocks:
                    total += len(block)
                    if kind == "WAV" and 2 * total > _WAV_BYTES:
                        raise AudioError(f"{path}: is too long for WAV; name it .flac")
                    above += int((np.abs(block) > 1).sum())
                    peak = max(peak, float(np.abs(block).max(initial=0.0)))
                    write(to_int16(block))
            if not total:
                raise AudioError(f"{path}: there are no samples to write; ask for a longer piece")
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or str(error).rsplit(": ", 1)[-1].strip()
        raise AudioError(
            f"{path}: cannot be written ({reason}); choose a folder that is there and writable"
        ) from None
    if above:
        warnings.warn(
            f"{path}: {above} samples above full scale (peak {peak:.3g}) are clipped",
            ClippingWarning,
            stacklevel=stacklevel,
        )
    return total


@contextmanager
def _sink(
    path: Path, kind: str, sample_rate: int, origin: Origin | None
) -> Iterator[Callable[[np.ndarray], object]]:
    """What writes (n,) int16 into a new file of this kind."""
    if kind == "WAV":
        samples = 0

        def write(block: np.ndarray) -> None:
            nonlocal samples
            samples += len(block)
            wav.write(block.astype("<i2").tobytes())

        with path.open("wb") as wav:
            wav.write(wav_header(sample_rate, 0, origin))
            yield write
            wav.seek(0)
            wav.write(wav_header(sample_rate, samples, origin))
        return
    with soundfile.SoundFile(file_name(path), "w", sample_rate, 1, "PCM_16", format=kind) as file:
        if origin is not None:
            file.title, file.software = origin.sentence, origin.software
            file.date, file.comment = origin.made, origin.to_comment()
        yield file.write


def to_int16(samples: np.ndarray) -> np.ndarray:
    """(T,) float32 to int16 of the same full scale, clipped; 16-bit files come back bit by bit."""
    scaled = np.rint(samples * np.float32(32768))
    return np.clip(scaled, -32768, 32767).astype(np.int16)


def from_int16(samples: np.ndarray) -> np.ndarray:
    """(T,) int16 to float32 in [-1, 1), the inverse of `to_int16`."""
    return samples.astype(np.float32) / np.float32(32768)
