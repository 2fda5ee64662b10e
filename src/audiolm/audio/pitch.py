"""Pitch of recordings, by a tracker that is not part of this project: swift-f0.

A small network with its weights in its wheel (Nieradzik, 2025); on two CPU cores 200 times as fast
as real time. It is a teacher in training only: what is trained needs no tracker to be used.
"""

import functools
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from audiolm.shapes import SAMPLE_RATE, Lengths, Waveform

VOICED_FROM = 0.5
"""Confidence from which the tracker takes a frame for voiced."""
_MARGIN = 2048
"""Samples of silence on both sides: the tracker's frames reach beyond the ends."""


@functools.cache
def _tracker() -> Any:
    from swift_f0 import SwiftF0

    return SwiftF0(threads=1)


def track_pitch(
    waveform: Waveform, centres: np.ndarray, lengths: Lengths | None = None
) -> Float[torch.Tensor, "B n"]:
    """Pitch in Hz at some samples of each row, 0 where there is no voice.

    Args:
        waveform: (B, T) at 16 kHz in [-1, 1], on any device.
        centres: (n,) at which samples; those beyond the end are unvoiced.
        lengths: samples of each row that are real; all when None.
    """
    rows = waveform.detach().float().cpu().numpy()
    ends = np.full(len(rows), rows.shape[1]) if lengths is None else lengths.cpu().numpy()
    tracks = np.zeros((len(rows), len(centres)), np.float32)
    for track, row, end in zip(tracks, rows, ends, strict=True):
        found = _tracker().detect(np.pad(row[:end], _MARGIN), SAMPLE_RATE)
        at = (centres + _MARGIN) / SAMPLE_RATE  # seconds
        nearest = np.rint(np.interp(at, found.timestamps, np.arange(len(found.timestamps))))
        nearest = nearest.astype(np.int64)
        voiced = (found.confidence[nearest] >= VOICED_FROM) & (centres < end)
        # Between two voiced frames pitch glides; octave slips between them are left as they are.
        glide = np.interp(at, found.timestamps, found.pitch_hz)
        plain = found.pitch_hz[nearest]
        close = np.abs(glide / np.maximum(plain, 1e-3) - 1) < 0.1
        track[:] = np.where(voiced, np.where(close, glide, plain), 0)
    return torch.from_numpy(tracks).to(waveform.device)
