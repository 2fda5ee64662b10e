"""The Conformer encoder (Gulati et al., 2020), the body of w2v-BERT (paper, section III-B).

Log-mel frames at 100 Hz become 25 steps a second through two strided convolutions; a stack of
blocks makes features of them. A block is half a feed-forward, self-attention, a convolution module
and another half feed-forward, each added to what came in, and a normalisation at the end. Padded
steps are never seen: attention gives them no weight and convolutions meet zeros there, so a batch
of recordings of several lengths gives what each of them gives alone.
"""

import math
from typing import Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.audio.mel import LogMel, MelConfig
from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError
from audiolm.shapes import SEMANTIC_HOP, Features, FlatMask, Lengths, Waveform


class ConformerConfig(Configuration):
    """Waveform to features at 25 Hz: log-mel, subsampling, a stack of equal Conformer blocks."""

    mel: MelConfig = MelConfig()
    """The spectrogram the network sees."""
    layers: int = Field(default=10, gt=0)
    """Conformer blocks, numbered from 1."""
    width: int = Field(default=256, gt=0)
    """D, width between the blocks."""
    heads: int = Field(default=4, gt=0)
    """H, attention heads; must divide the width."""
    feed_forward: int = Field(default=1024, gt=0)
    """Width inside the feed-forward modules."""
    kernel: int = Field(default=15, gt=0)
    """Steps the depthwise convolution spans."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of each module's output dropped before it is added, while training."""
    max_distance: int = Field(default=64, gt=0)
    """Distance in steps beyond which attention no longer tells positions apart."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width {self.width} is no multiple of heads {self.heads}; change heads"
            )
        if self.mel.hop * 4 != SEMANTIC_HOP:
            raise ValueError(f"mel.hop must be {SEMANTIC_HOP // 4}, a quarter of a semantic step")
        return self


class RelativeBias(nn.Module):
    """A learnt number per head and distance, added to every layer's attention logits."""

    def __init__(self, heads: int, max_distance: int) -> None:
        super().__init__()
        self.max_distance = max_distance
        self.table = nn.Parameter(torch.zeros(2 * max_distance + 1, heads))

    def forward(self, real: FlatMask) -> Tensor:
        """The bias (B, H, S, S) of queries by keys; keys that are not `real` are shut out."""
        step = torch.arange(real.shape[1], device=real.device)
        distance = (step - step[:, None]).clamp(-self.max_distance, self.max_distance)  # (S, S)
        bias = self.table[distance + self.max_distance].permute(2, 0, 1)  # (H, S, S)
        # Finite, so that a row without any real step gives numbers (which nobody reads), not NaN.
        return bias + torch.where(real, 0.0, -1e4)[:, None, None]


class SelfAttention(nn.Module):
    """Multi-head self-attention over all steps, after a normalisation."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Features, bias: Tensor) -> Features:
        B, S, D = x.shape
        qkv = self.query_key_value(self.norm(x)).view(B, S, 3, self.heads, D // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, S, D / H)
        attended = relative_attention(query, key, value, bias.to(query.dtype))  # (B, H, S, D / H)
        out: Tensor = self.out(attended.transpose(1, 2).reshape(B, S, D))
        return out


def relative_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Scaled dot-product attention (B, H, S, D / H) with a bias (B, H, S, S) on the logits.

    On a CPU the formula itself: PyTorch's fused kernel needs 2.5 times as long to train in bf16,
    and at 25 steps a second the (S, S) matrix is small.
    """
    if query.device.type == "cpu":
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2) + bias
        return torch.matmul(logits.softmax(dim=-1), value)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


class Convolution(nn.Module):
    """Gated pointwise, depthwise, pointwise convolutions along time.

    Between the last two stands a LayerNorm, not the original's BatchNorm: batch statistics would
    count padding, mix the recordings of a batch and differ between training and use.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.kernel = config.kernel
        self.norm = nn.LayerNorm(config.width)
        self.gate = nn.Linear(config.width, 2 * config.width)
        self.depthwise = nn.Parameter(torch.empty(config.width, config.kernel))
        self.depthwise_norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, config.width)
        nn.init.uniform_(self.depthwise, -(config.kernel**-0.5), config.kernel**-0.5)

    def forward(self, x: Features, real: FlatMask) -> Features:
        gated = F.glu(self.gate(self.norm(x)), dim=-1) * real[..., None]  # (B, S, D)
        before = (self.kernel - 1) // 2
        padded = F.pad(gated, (0, 0, before, self.kernel - 1 - before))  # (B, S + kernel - 1, D)
        # Time as the image's width, channels last in memory: 3 times as fast as conv1d on a CPU.
        image = padded.transpose(1, 2)[:, :, None]  # (B, D, 1, S + kernel - 1)
        filtered = F.conv2d(image, self.depthwise[:, None, None], groups=x.shape[-1])
        steps = filtered[:, :, 0].transpose(1, 2)  # (B, S, D)
        out: Tensor = self.out(F.silu(self.depthwise_norm(steps)))
        return out


class FeedForward(nn.Sequential):
    """A feed-forward module, after a normalisation."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__(
            nn.LayerNorm(config.width),
            nn.Linear(config.width, config.feed_forward),
            nn.SiLU(),
            nn.Linear(config.feed_forward, config.width),
        )


