"""Recordings on disk: read whatever libsndfile reads, refuse what is broken, write all or nothing.

Everything that comes in is checked, once: a message names the file, what is wrong with it and the
remedy. Lengths are those that are there (`audio.containers`), samples are looked at as they are
decoded (`audio.decoding`); `audio.blocks` has the same for recordings that are too long for memory.
"""

import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from audiolm.audio.blocks import (
    WRITE_SUFFIXES,
    ClippingWarning,
    from_int16,
    to_int16,
    write_blocks,
)
from audiolm.audio.decoding import (
    CancellingChannelsWarning,
    Decoder,
    SilentAudioWarning,
    decoder_of_all,
    recording,
    warn_where_silent,
)
from audiolm.audio.resample import resample
from audiolm.audio.waveform import Audio, checked_rate
from audiolm.errors import AudioError

__all__ = [
    "READ_SUFFIXES",
    "WRITE_SUFFIXES",
    "CancellingChannelsWarning",
    "ClippingWarning",
    "Info",
    "SilentAudioWarning",
    "from_int16",
    "info",
    "read",
    "read_end",
    "read_excerpt",
    "to_int16",
    "write",
]

READ_SUFFIXES = (
    *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
    *(".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".rf64"),
)
"""Files that end so are taken for recordings when a folder is searched."""

_FILTER_SECONDS = 0.05
"""Sound on both sides of an excerpt that resampling needs to give what resampling all would."""


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
    with recording(Path(path)) as (file, length):
        return Info(length, file.samplerate, file.channels)


def read(path: str | PathLike[str], sample_rate: int | None = None) -> Audio:
    """Read a recording (WAV, FLAC, MP3, Ogg Vorbis, Opus, ...), channels mixed down to one.

    Args:
        path: the file.
        sample_rate: resample to this; keep the file's own when None.

    Raises:
        AudioError: if the file is missing, is none, is cut off, holds no samples, NaN, or samples
            of another full scale than [-1, 1], its sample rate is outside 8 to 192 kHz, or
            `sample_rate` is none.

    Warns:
        SilentAudioWarning: if there is nothing to be heard in it.
        CancellingChannelsWarning: if its channels are in opposite phase.
    """
    path = Path(path)
    wanted = None if sample_rate is None else checked_rate(sample_rate)
    with recording(path) as (file, length):
        rate = file.samplerate
        decoder = decoder_of_all(path, file, length)
        samples = np.concatenate(list(decoder.blocks()))  # (T,)
    decoder.warn_where_cancelled()
    warn_where_silent(path, decoder.peak)
    if wanted is not None:
        samples = resample(samples, rate, wanted)
        rate = wanted
        if not len(samples):
            raise AudioError(f"{path}: is shorter than one sample at {rate} Hz; record it again")
    return Audio(samples, rate)


def read_excerpt(
    path: str | PathLike[str], start: int, length: int, sample_rate: int | None = None
) -> Audio:
    """Read samples `start` to `start + length` of a recording without decoding what is around.

    Codings that can only be read from the beginning are.

    Args:
        path: the file.
        start: the first sample, counted at `sample_rate`.
        length: how many samples; fewer come back where the recording ends earlier.
        sample_rate: resample to this; keep the file's own when None.

    Raises:
        AudioError: as `read`, or if `start` lies outside the recording.
    """
    path = Path(path)
    asked = None if sample_rate is None else checked_rate(sample_rate)
    with recording(path) as (file, whole):
        rate = file.samplerate
        wanted = rate if asked is None else asked
        # The two clocks meet every `step` samples of the file: cut there, so that the samples of
        # an excerpt fall on the same instants as those of the whole recording resampled.
        common = math.gcd(rate, wanted)
        step, wanted_step = rate // common, wanted // common
        margin = 0 if rate == wanted else math.ceil(_FILTER_SECONDS * common)
        first = max(0, start // wanted_step - margin)
        last = -(-(start + length) // wanted_step) + margin
        if not 0 <= start * rate < whole * wanted:
            seconds = whole / rate
            raise AudioError(
                f"{path}: there is no sample {start} at {wanted} Hz; it lasts {seconds:.2f} s"
            )
        end = min(last * step, whole)
        decoder = Decoder(path, file, first * step, end - first * step)
        samples = np.concatenate(list(decoder.blocks()))
    samples = resample(samples, rate, wanted)
    offset = start - first * wanted_step
    return Audio(np.ascontiguousarray(samples[offset : offset + length]), wanted)


def read_end(path: str | PathLike[str], seconds: float) -> Audio:
    """Read the last seconds of a recording, all of a shorter one, without decoding what is before.

    MP3 is read from the beginning: after a jump its decoder complains on stderr, and its first
    samples are not quite what was said. So are codings that cannot be read from the middle.

    Args:
        path: the file.
        seconds: how many, above 0.

    Raises:
        AudioError: as `read`.

    Warns:
        SilentAudioWarning, CancellingChannelsWarning: as `read`, of that end alone.
    """
    path = Path(path)
    with recording(path) as (file, length):
        rate = file.samplerate
        # A little more is decoded: what Opus says first after a jump is not quite what was said.
        more = min(length, round(min(seconds + 0.2, length / rate) * rate))
        decoder = Decoder(path, file, length - more, more)
        samples = np.concatenate(list(decoder.blocks(jump=file.format != "MP3")))
    end = Audio(samples, rate).last(seconds)
    decoder.warn_where_cancelled()
    warn_where_silent(path, float(np.abs(end.samples).max(initial=0.0)))
    return end


def write(path: str | PathLike[str], audio: Audio) -> None:
    """Write 16-bit PCM to a .wav or .flac file, which is there whole or not at all.

    Samples above full scale are clipped, never wrapped. Where the sound says that a model has made
    it (`Audio.origin`), the container does so, too.

    Raises:
        AudioError: if the name ends otherwise, the folder is missing or cannot be written to, or
            there are no samples.

    Warns:
        ClippingWarning: if samples above full scale were clipped.
    """
    write_blocks(path, [audio.samples], audio.sample_rate, stacklevel=3, origin=audio.origin)
