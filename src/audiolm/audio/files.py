"""Recordings on disk: read whatever libsndfile reads, refuse what is broken, write all or nothing.

Everything that comes in is checked here, once: a message names the file, what is wrong with it and
the remedy. libsndfile itself reads the rest of a file that was cut off in the middle without a
word, so lengths are compared with what the file promises.
"""

import math
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import soundfile

from audiolm.atomic import replacing
from audiolm.audio.resample import resample
from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError

READ_SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
    *(".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".rf64"),
)
"""Files that end so are taken for recordings when a folder is searched."""

WRITE_SUFFIXES = (".wav", ".flac")
MIN_RATE, MAX_RATE = 8_000, 192_000

_STREAMED_WAV = 0x7FFF_F000
"""Programs that write WAV into a pipe cannot know its size and state one from here upwards."""

_FILTER_SECONDS = 0.05
"""Sound on both sides of an excerpt that resampling needs to give what resampling all would."""


class SilentAudioWarning(UserWarning):
    """A recording holds nothing but zeros."""


class ClippingWarning(UserWarning):
    """Samples above full scale were clipped to it."""


@dataclass(frozen=True)
class Info:
    """What the header of a recording says."""

    length: int
    """Samples of each channel."""
    sample_rate: int
    """Samples per second."""
    channels: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.length / self.sample_rate


def info(path: str | PathLike[str]) -> Info:
    """Length, sample rate and channels of a recording, from its header.

    Raises:
        AudioError: if it is no recording that can be read, or is empty or cut off.
    """
    path = Path(path)
    with _opened(path) as file:
        return Info(file.frames, file.samplerate, file.channels)


def read(path: str | PathLike[str], sample_rate: int | None = None) -> Audio:
    """Read a recording (WAV, FLAC, MP3, Ogg Vorbis, Opus, ...), channels mixed down to one.

    Args:
        path: the file.
        sample_rate: resample to this; keep the file's own when None.

    Raises:
        AudioError: if the file is missing, is none, is cut off, holds no samples or NaN, or its
            sample rate is outside 8 to 192 kHz.

    Warns:
        SilentAudioWarning: if it holds nothing but zeros.
    """
    path = Path(path)
    with _opened(path) as file:
        rate = file.samplerate
        samples = _decode(path, file, file.frames)  # (T,)
    _warn_where_silent(path, samples)
    if sample_rate is not None:
        samples = resample(samples, rate, sample_rate)
        rate = sample_rate
        if not len(samples):
            raise AudioError(f"{path}: is shorter than one sample at {rate} Hz; record it again")
    return Audio(samples, rate)