class ConformerBlock(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, normalisation."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.feed_forward_in = FeedForward(config)
        self.attention = SelfAttention(config)
        self.convolution = Convolution(config)
        self.feed_forward_out = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Features, bias: Tensor, real: FlatMask) -> Features:
        """Features (B, S, D) to features (B, S, D).

        Args:
            bias: what `RelativeBias` gives for `real`, (B, H, S, S).
            real: which steps are not padding, (B, S).
        """
        x = x + 0.5 * self.dropout(self.feed_forward_in(x))
        x = x + self.dropout(self.attention(x, bias))
        x = x + self.dropout(self.convolution(x, real))
        x = x + 0.5 * self.dropout(self.feed_forward_out(x))
        out: Tensor = self.norm(x)
        return out


class Subsampling(nn.Module):
    """Waveform to 25 normalised vectors a second: log-mel and two convolutions of stride 2."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.mel = LogMel(config.mel)
        # Four frames wide, centred on the two they stand for: steps stay aligned with samples.
        self.first = nn.Conv1d(config.mel.bins, config.width, kernel_size=4, stride=2, padding=1)
        self.second = nn.Conv1d(config.width, config.width, kernel_size=4, stride=2, padding=1)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, waveform: Waveform, lengths: Lengths) -> Features:
        """Vectors (B, S, D), S = ceil(T / 640); what lies beyond `lengths` is not looked at."""
        x = self.spectra(waveform, lengths).transpose(1, 2)  # (B, bins, 4 S)
        # Silence is not zero in a log-mel: padding is made zero, as beyond the edges of a batch.
        hop = self.mel.config.hop
        x = F.silu(self.first(x * real_steps(lengths, hop, x.shape[2])[:, None]))  # (B, D, 2 S)
        x = F.silu(self.second(x * real_steps(lengths, 2 * hop, x.shape[2])[:, None]))  # (B, D, S)
        out: Tensor = self.norm(x.transpose(1, 2))
        return out

    def spectra(self, waveform: Waveform, lengths: Lengths) -> Float[Tensor, "B frames bins"]:
        """Log-mel frames (B, 4 S, bins), four to a step; beyond `lengths` those of silence."""
        T = waveform.shape[1]
        real = torch.arange(T, device=waveform.device) < lengths[:, None]  # (B, T)
        whole = math.ceil(T / SEMANTIC_HOP) * SEMANTIC_HOP
        mel: Tensor = self.mel(F.pad(waveform * real, (0, whole - T)))
        return mel


def full_lengths(waveform: Waveform) -> Lengths:
    """The lengths (B,) of rows without padding."""
    return torch.full((len(waveform),), waveform.shape[1], device=waveform.device)


def real_steps(lengths: Tensor, hop: int, steps: int) -> Tensor:
    """Which of `steps` steps of `hop` samples hold a real sample: (B, steps) bool."""
    count = (lengths + hop - 1) // hop
    return torch.arange(steps, device=lengths.device) < count[:, None]


class Conformer(nn.Module):
    """The encoder. `subsampling` and `blocks` are apart so that training can mask in between."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.config = config
        self.subsampling = Subsampling(config)
        self.project = nn.Linear(config.width, config.width)
        self.bias = RelativeBias(config.heads, config.max_distance)
        self.blocks = nn.ModuleList(ConformerBlock(config) for _ in range(config.layers))

    def real_steps(self, waveform: Waveform, lengths: Lengths) -> FlatMask:
        """Which semantic steps (B, S) hold at least one real sample."""
        return real_steps(lengths, SEMANTIC_HOP, math.ceil(waveform.shape[1] / SEMANTIC_HOP))

    def run(self, x: Features, real: FlatMask, layers: list[int]) -> list[Features]:
        """Subsampled vectors through the blocks up to the last of `layers`, an ascending list.

        Returns:
            The activations (B, S, D) of each of `layers`; those of padded steps mean nothing.
        """
        bias = self.bias(real)  # (B, H, S, S)
        x = self.project(x)
        wanted = []
        for number, block in enumerate(self.blocks[: layers[-1]], start=1):
            x = block(x, bias, real)
            if number in layers:
                wanted.append(x)
        return wanted

    def forward(
        self, waveform: Waveform, lengths: Lengths | None = None, layer: int | None = None
    ) -> Features:
        """Activations (B, S, D) of one layer, S = ceil(T / 640), zero at padded steps.

        Args:
            waveform: samples in [-1, 1], padded at the end with anything.
            lengths: samples of each row that are real; all when None.
            layer: which layer, counted from 1; the last when None. Later layers are not run.

        Raises:
            ConfigurationError: there is no such layer.
        """
        layer = self.config.layers if layer is None else layer
        if not 1 <= layer <= self.config.layers:
            raise ConfigurationError(
                f"layer {layer}: this network has layers 1 to {self.config.layers}; choose one"
            )
        if lengths is None:
            lengths = full_lengths(waveform)
        real = self.real_steps(waveform, lengths)
        (features,) = self.run(self.subsampling(waveform, lengths), real, [layer])
        return features * real[..., None]
