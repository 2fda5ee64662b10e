"""Cached decoding: keys and values are kept in place, so that each new token costs one position.

The step is written out for speed. It does what `Transformer.forward` does at the last position, with
as few operations as will do; a test holds the two together. At batch 1 a step reads every weight and
every kept key and value once, and that, not arithmetic, is its cost.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from audiolm.shapes import FlatIds
from audiolm.stages.transformer import Block, Transformer


class CachedDecoder:
    """One batch of sequences on the way: `prefill` once, then `step` by `step`.

    Rows whose beginnings differ in length are moved to the right until their ends meet. Only
    distances matter to the position bias, so moving a row changes nothing; what lies before its
    START is masked.

    Args:
        transformer: the network, in evaluation mode.
        batch: B, rows.
        capacity: positions to make room for: the longest beginning and all steps after it.
    """

    def __init__(self, transformer: Transformer, batch: int, capacity: int) -> None:
        config, weight = transformer.config, transformer.embedding.weight
        self.transformer = transformer
        self.blocks = [block for block in transformer.blocks if isinstance(block, Block)]
        self.batch, self.heads = batch, config.heads
        self.head_width = config.width // config.heads
        self.length = 0
        self.memory = weight.new_zeros(
            config.layers, 2, batch * config.heads, capacity, self.head_width
        )
        """Keys and values (layers, 2, B * H, capacity, D / H)."""
        # (B or 1, H, capacity): by key, seen from a query at the right end
        self.bias = transformer.bias.by_distance(capacity).flip(-1)[None]
        self.before_start: Tensor | None = None
        """(B, 1, capacity) -inf at what lies before a row's START; None if all rows begin alike."""

    def prefill(self, ids: FlatIds, companions: Int[Tensor, "B L C"]) -> Float[Tensor, "B D"]:
        """Read the beginnings (B, L), padded on the right; the hidden state (B, D) at their ends."""
        longest, lengths = ids.shape[1], (ids >= 0).sum(1)
        memory = self.memory.unflatten(2, (self.batch, self.heads))[..., :longest, :]
        kept = [(keys, values) for keys, values in memory]
        hidden = self.transformer(ids, companions, kept)  # (B, L, D)
        starts = longest - lengths
        if bool(starts.any()):
            position = torch.arange(self.memory.shape[3], device=ids.device)
            before = position < starts[:, None, None]
            self.before_start = before.to(hidden.dtype).masked_fill(before, -torch.inf)
            for row, start in enumerate(starts.tolist()):
                memory[:, :, row] = memory[:, :, row].roll(start, dims=-2)
        self.length = longest
        return hidden[torch.arange(self.batch, device=ids.device), lengths - 1]

    def step(self, ids: Int[Tensor, "B"], companions: Int[Tensor, "B C"]) -> Float[Tensor, "B D"]:
        """Read one more id per row (B,); the hidden state (B, D) there."""
        self.length += 1
        bias = self.bias[..., -self.length :]  # (1, H, l)
        if self.before_start is not None:
            bias = bias + self.before_start[..., : self.length]
        if self.batch > 1:
            bias = bias.expand(self.batch, -1, -1)
        bias = bias.reshape(self.batch * self.heads, 1, self.length)
        # Cut once for all layers: taking views is a good part of a step at this size.
        seen = self.memory[:, :, :, : self.length].unbind(0)
        new = self.memory[:, :, :, self.length - 1].unbind(0)
        x = self.transformer.embed(ids, companions)
        for block, memory, slot in zip(self.blocks, seen, new, strict=True):
            x = x + self._attention(block, x, bias, memory, slot)
            norm, layer = block.feed_forward_norm, block.feed_forward
            y = F.layer_norm(x, norm.normalized_shape, norm.weight, None, norm.eps)
            y = F.gelu(F.linear(y, layer.up.weight), approximate="tanh")
            x = x + F.linear(y, layer.down.weight)
        hidden: Tensor = self.transformer.norm(x)
        return hidden

    def _attention(
        self, block: Block, x: Tensor, bias: Tensor, memory: Tensor, slot: Tensor
    ) -> Tensor:
        """x (B, D), memory (2, B * H, l, D / H) to (B, D); writes this position to `slot`."""
        norm, layer, rows = block.attention_norm, block.attention, self.batch * self.heads
        y = F.layer_norm(x, norm.normalized_shape, norm.weight, None, norm.eps)
        qkv = F.linear(y, layer.qkv.weight).view(self.batch, 3, self.heads, self.head_width)
        slot.view(2, self.batch, self.heads, self.head_width).copy_(qkv[:, 1:].transpose(0, 1))
        query = qkv[:, 0].reshape(rows, 1, self.head_width)
        keys, values = memory.unbind(0)
        scores = torch.baddbmm(bias, query, keys.mT, alpha=self.head_width**-0.5)
        attended = torch.bmm(scores.softmax(-1), values)  # (B * H, 1, D / H)
        return F.linear(attended.view(self.batch, -1), layer.out.weight)