def read_excerpt(
    path: str | PathLike[str], start: int, length: int, sample_rate: int | None = None
) -> Audio:
    """Read samples `start` to `start + length` of a recording without decoding what is around.

    Args:
        path: the file.
        start: the first sample, counted at `sample_rate`.
        length: how many samples; fewer come back where the recording ends earlier.
        sample_rate: resample to this; keep the file's own when None.

    Raises:
        AudioError: as `read`, or if `start` lies outside the recording.
    """
    path = Path(path)
    with _opened(path) as file:
        rate = file.samplerate
        wanted = sample_rate or rate
        # The two clocks meet every `step` samples of the file: cut there, so that the samples of
        # an excerpt fall on the same instants as those of the whole recording resampled.
        common = math.gcd(rate, wanted)
        step, wanted_step = rate // common, wanted // common
        margin = 0 if rate == wanted else math.ceil(_FILTER_SECONDS * common)
        first = max(0, start // wanted_step - margin)
        last = -(-(start + length) // wanted_step) + margin
        if not 0 <= start * rate < file.frames * wanted:
            seconds = file.frames / rate
            raise AudioError(
                f"{path}: there is no sample {start} at {wanted} Hz; it lasts {seconds:.2f} s"
            )
        file.seek(first * step)
        samples = _decode(path, file, min(last * step, file.frames) - first * step)
    samples = resample(samples, rate, wanted)
    offset = start - first * wanted_step
    return Audio(np.ascontiguousarray(samples[offset : offset + length]), wanted)


def read_end(path: str | PathLike[str], seconds: float) -> Audio:
    """Read the last seconds of a recording, all of a shorter one, without decoding what is before.

    Args:
        path: the file.
        seconds: how many, above 0.

    Raises:
        AudioError: as `read`.

    Warns:
        SilentAudioWarning: if that end holds nothing but zeros.
    """
    whole = info(path)
    if whole.seconds <= seconds:
        return read(path)
    # A little more is decoded: what Opus and MP3 say first after a jump is not quite what was said.
    start = max(0, whole.length - round((seconds + 0.2) * whole.sample_rate))
    end = read_excerpt(path, start, whole.length - start).last(seconds)
    _warn_where_silent(Path(path), end.samples)
    return end


def write(path: str | PathLike[str], audio: Audio) -> None:
    """Write 16-bit PCM to a .wav or .flac file, which is there whole or not at all.

    Samples above full scale are clipped, never wrapped.

    Raises:
        AudioError: if the name ends otherwise, the folder is missing or cannot be written to, or
            there are no samples.

    Warns:
        ClippingWarning: if samples above full scale were clipped.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITE_SUFFIXES:
        raise AudioError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'}; "
            f"end the name in {' or '.join(WRITE_SUFFIXES)}"
        )
    if not len(audio.samples):
        raise AudioError(f"{path}: there are no samples to write; ask for a longer piece")
    peak = float(np.abs(audio.samples).max())
    if peak > 1:
        above = int((np.abs(audio.samples) > 1).sum())
        warnings.warn(
            f"{path}: {above} samples above full scale (peak {peak:.3g}) are clipped",
            ClippingWarning,
            stacklevel=2,
        )
    kind = path.suffix[1:].upper()
    try:
        with replacing(path) as temporary:
            samples = to_int16(audio.samples)  # (T,)
            soundfile.write(
                _name(temporary), samples, audio.sample_rate, format=kind, subtype="PCM_16"
            )
    except (OSError, soundfile.SoundFileError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioError(
            f"{path}: cannot be written ({reason}); choose a folder that is there and writable"
        ) from None


def to_int16(samples: np.ndarray) -> np.ndarray:
    """(T,) float32 to int16 of the same full scale, clipped; 16-bit files come back bit by bit."""
    scaled = np.rint(samples * np.float32(32768))
    return np.clip(scaled, -32768, 32767).astype(np.int16)


def from_int16(samples: np.ndarray) -> np.ndarray:
    """(T,) int16 to float32 in [-1, 1), the inverse of `to_int16`."""
    return samples.astype(np.float32) / np.float32(32768)


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """The file opened by libsndfile, its header checked."""
    try:
        size = path.stat().st_size
        if path.is_dir():
            raise AudioError(f"{path}: is a folder; name one recording")
        if size == 0:
            raise AudioError(f"{path}: is an empty file; copy or record it again")
        _refuse_cut_off_wav(path, size)
    except FileNotFoundError:
        raise AudioError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror}); check the path") from None
    try:
        file = soundfile.SoundFile(_name(path))
    except soundfile.SoundFileError as error:
        reason = str(error).rsplit(": ", 1)[-1].strip().rstrip(".") or "unknown format"
        raise AudioError(
            f"{path}: is no recording that can be read ({reason}); convert it to WAV or FLAC"
        ) from None
    with file:
        if file.frames <= 0:
            raise AudioError(f"{path}: holds no samples; record or convert it again")
        if not MIN_RATE <= file.samplerate <= MAX_RATE:
            raise AudioError(
                f"{path}: its sample rate, {file.samplerate} Hz, is outside "
                f"{MIN_RATE} to {MAX_RATE} Hz; resample it"
            )
        yield file


def _name(path: Path) -> str | bytes:
    """A name as soundfile takes it: on its own it cannot encode those that are no UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _warn_where_silent(path: Path, samples: np.ndarray) -> None:
    if not samples.any():
        warnings.warn(f"{path}: there is only silence in it", SilentAudioWarning, stacklevel=3)


def _decode(path: Path, file: soundfile.SoundFile, length: int) -> np.ndarray:
    """The next `length` samples as (T,) float32, channels averaged."""
    try:
        channels = file.read(length, dtype="float32", always_2d=True)  # (T, channels)
    except soundfile.SoundFileError as error:
        reason = str(error).rsplit(": ", 1)[-1].strip().rstrip(".")
        raise AudioError(
            f"{path}: is damaged or cut off ({reason}); copy or convert it again"
        ) from None
    if len(channels) < length:
        raise AudioError(
            f"{path}: is cut off: {len(channels)} of {length} samples could be decoded; "
            "copy or convert it again"
        )
    samples = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds NaN or infinite samples; convert it again")
    return np.ascontiguousarray(samples)


def _refuse_cut_off_wav(path: Path, size: int) -> None:
    """Compare what a WAV header promises with what the file holds; other formats pass."""
    with path.open("rb") as file:
        form, _, kind = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
        if form not in (b"RIFF", b"RF64") or kind != b"WAVE":
            return
        long_size = None  # RF64 states the size of the data in a chunk of its own
        while len(header := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", header)
            if name == b"data":
                break
            if name == b"ds64":
                long_size = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
                length -= 16
            file.seek(length + length % 2, os.SEEK_CUR)
        else:
            raise AudioError(f"{path}: is cut off before its first sample; copy it again")
        present = size - file.tell()
    if length == 0xFFFF_FFFF and long_size is not None:
        length = long_size
    elif length >= _STREAMED_WAV:
        return
    if length == 0 and present > 0:
        raise AudioError(
            f"{path}: its header was never finished (0 bytes of sound, but {present} follow); "
            "repair it, for example with sox --ignore-length"
        )
    if length > present:
        raise AudioError(
            f"{path}: is cut off: {present} of {length} bytes of sound are there; copy it again"
        )
