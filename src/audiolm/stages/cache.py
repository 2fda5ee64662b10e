"""Cached decoding: the KV cache is filled in place, so that each new token costs one position.

The step is written out for speed. It does what `Transformer.forward` does at the last position,
with as few operations as will do; a test holds the two together. A step reads every weight and all
of the KV cache once, and on a CPU that, not arithmetic, is its cost. So one row reads weights held
in float16 (`weights`), which is half as much; several rows read them as they are, because products
of more than one row in float16 go row by row on a CPU. Keys are kept as columns, which scores of
one query read in order.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from audiolm.shapes import FlatIds
from audiolm.stages.transformer import Block, Transformer


def quick_weights(device: torch.device, rows: int = 1) -> torch.dtype:
    """The type of weights with which a step of so many rows is quickest.

    float16 for one row on CPUs that read it in hardware (x86 from AVX2 on), where reading the
    weights is most of a step; float32 elsewhere.
    """
    reads_halves = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    quick = device.type == "cpu" and rows == 1 and reads_halves
    return torch.float16 if quick else torch.float32


class _LayerWeights(NamedTuple):
    """The weights of one block."""

    attention_norm: Tensor
    qkv: Tensor
    out: Tensor
    feed_forward_norm: Tensor
    up: Tensor
    down: Tensor


class CachedDecoder:
    """One batch of sequences on the way: `prefill` once, then `step` by `step`.

    Rows whose beginnings differ in length are moved to the right until their ends meet. Only
    distances matter to the position bias, so moving a row changes nothing; what lies before its
    START is masked.

    Args:
        transformer: the network, in evaluation mode.
        batch: B, rows.
        capacity: positions to make room for: the longest beginning and all steps after it.
        weights: hold the matrices of the step in this type (float16 is quicker and rounds the
            input of each product); as they are when None.
    """

    def __init__(
        self,
        transformer: Transformer,
        batch: int,
        capacity: int,
        weights: torch.dtype | None = None,
    ) -> None:
        config = transformer.config
        self.transformer = transformer
        self.layers = [
            _layer_weights(block, weights)
            for block in transformer.blocks
            if isinstance(block, Block)
        ]
        self.batch, self.heads = batch, config.heads
        self.head_width = config.width // config.heads
        self.length = 0
        shape = (config.layers, batch * config.heads, self.head_width, capacity)
        self.keys = transformer.embedding.weight.new_zeros(shape)
        """(layers, B * H, D / H, capacity)."""
        self.values = transformer.embedding.weight.new_zeros(shape).mT.contiguous()
        """(layers, B * H, capacity, D / H)."""
        self.bias = transformer.bias.by_distance(capacity).flip(-1)[None]
        """(1, H, capacity) by key; the last entry is for the query's own position, distance 0."""
        self.before_start: Tensor | None = None
        """(B, 1, capacity) -inf at what lies before a row's START; None if all rows begin alike."""

    def prefill(self, ids: FlatIds, aligned: Int[Tensor, "B L C"]) -> Float[Tensor, "B D"]:
        """Read beginnings (B, L), padded on the right; the hidden state (B, D) at their ends."""
        longest, lengths = ids.shape[1], (ids >= 0).sum(1)
        rows = (len(self.layers), self.batch, self.heads)
        keys = self.keys.unflatten(1, rows[1:])[..., :longest]  # (layers, B, H, D / H, L)
        values = self.values.unflatten(1, rows[1:])[..., :longest, :]  # (layers, B, H, L, D / H)
        layers = list(zip(keys.mT.unbind(0), values.unbind(0), strict=True))
        hidden: Tensor = self.transformer(ids, aligned, layers)  # (B, L, D)
        starts = longest - lengths
        if bool(starts.any()):
            position = torch.arange(self.keys.shape[3], device=ids.device)
            before = position < starts[:, None, None]
            self.before_start = before.to(hidden.dtype).masked_fill(before, -torch.inf)
            for row, start in enumerate(starts.tolist()):
                keys[:, row] = keys[:, row].roll(start, dims=-1)
                values[:, row] = values[:, row].roll(start, dims=-2)
        self.length = longest
        return hidden[torch.arange(self.batch, device=ids.device), lengths - 1]

    def step(self, ids: Int[Tensor, "B"], aligned: Int[Tensor, "B C"]) -> Float[Tensor, "B D"]:
        """Read one more id per row (B,); the hidden state (B, D) there."""
        here = self.length
        self.length += 1
        bias = self.bias[..., -self.length :]  # (1, H, l)
        if self.before_start is not None:
            bias = bias + self.before_start[..., : self.length]
        bias = bias.expand(self.batch, -1, -1).reshape(-1, 1, self.length)  # (B * H, 1, l)
        # Cut once for all layers: taking views is a good part of a step at this size.
        caches = zip(
            self.layers,
            self.keys[..., : self.length].unbind(0),
            self.values[:, :, : self.length].unbind(0),
            self.keys[..., here].unbind(0),
            self.values[:, :, here].unbind(0),
            strict=True,
        )
        x = self.transformer.embed(ids, aligned)  # (B, D)
        width = x.shape[1:]
        for layer, keys, values, key_slot, value_slot in caches:
            qkv = _linear(F.layer_norm(x, width, layer.attention_norm), layer.qkv)  # (B, 3 * D)
            by_head = qkv.view(self.batch, 3, self.heads, self.head_width).transpose(0, 1)
            query, key, value = by_head.reshape(3, -1, self.head_width)  # (B * H, D / H) each
            key_slot.copy_(key)
            value_slot.copy_(value)
            scores = torch.baddbmm(bias, query[:, None], keys, alpha=self.head_width**-0.5)
            attended = torch.bmm(scores.softmax(-1), values).view(self.batch, -1)  # (B, D)
            x = x + _linear(attended, layer.out)
            y = F.layer_norm(x, width, layer.feed_forward_norm)
            x = x + _linear(F.gelu(_linear(y, layer.up), approximate="tanh"), layer.down)
        return F.layer_norm(x, width, self.transformer.norm.weight)

    def logits(self, hidden: Float[Tensor, "B D"], kind: int) -> Float[Tensor, "B n"]:
        """`Transformer.logits` of a step."""
        return _linear(hidden, self.transformer.head(kind))


def _layer_weights(block: Block, weights: torch.dtype | None) -> _LayerWeights:
    attention, feed_forward = block.attention, block.feed_forward
    matrices = (attention.qkv, attention.out, feed_forward.up, feed_forward.down)
    qkv, out, up, down = (linear.weight.to(weights or linear.weight.dtype) for linear in matrices)
    return _LayerWeights(
        block.attention_norm.weight, qkv, out, block.feed_forward_norm.weight, up, down
    )


def _linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (B, n) to (B, m), in the type of the weights (m, n)."""
    narrow = x.to(weight.dtype)
    if len(x) == 1:
        return F.linear(narrow, weight).to(x.dtype)
    # The same product from the other side: MKL is quicker with it where there are two rows,
    # but only if they lie one after the other, as the answer has to for the next product.
    return torch.mm(weight, narrow.T).T.to(x.dtype).contiguous()
