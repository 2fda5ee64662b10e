"""`Audio`: one mono recording in memory, the value that users hand in and get back."""

from dataclasses import dataclass
from os import PathLike

import numpy as np

from audiolm.audio.resample import resample
from audiolm.errors import AudioError


@dataclass(frozen=True, eq=False)
class Audio:
    """A mono recording.

    Raises:
        AudioError: if the samples are not one-dimensional, float32 and finite, or the rate is not
            a positive whole number.
    """

    samples: np.ndarray
    """(T,) float32, full scale is [-1, 1]."""
    sample_rate: int
    """Samples per second."""

    def __post_init__(self) -> None:
        samples = self.samples
        if not isinstance(samples, np.ndarray) or samples.dtype != np.float32:
            kind = getattr(samples, "dtype", type(samples).__name__)
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
        if self.sample_rate != int(self.sample_rate) or self.sample_rate <= 0:
            raise AudioError(
                f"sample_rate: need a whole number of samples per second, got {self.sample_rate}"
            )

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.sample_rate

    def resampled(self, sample_rate: int) -> "Audio":
        """The same sound at another sample rate."""
        samples = resample(self.samples, self.sample_rate, sample_rate)  # (T',)
        return Audio(samples, sample_rate)

    def first(self, seconds: float) -> "Audio":
        """The first `seconds` of it, or all of it where it is shorter."""
        return Audio(self.samples[: self._count(seconds)], self.sample_rate)

    def last(self, seconds: float) -> "Audio":
        """The last `seconds` of it, or all of it where it is shorter."""
        start = max(0, len(self.samples) - self._count(seconds))
        return Audio(self.samples[start:], self.sample_rate)

    def write(self, path: str | PathLike[str]) -> None:
        """Write it as 16-bit .wav or .flac; see `audiolm.audio.files.write`."""
        # Files know about Audio, so that Audio can only look for them when it is asked to write.
        from audiolm.audio.files import write

        write(path, self)

    def _count(self, seconds: float) -> int:
        if not seconds >= 0:
            raise AudioError(f"seconds: need a length of 0 or more, got {seconds}")
        return round(min(seconds, self.seconds) * self.sample_rate)
