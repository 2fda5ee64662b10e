"""What a codec is trained on: spectra and samples that match, and discriminators that are fooled.

All of it in float32, also under autocast: differences of log-spectra do not survive bfloat16.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from audiolm.audio.mel import MelConfig, mel_filters
from audiolm.configuration import Configuration
from audiolm.shapes import SAMPLE_RATE, Waveform


class MelLossConfig(Configuration):
    """Settings of the multi-scale mel-spectral loss."""

    windows: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    """Window lengths in samples; each hops by a quarter of itself. SoundStream: 2^6 to 2^11."""
    mels: int = Field(default=64, gt=0)
    """Mel bands of the long windows; a window of W samples has at most W / 8."""
    log_distance: Literal["l1", "l2"] = "l1"
    """Distance of the log magnitudes: their mean absolute difference, or SoundStream's L2 norm over
    the bands of a frame (divided by the square root of their number)."""
    log_weight: float = Field(default=1.0, ge=0.0)
    """Weight of the log magnitudes beside the plain ones (SoundStream: sqrt(window / 2))."""

    floor: float = Field(default=1e-4, gt=0.0)
    """Added to a magnitude before its logarithm: that of noise at -76 dB of full scale."""

    @field_validator("windows")
    @classmethod
    def _powers_of_two(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if not windows or any(window < 16 or window.bit_count() != 1 for window in windows):
            raise ValueError("give one or more powers of two from 16 on")
        return windows


class MelLoss(nn.Module):
    """Distance between mel spectra at several resolutions (SoundStream, the reconstruction loss).

    Per window length: mean absolute difference of magnitudes + log_weight x distance of their
    logarithms; the mean over window lengths.
    """

    def __init__(self, config: MelLossConfig) -> None:
        super().__init__()
        self.config = config
        for window in config.windows:
            bands = min(config.mels, window // 8)
            filters = mel_filters(
                MelConfig(window=window, hop=window // 4, bins=bands, fmin=0, fmax=SAMPLE_RATE / 2)
            )  # (bins, bands)
            weights = filters / filters.sum(dim=0)
            self.register_buffer(f"hann_{window}", torch.hann_window(window), persistent=False)
            self.register_buffer(f"mel_{window}", weights, persistent=False)

    def forward(self, made: Waveform, real: Waveform) -> Float[Tensor, ""]:
        """Compare waveforms of one shape (B, T >= 1)."""
        with torch.autocast(made.device.type, enabled=False):
            made, real = made.float(), real.float()
            total = made.new_zeros(())
            for window in self.config.windows:
                a, b = self.mel(made, window), self.mel(real, window)  # (B, frames, bands)
                difference = (a + self.config.floor).log() - (b + self.config.floor).log()
                if self.config.log_distance == "l1":
                    logs = difference.abs().mean()
                else:  # the floor keeps the gradient of the root finite where nothing differs
                    logs = ((difference.square().mean(dim=2) + 1e-12).sqrt() - 1e-6).mean()
                total = total + (a - b).abs().mean() + self.config.log_weight * logs
            return total / len(self.config.windows)

    def mel(self, waveform: Waveform, window: int) -> Float[Tensor, "B frames bands"]:
        """Mel magnitudes for one of the configured windows; white noise has one level in all."""
        samples = F.pad(waveform, (window // 2, window // 2))
        frames = samples.unfold(1, window, window // 4)  # (B, frames, window)
        power: Tensor = _Power.apply(frames * self.get_buffer(f"hann_{window}"))  # type: ignore[no-untyped-call]
        # The floor keeps the gradient of the root finite in digital silence.
        magnitude = (power + 1e-10).sqrt()  # (B, frames, bins)
        return magnitude @ self.get_buffer(f"mel_{window}")


class SpectrumLossConfig(Configuration):
    """Settings of the distance of spectra in full resolution."""

    windows: tuple[int, ...] = (512, 1024, 2048)
    """Window lengths in samples; each hops by a quarter of itself."""
    highest: float = Field(default=4000.0, gt=0.0, le=SAMPLE_RATE / 2)
    """Hz up to which bins count: where a voice has harmonics that can be told apart."""
    floor: float = Field(default=1e-3, gt=0.0)
    """Added to a magnitude before its logarithm."""


class SpectrumLoss(nn.Module):
    """Distance of spectra bin by bin, which tells harmonics from the noise between them.

    Per window length: mean absolute difference of log magnitudes, and half the spectral convergence
    (the norm of the difference by the norm of the recording's); the mean over window lengths
    (Yamamoto et al., 2020).
    """

    def __init__(self, config: SpectrumLossConfig) -> None:
        super().__init__()
        self.config = config
        for window in config.windows:
            self.register_buffer(f"hann_{window}", torch.hann_window(window), persistent=False)

    def forward(self, made: Waveform, real: Waveform) -> Float[Tensor, ""]:
        """Compare waveforms of one shape (B, T >= 1)."""
        with torch.autocast(made.device.type, enabled=False):
            total = made.new_zeros((), dtype=torch.float32)
            for window in self.config.windows:
                a, b = (self._magnitude(x.float(), window) for x in (made, real))
                logs = ((a + self.config.floor).log() - (b + self.config.floor).log()).abs().mean()
                total = total + logs + 0.5 * (a - b).norm() / (b.norm() + 1e-6)
            return total / len(self.config.windows)

    def _magnitude(self, waveform: Waveform, window: int) -> Float[Tensor, "B frames bins"]:
        frames = F.pad(waveform, (window // 2, window // 2)).unfold(1, window, window // 4)
        power: Tensor = _Power.apply(frames * self.get_buffer(f"hann_{window}"))  # type: ignore[no-untyped-call]
        bins = 1 + int(self.config.highest * window / SAMPLE_RATE)
        return (power[..., :bins] + 1e-10).sqrt()


class _Power(torch.autograd.Function):
    """|rfft|² of real frames (..., W), with a gradient that is one inverse real transform.

    The gradient of torch's rfft is a complex transform of all bins, of which half are zero: on a
    CPU that alone would cost as much as everything else in the loss.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, frames: Tensor) -> Tensor:
        spectrum: Tensor = torch.fft.rfft(frames, norm="ortho")
        ctx.save_for_backward(spectrum)
        return spectrum.real.square() + spectrum.imag.square()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (spectrum,) = ctx.saved_tensors
        # irfft counts every bin but the first and the last twice, as d|X|² / dx = 2 Re(X* dX / dx).
        weight = torch.ones(gradient.shape[-1], device=gradient.device)
        weight[[0, -1]] = 2
        inverse: Tensor = torch.fft.irfft(spectrum * (gradient * weight), norm="ortho")
        return inverse


