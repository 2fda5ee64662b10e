"""From an open file to samples of one channel, block by block, with what is wrong with them.

One way for all who read: `audio.files` puts the blocks together, `audio.blocks` hands them on.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from stat import S_ISDIR, S_ISREG

import numpy as np
import soundfile

from audiolm.audio.containers.flac import refuse_joined
from audiolm.audio.containers.opening import ForwardFile, opened
from audiolm.audio.containers.remarks import without_remarks
from audiolm.audio.waveform import too_large
from audiolm.errors import AudioError

MIN_RATE, MAX_RATE = 8_000, 192_000

SILENCE = 1e-4
"""A recording whose peak lies below this (-80 dB) holds nothing that can be heard."""

BLOCK = 1 << 18
"""Samples that are decoded at once."""

_CANCELLED = 0.25
"""Channels whose mean has less than this share of their own level cancel each other."""


class SilentAudioWarning(UserWarning):
    """A recording holds nothing that can be heard."""


class CancellingChannelsWarning(UserWarning):
    """The channels of a recording are in opposite phase: mixed down, little is left of them."""


@contextmanager
def recording(path: Path) -> Iterator[tuple[ForwardFile, int]]:
    """The file opened by libsndfile, its header checked, and its samples of each channel.

    Raises:
        AudioError: if it is missing, is no recording, is cut off or empty, or its rate is odd.
    """
    try:
        status = path.stat()
        if S_ISDIR(status.st_mode):
            raise AudioError(f"{path}: is a folder; name one recording")
        if not S_ISREG(status.st_mode):
            raise AudioError(f"{path}: is a pipe or device; save the sound in a file first")
        if status.st_size == 0:
            raise AudioError(f"{path}: is an empty file; copy or record it again")
        with opened(path) as (file, length):
            if length <= 0:
                raise AudioError(f"{path}: holds no samples; record or convert it again")
            if not MIN_RATE <= file.samplerate <= MAX_RATE:
                raise AudioError(
                    f"{path}: its sample rate, {file.samplerate} Hz, is outside "
                    f"{MIN_RATE} to {MAX_RATE} Hz; resample it"
                )
            yield file, length
    except FileNotFoundError:
        raise AudioError(f"{path}: there is no such file; check the path") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror}); check the path") from None
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise AudioError(f"{str(path)!r}: is no name of a file; check the path") from None


def decoder_of_all(path: Path, file: ForwardFile, length: int) -> "Decoder":
    """For all of a recording, once it is sure that no other is joined to it.

    Raises:
        AudioError: another is.
    """
    if file.format == "FLAC":
        refuse_joined(path)
    return Decoder(path, file, 0, length)


def warn_where_silent(path: Path, peak: float, stacklevel: int = 2) -> None:
    """Say that a recording whose samples reach `peak` cannot be heard, where that is so."""
    if peak < SILENCE:
        warnings.warn(
            f"{path}: there is only silence in it", SilentAudioWarning, stacklevel=stacklevel + 1
        )


class Decoder:
    """Reads samples `first` to `first + length` of an open file, channels averaged.

    What is heard on the way is kept: `peak`, and the energy before and after mixing.
    """

    def __init__(self, path: Path, file: ForwardFile, first: int, length: int) -> None:
        self.path, self.file = path, file
        self.first, self.length = first, length
        self.peak = 0.0
        self._energy, self._channel_energy = 0.0, 0.0

    def blocks(self, jump: bool = True) -> Iterator[np.ndarray]:
        """The samples, (n,) float32 each, full scale [-1, 1], channels averaged.

        Args and Raises: as `channel_blocks`.
        """
        for channels in self.channel_blocks(jump):
            yield self._mixed(channels)

    def channel_blocks(self, jump: bool = True) -> Iterator[np.ndarray]:
        """The samples of each channel, (n, channels) float32, full scale [-1, 1].

        Args:
            jump: go to the first sample at once, where the coding can, not through what is before.

        Raises:
            AudioError: it is damaged or cut off, or holds NaN or samples of another scale.
        """
        skipped = 0
        if jump and self.first and self.file.can_jump():
            with self._damage():
                self.file.seek(self.first)
        else:
            while skipped < self.first:
                skipped += len(self._read(min(BLOCK, self.first - skipped), skipped))
        done = 0
        while done < self.length:
            channels = self._read(min(BLOCK, self.length - done), self.first + done)
            done += len(channels)
            self._check(channels)
            yield channels

    def warn_where_cancelled(self, stacklevel: int = 2) -> None:
        """Say where the channels that were read cancel each other; see `warnings.warn`."""
        if self._energy < _CANCELLED**2 * self._channel_energy:
            warnings.warn(
                f"{self.path}: its {self.file.channels} channels are in opposite phase and cancel "
                "when mixed down; turn one round, or keep one alone",
                CancellingChannelsWarning,
                stacklevel=stacklevel + 1,
            )

    def _read(self, length: int, done: int) -> np.ndarray:
        """The next `length` samples of all channels (length, channels)."""
        with self._damage():
            channels: np.ndarray = self.file.read(length, dtype="float32", always_2d=True)
        if len(channels) < length:
            raise AudioError(
                f"{self.path}: is cut off: {done + len(channels)} of {self.first + self.length} "
                "samples could be decoded; copy or convert it again"
            )
        return channels

    def _check(self, channels: np.ndarray) -> None:
        """Refuse samples (n, channels) that are no numbers, or of another full scale."""
        peak = float(np.abs(channels).max())
        if not np.isfinite(peak):
            raise AudioError(f"{self.path}: holds NaN or infinite samples; convert it again")
        if (fault := too_large(channels)) is not None:
            raise AudioError(f"{self.path}: its {fault} and write it again")

    def _mixed(self, channels: np.ndarray) -> np.ndarray:
        """(n, channels) to (n,), looked at."""
        samples: np.ndarray = channels[:, 0] if channels.shape[1] == 1 else channels.mean(axis=1)
        if channels.shape[1] > 1:
            self._energy += float(np.square(samples, dtype=np.float64).sum())
            self._channel_energy += float(np.square(channels, dtype=np.float64).mean(axis=1).sum())
        self.peak = max(self.peak, float(np.abs(samples).max()))
        return np.ascontiguousarray(samples)

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """What libsndfile cannot read is damaged or cut off."""
        try:
            with without_remarks() if self.file.format == "MP3" else nullcontext():
                yield
        except soundfile.SoundFileError as error:
            reason = str(error).rsplit(": ", 1)[-1].strip().rstrip(".")
            raise AudioError(
                f"{self.path}: is damaged or cut off ({reason}); copy or convert it again"
            ) from None
