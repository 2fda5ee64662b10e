"""Band-limited resampling, with one quality for the whole package."""

import numpy as np
import soxr

QUALITY = "VHQ"
"""soxr's preset whose errors lie below what 16-bit samples can show."""


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample (T,) float32 from one rate to another: (round(T * to_rate / from_rate),) float32.

    Peaks may rise a little above those of the input; nothing is clipped here.
    """
    if from_rate == to_rate:
        return samples
    resampled = soxr.resample(samples, from_rate, to_rate, quality=QUALITY)  # (T',)
    return np.ascontiguousarray(resampled, dtype=np.float32)