def waveform_loss(made: Waveform, real: Waveform) -> Float[Tensor, ""]:
    """Mean absolute difference of samples."""
    with torch.autocast(made.device.type, enabled=False):
        return (made.float() - real.float()).abs().mean()


def discriminator_loss(real: Sequence[Tensor], made: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Hinge loss of the discriminators: logits of real audio above 1, of made audio below -1.

    Args:
        real: each discriminator's logits for recordings, any shape.
        made: the same for reconstructions (detached from the codec).
    """
    total = real[0].new_zeros((), dtype=torch.float32)
    for logits_real, logits_made in zip(real, made, strict=True):
        total = total + F.relu(1 - logits_real.float()).mean()
        total = total + F.relu(1 + logits_made.float()).mean()
    return total / len(real)


def generator_loss(made: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Hinge loss of the codec: the logits of what it makes should exceed 1 (SoundStream, eq. 2)."""
    total = made[0].new_zeros((), dtype=torch.float32)
    for logits in made:
        total = total + F.relu(1 - logits.float()).mean()
    return total / len(made)


def feature_loss(
    made: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]
) -> Float[Tensor, ""]:
    """Mean absolute difference of every discriminator layer, relative to the layer's real size.

    Args:
        made: per discriminator, per layer, the activations for reconstructions.
        real: the same for recordings; no gradient goes there.
    """
    distances = []
    for layers_made, layers_real in zip(made, real, strict=True):
        for a, b in zip(layers_made, layers_real, strict=True):
            target = b.detach().float()
            distances.append((a.float() - target).abs().mean() / (target.abs().mean() + 1e-8))
    return torch.stack(distances).mean()
