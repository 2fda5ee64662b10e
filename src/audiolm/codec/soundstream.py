"""SoundStream, the codec of the paper (section III-A): convolutions at the sample rate.

The encoder lowers the rate with strides 2, 4, 5, 8 while the channels double; the decoder mirrors
it with transposed convolutions. All are causal, so a frame depends on no sample after its end.
"""

import math
from typing import Literal, Self, cast

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from audiolm.codec.causal import CausalCodec, StreamingState
from audiolm.codec.quantizer import QuantizerConfig
from audiolm.configuration import Configuration
from audiolm.shapes import CODEC_HOP, Embeddings, Waveform

_EDGE_KERNEL = 7
"""Samples seen by the first and the last convolution."""
_LATENT_KERNEL = 3
"""Frames seen by the convolutions next to the quantizer."""
_RESIDUAL_KERNEL = 7
"""Taps of a residual unit's dilated convolution."""


class SoundStreamConfig(Configuration):
    """Settings of SoundStream; the defaults are the paper's."""

    kind: Literal["soundstream"] = "soundstream"
    """Which codec this is."""
    channels: int = Field(default=32, gt=0)
    """C, channels at the sample rate; they double at every stride."""
    strides: tuple[int, ...] = (2, 4, 5, 8)
    """Factors by which the encoder's blocks lower the rate; their product is 320."""
    dilations: tuple[int, ...] = (1, 3, 9)
    """Dilation of each residual unit of a block."""
    dim: int = Field(default=512, gt=0)
    """D, width of the quantizer's output."""
    quantizer: QuantizerConfig = QuantizerConfig()
    """The residual quantizer."""

    @model_validator(mode="after")
    def _one_frame_per_hop(self) -> Self:
        if math.prod(self.strides) != CODEC_HOP or min(self.strides) < 2:
            raise ValueError(f"strides must multiply to {CODEC_HOP}, e.g. 2, 4, 5, 8")
        if not self.dilations or min(self.dilations) < 1:
            raise ValueError("dilations must be one or more numbers from 1 on, e.g. 1, 3, 9")
        return self


class CausalConv(nn.Module):
    """A convolution over (B, C, T) that sees the present and the past.

    Its stride must divide the length of what it is given: T in, T / stride out.
    """

    def __init__(
        self, channels: int, out: int, kernel: int, *, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.context = (kernel - 1) * dilation + 1 - stride
        self.conv = nn.Conv1d(channels, out, kernel, stride=stride, dilation=dilation)

    def forward(self, x: Float[Tensor, "B C T"], state: StreamingState) -> Tensor:
        """(B, C, T) to (B, C', T / stride)."""
        return cast(Tensor, self.conv(state.extend(self, x, self.context, dim=2)))


class CausalTransposedConv(nn.Module):
    """A transposed convolution over (B, C, T), T in, T x stride out, that sees one step back."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.ConvTranspose1d(channels, out, 2 * stride, stride=stride)

    def forward(self, x: Float[Tensor, "B C T"], state: StreamingState) -> Tensor:
        """(B, C, T) to (B, C', T x stride)."""
        y: Tensor = self.conv(state.extend(self, x, 1, dim=2))  # (B, C', (T + 2) · stride)
        # What the step before the first would add on its own, and what the last adds to the next.
        return y[:, :, self.stride : -self.stride]


class ResidualUnit(nn.Module):
    """A dilated convolution and a pointwise one, added to their input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.wide = CausalConv(channels, channels, _RESIDUAL_KERNEL, dilation=dilation)
        self.point = CausalConv(channels, channels, 1)

    def forward(self, x: Float[Tensor, "B C T"], state: StreamingState) -> Tensor:
        """(B, C, T) to the same shape."""
        h = self.wide(F.elu(x), state)
        return x + cast(Tensor, self.point(F.elu(h), state))


class SoundStream(CausalCodec):
    """SoundStream (paper, section III-A; Zeghidour et al., 2021, section III).

    Without weight norm: the tensors that are stored, rounded and fingerprinted are then the ones
    that compute, and a warm-up of the learning rate gives the steadiness it is there for.
    """

    encoder_modules = ("encoder",)

    config: SoundStreamConfig

    def __init__(self, config: SoundStreamConfig) -> None:
        super().__init__(config, config.quantizer, config.dim, look_ahead=0)
        channels = config.channels
        encoder: list[nn.Module] = [CausalConv(1, channels, _EDGE_KERNEL)]
        for stride in config.strides:
            encoder += [ResidualUnit(channels, dilation) for dilation in config.dilations]
            encoder += [CausalConv(channels, 2 * channels, 2 * stride, stride=stride)]
            channels *= 2
        encoder += [CausalConv(channels, config.dim, _LATENT_KERNEL)]

        decoder: list[nn.Module] = [CausalConv(config.dim, channels, _EDGE_KERNEL)]
        for stride in reversed(config.strides):
            decoder += [CausalTransposedConv(channels, channels // 2, stride)]
            channels //= 2
            decoder += [ResidualUnit(channels, dilation) for dilation in config.dilations]
        decoder += [CausalConv(channels, 1, _EDGE_KERNEL)]
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)

    def analyse(self, samples: Waveform, state: StreamingState) -> Embeddings:
        """Samples (B, F * 320) to vectors (B, F, D)."""
        x = _run(self.encoder, samples[:, None], state)  # (B, D, F)
        return x.transpose(1, 2).float()

    def synthesise(self, embeddings: Embeddings, state: StreamingState) -> Waveform:
        """Quantized vectors (B, F, D) to samples (B, F * 320)."""
        x = _run(self.decoder, embeddings.transpose(1, 2), state)  # (B, 1, F · 320)
        return x[:, 0].float()


def _run(layers: nn.ModuleList, x: Tensor, state: StreamingState) -> Tensor:
    """The layers in turn, an ELU before each that changes rate or width, except the first."""
    for index, layer in enumerate(layers):
        if index and not isinstance(layer, ResidualUnit):
            x = F.elu(x)
        x = layer(x, state)
    return x
