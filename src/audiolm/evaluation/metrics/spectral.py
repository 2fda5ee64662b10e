"""Distance of spectra: how far a reconstruction's mel spectrogram is from its recording's.

Definition: the mean absolute distance of log-mel spectra at six resolutions, as the codec's own
reconstruction loss has it; 0 is equal.

Convention: what was made and then the recording, which begin together; compared at 16 kHz, over
the samples that both have.
"""

from functools import cache

import torch

from audiolm.audio.waveform import Audio
from audiolm.codec.losses import MelLoss, MelLossConfig
from audiolm.evaluation.metrics.quality import paired, validate

UNITS = {"mel_distance": ""}
"""Metrics that `evaluate` returns."""


def mel_distance(made: Audio, real: Audio) -> float:
    """Distance of mel spectra at six resolutions, as the codec's loss has it; 0 is equal."""
    a, b = (torch.from_numpy(x)[None].float() for x in paired(made, real))  # (1, T)
    with torch.inference_mode():
        return float(_mel_loss()(a, b))


@cache
def _mel_loss() -> MelLoss:
    return MelLoss(MelLossConfig())


def evaluate(made: Audio, real: Audio) -> dict[str, float | None]:
    """All metrics of `UNITS`, by name."""
    validate(made, real)
    return {"mel_distance": mel_distance(made, real)}
