"""The Transformer of every stage: decoder only, pre-norm, T5 position bias (paper, section IV-B).

What differs from a text model: the kind of every position is known beforehand (a semantic id, or a
code of a certain level), so each kind has an output head of its own, and only that head is
computed: a fraction 1/Q of the vocabulary. And a position may be given aligned ids, the
conditioning of its time, whose embeddings are added to its own.

Layer norm without bias stands where T5 has a root-mean-square norm: as good, and fused everywhere
(8000 vectors of width 320, forward and backward on two CPU cores: 3 ms against 26 ms).
"""

from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError
from audiolm.shapes import FlatIds
from audiolm.stages.attention import PositionBias, attend
from audiolm.stages.layout import Layout

LayerCache = tuple[Tensor, Tensor]
"""One layer's share of the KV cache: where it writes keys and values (B, H, L, D / H) each."""


class TransformerConfig(Configuration):
    """Size of a stage's network; the defaults are the paper's."""

    layers: int = Field(default=12, ge=1)
    """Transformer blocks."""
    heads: int = Field(default=16, ge=1)
    """H, attention heads; 64 of the width for each is fastest."""
    width: int = Field(default=1024, ge=1)
    """D, width of the residual stream."""
    feed_forward: int = Field(default=4096, ge=1)
    """Width of the hidden layer between two attentions."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the embedding's and each branch's outputs that is dropped in training."""
    buckets: int = Field(default=32, ge=2, multiple_of=2)
    """Buckets of the relative position bias."""
    max_distance: int = Field(default=128, ge=2)
    """Distance from which on all positions share the last bucket."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.width % self.heads:
            raise ConfigurationError(
                f"transformer.width: {self.width} cannot be divided among transformer.heads = "
                f"{self.heads}; try {self.width // self.heads * self.heads or self.heads}"
            )
        if self.max_distance <= self.buckets // 2:
            raise ConfigurationError(
                f"transformer.max_distance: {self.max_distance} lies within the buckets of single "
                f"distances; make it more than {self.buckets // 2}"
            )
        return self


class Attention(nn.Module):
    """Multi-head self-attention, one matrix for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        cache: LayerCache | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """x (B, L, D), bias (H, L, L) to (B, L, D); writes keys and values to `cache`.

        Causal, or to both sides within the `lengths` of the rows.
        """
        split = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = split.contiguous().unbind(0)  # (B, H, L, D / H) each
        if cache is not None:
            cache[0].copy_(key)
            cache[1].copy_(value)
        attended = attend(query, key, value, bias, lengths)
        mixed: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return mixed


class FeedForward(nn.Module):
    """Two matrices with a GELU (its tanh form, as in T5: half the time on a CPU) between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) to (..., D)."""
        y: Tensor = self.down(F.gelu(self.up(x), approximate="tanh"))
        return y


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and added to the residual stream."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, bias=False)
        self.attention = Attention(config.width, config.heads)
        self.feed_forward_norm = nn.LayerNorm(config.width, bias=False)
        self.feed_forward = FeedForward(config.width, config.feed_forward)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        cache: LayerCache | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """x (B, L, D), bias (H, L, L) to (B, L, D); as `Attention`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), bias, cache, lengths))
        y: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return y


WEIGHT_DEVIATION = 0.02
"""Standard deviation of first weights."""


def initialise(network: nn.Module, layers: int) -> None:
    """Small normal weights; what is added to the residual stream starts smaller with depth."""
    for name, weight in network.named_parameters():
        if weight.ndim > 1 and not name.startswith("bias"):
            added = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
            nn.init.normal_(weight, std=WEIGHT_DEVIATION * (2 * layers if added else 1) ** -0.5)


class Transformer(nn.Module):
    """Flat ids to hidden states, hidden states to the logits of one kind."""

    def __init__(self, config: TransformerConfig, layout: Layout) -> None:
        super().__init__()
        self.config, self.layout = config, layout
        self.embedding = nn.Embedding(layout.vocabulary, config.width)
        rows = 1 + layout.aligned_slots * layout.aligned_size
        self.aligned = nn.Embedding(rows, config.width) if layout.aligned_slots else None
        self.bias = PositionBias(config.heads, config.buckets, config.max_distance)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, bias=False)
        heads = torch.empty(len(layout.kinds), layout.classes, config.width)
        self.heads = nn.Parameter(heads)  # one output matrix per predicted kind
        initialise(self, config.layers)

    def embed(self, ids: Int[Tensor, "*L"], aligned: Int[Tensor, "*L C"]) -> Float[Tensor, "*L D"]:
        """The embedding of each id, plus those of the ids aligned with it.

        An aligned id's row depends on its slot; row 0 stands for "no aligned id".
        """
        x: Tensor = self.embedding(ids.clamp(min=0))  # padding is read as START, and never seen
        if self.aligned is not None:
            size = self.layout.aligned_size
            slot = torch.arange(self.layout.aligned_slots, device=ids.device)
            rows = torch.where(aligned >= 0, aligned + slot * size + 1, 0)
            x = x + self.aligned(rows).sum(-2)
        return x

    def forward(
        self, ids: FlatIds, aligned: Int[Tensor, "B L C"], kv_cache: list[LayerCache] | None = None
    ) -> Float[Tensor, "B L D"]:
        """Hidden states (B, L, D): position i knows ids 0 to i and its own aligned ids.

        Args:
            ids: flat ids, padded on the right.
            aligned: conditioning ids of each position, -1 for none.
            kv_cache: for cached decoding, where each layer writes its keys and values.
        """
        bias = self.bias(ids.shape[1])
        x = self.dropout(self.embed(ids, aligned))
        for layer, block in enumerate(self.blocks):
            x = block(x, bias, kv_cache[layer] if kv_cache else None)
        hidden: Tensor = self.norm(x)
        return hidden

    def logits(self, hidden: Float[Tensor, "*L D"], kind: int) -> Float[Tensor, "*L n"]:
        """Logits over the ids of one kind; entry 0 is `layout.first_id(kind)`."""
        return F.linear(hidden, self.head(kind))

    def head(self, kind: int) -> Float[Tensor, "n D"]:
        """The output matrix of one kind."""
        return self.heads[kind - self.layout.kinds.start]

    def vocabulary_logits(
        self, hidden: Float[Tensor, "B L D"], kinds: FlatIds
    ) -> Float[Tensor, "B L V"]:
        """Logits over all flat ids, -inf for those of other kinds; for inspection."""
        every = hidden.new_full((*kinds.shape, self.layout.vocabulary), -torch.inf)
        for kind in self.layout.kinds:
            here, first = kinds == kind, self.layout.first_id(kind)
            columns = torch.arange(first, first + self.layout.classes, device=hidden.device)
            rows, places = here.nonzero(as_tuple=True)
            # Autocast lowers a product; CUDA's leaves `hidden`, from a norm, in float32.
            logits = self.logits(hidden[here], kind).to(every.dtype)
            every[rows[:, None], places[:, None], columns] = logits
        return every
