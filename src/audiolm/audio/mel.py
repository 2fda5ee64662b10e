"""Log-mel spectrograms: what the semantic tokenizer and the classifiers see of a waveform.

One frame per 10 ms. Frame i looks at the `window` samples centred on the middle of its own hop,
i * hop - (window - hop) / 2 up to i * hop + (window + hop) / 2, with zeros before the beginning
and after the end. So four frames are exactly one semantic step, no frame is lost at either end,
and zeros appended to a recording change none of the frames of its real samples.
"""

import math
from typing import Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.configuration import Configuration
from audiolm.shapes import SAMPLE_RATE, Waveform


class MelConfig(Configuration):
    """A log-mel spectrogram. The scaling constants were measured on 16 kHz read speech."""

    sample_rate: int = Field(default=SAMPLE_RATE, gt=0)
    """Samples per second of the waveform."""
    window: int = Field(default=400, gt=0)
    """Samples in one frame's Hann window."""
    hop: int = Field(default=160, gt=0)
    """Samples from one frame to the next."""
    bins: int = Field(default=80, gt=0)
    """Mel bins."""
    fmin: float = Field(default=20.0, ge=0)
    """Lower edge of the lowest filter, in Hz."""
    fmax: float = Field(default=7600.0, gt=0)
    """Upper edge of the highest filter, in Hz."""
    floor: float = Field(default=1e-5, gt=0)
    """Power below which nothing is told apart. Near the noise of speech codecs, so that silence
    that was stored as zeros and silence that was stored as hiss look alike."""
    mean: float = -5.2
    """Subtracted from every log power."""
    std: float = Field(default=3.9, gt=0)
    """Divides the log power after the mean is taken off."""

    @model_validator(mode="after")
    def _band_exists(self) -> Self:
        if not self.fmin < self.fmax <= self.sample_rate / 2:
            raise ValueError(
                f"fmin {self.fmin}, fmax {self.fmax}: choose 0 <= fmin < fmax <= sample_rate / 2"
            )
        if self.window < self.hop or (self.window - self.hop) % 2:
            raise ValueError("window - hop must be even and not negative; change window")
        return self

    @property
    def fft_size(self) -> int:
        """The power of two that holds a window."""
        return 1 << (self.window - 1).bit_length()


class LogMel(nn.Module):
    """Waveform (B, T) to scaled log-mel frames (B, ceil(T / hop), bins), always in float32."""

    def __init__(self, config: MelConfig | None = None) -> None:
        super().__init__()
        self.config = config or MelConfig()
        self.register_buffer("window", torch.hann_window(self.config.window), persistent=False)
        self.register_buffer("filters", mel_filters(self.config), persistent=False)
        self.window: Tensor  # (window,)
        self.filters: Tensor  # (fft_size / 2 + 1, bins)

    def forward(self, waveform: Waveform) -> Float[Tensor, "B frames bins"]:
        """Scaled log power (B, ceil(T / hop), bins), about zero mean and unit variance."""
        config = self.config
        frames = math.ceil(waveform.shape[1] / config.hop)
        before = (config.window - config.hop) // 2
        after = (frames - 1) * config.hop + config.window - before - waveform.shape[1]
        with torch.autocast(waveform.device.type, enabled=False):
            padded = F.pad(waveform.float(), (before, after))
            windows = padded.unfold(1, config.window, config.hop)  # (B, frames, window)
            windows = windows * self.window
            spectrum = torch.fft.rfft(windows, config.fft_size)  # (B, frames, fft_size / 2 + 1)
            power = spectrum.real.square() + spectrum.imag.square()
            mel: Tensor = (power @ self.filters).clamp(min=config.floor)  # (B, frames, bins)
            return mel.log().sub(config.mean).div(config.std)


def mel_filters(config: MelConfig) -> Float[Tensor, "frequencies bins"]:
    """Triangular filters (fft_size / 2 + 1, bins), evenly spaced on the HTK mel scale.

    Each filter rises from 0 at its left neighbour's centre to 1 at its own and falls to 0 at its
    right neighbour's. A filter narrower than the FFT's resolution takes the nearest FFT bin, so no
    mel bin is ever dead.
    """
    low, high = (2595 * math.log10(1 + f / 700) for f in (config.fmin, config.fmax))
    mels = torch.linspace(low, high, config.bins + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mels / 2595) - 1)  # (bins + 2,) in Hz
    bin_width = config.sample_rate / config.fft_size
    grid = torch.arange(config.fft_size // 2 + 1, dtype=torch.float64)[:, None] * bin_width
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (grid - left) / (centre - left), (right - grid) / (right - centre)
    filters = torch.minimum(rising, falling).clamp(min=0)  # (fft_size / 2 + 1, bins)
    nearest = (grid - centre).abs() < bin_width / 2
    empty = filters.sum(dim=0) == 0
    return torch.where(empty & nearest, torch.ones_like(filters), filters).float()
