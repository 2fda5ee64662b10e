"""What a detector says of each second of a recording, however long that is.

Windows of one second follow each other every quarter of a second. Samples come in blocks, so that
hours take no more memory than seconds, but for two numbers a window (115 kB an hour).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from audiolm.audio.decoding import SILENCE
from audiolm.device import torch_defaults
from audiolm.safety.classifier import CROP, WINDOW_HOP
from audiolm.safety.detector import Detector
from audiolm.shapes import SAMPLE_RATE

AT_ONCE = 16
"""Windows in one batch: more of them do not fit a CPU's cache, and take longer."""
WINDOW_SECONDS = CROP / SAMPLE_RATE
HOP_SECONDS = WINDOW_HOP / SAMPLE_RATE


@dataclass(frozen=True)
class Heard:
    """What was heard of one channel."""

    scores: NDArray[np.float32]
    """(W, 2) log-odds of each window, as the network gives them: made, coded."""
    silent: NDArray[np.bool_]
    """(W,) windows without anything to be heard: their scores mean nothing."""
    seconds: float
    """How long the channel is."""

    @property
    def audible(self) -> float:
        """Seconds in which there was something to be heard; less than a window where there is no
        more."""
        windows = int((~self.silent).sum())
        if not windows:
            return 0.0
        return min(self.seconds, WINDOW_SECONDS + (windows - 1) * HOP_SECONDS)

    def mean(self, question: int) -> float:
        """The mean score of the audible windows, of which there is one at least."""
        return float(self.scores[~self.silent, question].mean(dtype=np.float64))


class WindowScores:
    """Hears one channel, block by block.

    Args:
        detector: on any device, in evaluation mode.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._waiting = np.zeros(0, dtype=np.float32)  # samples from the next window's first on
        self._scores: list[NDArray[np.float32]] = []
        self._silent: list[NDArray[np.bool_]] = []
        self._length = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        """The next samples (n,) at 16 kHz."""
        self._length += len(samples)
        self._waiting = np.concatenate([self._waiting, samples])
        count = max(0, (len(self._waiting) - CROP) // WINDOW_HOP + 1)
        if not count:
            return
        windows = np.lib.stride_tricks.sliding_window_view(self._waiting, CROP)
        self._judge(windows[: count * WINDOW_HOP : WINDOW_HOP])
        self._waiting = self._waiting[count * WINDOW_HOP :].copy()

    def finish(self) -> Heard:
        """What was heard.

        Of less than a second there is one window, which repeats what there is; of longer sound the
        rest behind the last whole window, less than a quarter of a second, is not heard.
        """
        if not self._scores and self._length:
            self._judge(np.resize(self._waiting, (1, CROP)))
        if not self._scores:
            return Heard(np.zeros((0, 2), np.float32), np.zeros(0, np.bool_), 0.0)
        return Heard(
            np.concatenate(self._scores),
            np.concatenate(self._silent),
            self._length / SAMPLE_RATE,
        )

    def _judge(self, windows: NDArray[np.float32]) -> None:
        """Score windows (n, CROP), a bounded number at once."""
        device = self._detector.head.weight.device
        with torch.inference_mode(), torch_defaults(device):
            for first in range(0, len(windows), AT_ONCE):
                some = windows[first : first + AT_ONCE].copy()  # a view of what waits until here
                scores = self._detector(torch.from_numpy(some).to(device))  # (n, 2)
                self._scores.append(scores.cpu().numpy())
                self._silent.append(np.abs(some).max(axis=1) < SILENCE)


def heard(detector: Detector, blocks: Iterable[NDArray[np.float32]]) -> Heard:
    """What a detector says of one channel, (n,) blocks at 16 kHz."""
    scores = WindowScores(detector)
    for block in blocks:
        scores.push(block)
    return scores.finish()
