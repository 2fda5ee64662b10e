"""Band-limited resampling, with one quality for the whole package."""

from collections.abc import Iterable, Iterator

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


def resample_blocks(
    blocks: Iterable[np.ndarray], from_rate: int, to_rate: int, channels: int | None = None
) -> Iterator[np.ndarray]:
    """Resample (n,) float32 blocks of one recording: together what `resample` makes of it all.

    Equal to within 1e-6 of full scale, and to the sample in length; some blocks may be empty. With
    a number of `channels` blocks are (n, channels), each channel resampled by itself.
    """
    if from_rate == to_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(
        from_rate, to_rate, channels or 1, dtype="float32", quality=QUALITY
    )
    # soxr takes a single channel as (n,) and gives it back so.
    shape = (-1,) if channels is None else (-1, channels)
    taken = (-1,) if channels in (None, 1) else (-1, channels)
    for block in blocks:
        yield stream.resample_chunk(block.reshape(taken)).reshape(shape)
    last = stream.resample_chunk(np.zeros(0, dtype=np.float32).reshape(taken), last=True)
    yield last.reshape(shape)
