"""The opponents of a codec in training: networks that tell recordings from reconstructions.

Two families, as in SoundStream: complex short-time spectra at several window lengths, and the
waveform itself at several rates.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor, nn

from audiolm.configuration import Configuration
from audiolm.shapes import Waveform

_SLOPE = 0.2
"""Of the leaky rectifiers."""
_QUIET = 1e-6
"""Power below which a spectrum is no longer raised: it bounds the gradient in silence."""


class DiscriminatorConfig(Configuration):
    """Settings of the discriminators."""

    windows: tuple[int, ...] = (2048, 1024, 512, 256, 128)
    """Windows of the spectral discriminators, in samples; each hops by a quarter of itself."""
    spectral_width: int = Field(default=32, gt=0)
    """Channels of the spectral discriminators."""
    scales: int = Field(default=3, ge=0)
    """Waveform discriminators: one at the full rate, each next at half the rate; 0 for none."""
    waveform_width: int = Field(default=16, gt=0, multiple_of=4)
    """Channels of the waveform discriminators' first layer; fourfold after every stride."""
    waveform_width_limit: int = Field(default=1024, ge=4)
    """Most channels of any of their layers."""

    @field_validator("windows")
    @classmethod
    def _even_quarters(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if any(window < 16 or window % 4 for window in windows):
            raise ValueError("give multiples of 4 from 16 on")
        return windows


class DiscriminatorOutput(NamedTuple):
    """What one discriminator says of a waveform."""

    logits: Tensor
    """Above 0 for a recording, below for a reconstruction; one per patch, (B, 1, ...)."""
    features: list[Tensor]
    """The activations of its hidden layers."""


class Discriminators(nn.Module):
    """All discriminators as one network."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.spectral = nn.ModuleList(
            SpectralDiscriminator(window, config.spectral_width) for window in config.windows
        )
        self.waveform = nn.ModuleList(
            WaveformDiscriminator(config.waveform_width, config.waveform_width_limit)
            for _ in range(config.scales)
        )

    def forward(self, waveform: Waveform) -> list[DiscriminatorOutput]:
        """What each discriminator says of a waveform (B, T)."""
        outputs = [discriminator(waveform) for discriminator in self.spectral]
        x = waveform[:, None]  # (B, 1, T)
        for discriminator in self.waveform:
            outputs.append(discriminator(x[:, 0]))
            x = F.avg_pool1d(x, 4, stride=2, padding=2, count_include_pad=False)
        return outputs


class SpectralDiscriminator(nn.Module):
    """Two-dimensional convolutions over a complex spectrum, real and imaginary part as channels.

    Magnitudes are compressed: what lies between the harmonics of a voice, 40 dB below them, tells a
    recording from a reconstruction, and would otherwise not be seen for a long time.

    Args:
        window: length of the Hann window, in samples.
        width: channels.
    """

    hann: Tensor

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.window = window
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        layers = [nn.Conv2d(2, width, (3, 9), padding=(1, 4))]  # kernels: (time, frequency)
        for dilation in (1, 2, 4):
            layers.append(
                nn.Conv2d(
                    width, width, (3, 9), (1, 2), padding=(dilation, 4), dilation=(dilation, 1)
                )
            )
        layers.append(nn.Conv2d(width, width, (3, 3), padding=(1, 1)))
        self.layers = nn.ModuleList(layers)
        self.out = nn.Conv2d(width, 1, (3, 3), padding=(1, 1))

    def forward(self, waveform: Waveform) -> DiscriminatorOutput:
        """A waveform (B, T) to logits (B, 1, frames, bins / 8)."""
        x = self.spectrum(waveform)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            features.append(x)
        return DiscriminatorOutput(self.out(x), features)

    def spectrum(self, waveform: Waveform) -> Float[Tensor, "B 2 frames bins"]:
        """X |X|^-0.7 as real and imaginary part, float32; X of white noise has one level whatever
        the window."""
        with torch.autocast(waveform.device.type, enabled=False):
            samples = F.pad(waveform.float(), (self.window // 2, self.window // 2))
            frames = samples.unfold(1, self.window, self.window // 4)  # (B, frames, window)
            spectrum = torch.fft.rfft(frames * self.hann, norm="ortho")  # (B, frames, bins)
            parts = torch.stack([spectrum.real, spectrum.imag], dim=1)
            power = parts.square().sum(dim=1, keepdim=True)
            compressed: Tensor = parts * (power + _QUIET) ** -0.35
            return compressed


class WaveformDiscriminator(nn.Module):
    """Strided, grouped convolutions over the waveform (MelGAN's, at one rate).

    Args:
        width: channels of the first layer; every stride of 4 makes them four times as many.
        limit: the most channels of any layer.
    """

    def __init__(self, width: int, limit: int) -> None:
        super().__init__()
        layers = [nn.Conv1d(1, width, 15, padding=7)]
        channels = width
        for _ in range(4):
            out = min(4 * channels, limit)
            groups = math.gcd(channels // 4, out)  # four channels to a group where that divides
            layers.append(nn.Conv1d(channels, out, 41, stride=4, padding=20, groups=groups))
            channels = out
        layers.append(nn.Conv1d(channels, channels, 5, padding=2))
        self.layers = nn.ModuleList(layers)
        self.out = nn.Conv1d(channels, 1, 3, padding=1)

    def forward(self, waveform: Waveform) -> DiscriminatorOutput:
        """A waveform (B, T) to logits (B, 1, T / 256)."""
        x = waveform[:, None]  # (B, 1, T)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), _SLOPE)
            features.append(x)
        return DiscriminatorOutput(self.out(x), features)
