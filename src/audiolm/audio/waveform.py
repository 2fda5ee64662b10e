"""`Audio`: one mono recording in memory, the value that users hand in and get back."""

import warnings
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from audiolm.audio.origin import Origin
from audiolm.audio.resample import resample
from audiolm.errors import AudioError

MAX_RATE = 10_000_000
"""Samples per second: more than any recorder takes."""

LOUDEST = 8.0
"""Samples beyond this (18 dB above full scale) are no sound of full scale [-1, 1]."""

FULL_SCALES = (1 << 15, 1 << 23, 1 << 31)
"""Full scale of whole numbers of 16, 24 and 32 bits."""


class ScaleWarning(UserWarning):
    """Samples are so large that they must be of another full scale than [-1, 1]."""


@dataclass(frozen=True, eq=False)
class Audio:
    """A mono recording.

    Arrays that PyTorch cannot take as they are (turned round, of every other sample, read-only, of
    another byte order) are copied; a whole sample rate of any type becomes an int.

    Raises:
        AudioError: if the samples are not one-dimensional, float32 and finite, or the rate is not
            a positive whole number.

    Warns:
        ScaleWarning: if the samples are those of 16-bit numbers that nobody has divided.
    """

    samples: np.ndarray
    """(T,) float32, full scale is [-1, 1]."""
    sample_rate: int
    """Samples per second."""
    origin: Origin | None = None
    """By which model it was made, and how; None of recordings. Files say so, too."""

    def __post_init__(self) -> None:
        samples = self.samples
        kind = getattr(samples, "dtype", type(samples).__name__)
        if isinstance(samples, np.ndarray) and samples.dtype.kind in "iu":
            scale = 1 << max(1, 8 * samples.dtype.itemsize - 1)
            raise AudioError(
                f"samples: need a NumPy array of float32, got {kind}; divide by the full scale of "
                f"whole numbers, for {kind} samples.astype(np.float32) / {scale}"
            )
        if not isinstance(samples, np.ndarray) or samples.dtype.newbyteorder("=") != np.float32:
            raise AudioError(
                f"samples: need a NumPy array of float32, got {kind}; "
                "convert with np.asarray(samples, dtype=np.float32), full scale [-1, 1]"
            )
        if samples.ndim != 1:
            raise AudioError(
                f"samples: need one dimension (T,), got shape {samples.shape}; "
                "mix the channels down and pass one recording at a time"
            )
        if not np.isfinite(samples).all():
            raise AudioError("samples: there are NaN or infinite values; replace them first")
        # An array that PyTorch can share memory with: in order, native, writable.
        usable = np.require(np.asarray(samples), np.float32, ["C", "W"])
        object.__setattr__(self, "samples", usable)
        object.__setattr__(self, "sample_rate", checked_rate(self.sample_rate))
        if (fault := too_large(usable)) is not None:
            warnings.warn(fault, ScaleWarning, stacklevel=3)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.sample_rate

    def resampled(self, sample_rate: int) -> "Audio":
        """The same sound at another sample rate."""
        samples = resample(self.samples, self.sample_rate, sample_rate)  # (T',)
        return Audio(samples, sample_rate, self.origin)

    def first(self, seconds: float) -> "Audio":
        """The first `seconds` of it, or all of it where it is shorter."""
        return Audio(self.samples[: self._count(seconds)], self.sample_rate, self.origin)

    def last(self, seconds: float) -> "Audio":
        """The last `seconds` of it, or all of it where it is shorter."""
        start = max(0, len(self.samples) - self._count(seconds))
        return Audio(self.samples[start:], self.sample_rate, self.origin)

    def write(self, path: str | PathLike[str]) -> None:
        """Write it as 16-bit .wav or .flac; see `audiolm.audio.files.write`."""
        # Files know about Audio, so that Audio can only look for them when it is asked to write.
        from audiolm.audio.files import write

        write(path, self)

    def _count(self, seconds: float) -> int:
        if not seconds >= 0:
            raise AudioError(f"seconds: need a length of 0 or more, got {seconds}")
        return round(min(seconds, self.seconds) * self.sample_rate)


def checked_rate(sample_rate: object) -> int:
    """A sample rate as an int, whatever type of number it has.

    Raises:
        AudioError: if it is no positive whole number (True and NaN are none).
    """
    number: Any = sample_rate.item() if isinstance(sample_rate, np.generic) else sample_rate
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if is_number and 0 < number <= MAX_RATE and number == int(number):  # NaN is not above 0
        return int(number)
    raise AudioError(
        "sample_rate: need a whole number of samples per second, from 1 to "
        f"{MAX_RATE}, got {sample_rate!r}"
    )


def too_large(samples: np.ndarray) -> str | None:
    """What is wrong with samples that must be of another full scale; None of all others."""
    peak = float(np.abs(samples).max()) if len(samples) else 0.0
    if peak <= LOUDEST:
        return None
    scale = next((scale for scale in FULL_SCALES if peak <= 2 * scale), FULL_SCALES[-1])
    return (
        f"samples reach {peak:.6g}, where full scale is 1; if they are numbers of "
        f"{scale.bit_length()} bits, divide them by {scale}"
    )
