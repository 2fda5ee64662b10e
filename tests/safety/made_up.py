"""A detector that hears something simple, for tests of what stands around it.

Noise is "made", a tone is not; what is quieter than -30 dB of full scale "has been through the
codec". A score is +3 or -3, whatever the weights.
"""

import numpy as np
import torch

from audiolm.audio.waveform import Audio
from audiolm.safety.calibration import FALSE_ALARMS, Calibration
from audiolm.safety.detector import Detector, DetectorConfig

CALIBRATION = Calibration(
    seconds=1.0,
    scale=1.0,
    offset=0.0,
    negatives=1000,
    thresholds=tuple(np.linspace(0.0, 2.0, len(FALSE_ALARMS)).tolist()),
)
CONFIG = DetectorConfig(
    channels=(2,), model="noisy", made=(CALIBRATION,), codec=(CALIBRATION,), speakers=()
)


def hears_noise(self: Detector, waveform: torch.Tensor) -> torch.Tensor:
    """In place of `Detector.forward`: (B, T) to (B, 2)."""
    changes = (waveform[:, 1:].sign() != waveform[:, :-1].sign()).float().mean(1)
    quiet = waveform.square().mean(1).sqrt() < 0.03
    return torch.stack([60 * (changes - 0.25).clamp(-0.05, 0.05), 6 * quiet.float() - 3], dim=1)


def tone(seconds: float, sample_rate: int = 16_000, level: float = 0.3) -> np.ndarray:
    """A recording: (T,) of 440 Hz."""
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (level * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def hiss(seconds: float, sample_rate: int = 16_000, level: float = 0.2) -> np.ndarray:
    """Made sound: (T,) of noise."""
    draw = np.random.default_rng(7)
    return (level * draw.standard_normal(round(seconds * sample_rate))).astype(np.float32)


def audio(*pieces: np.ndarray) -> Audio:
    """Pieces one after the other."""
    return Audio(np.concatenate(pieces), 16_000)
