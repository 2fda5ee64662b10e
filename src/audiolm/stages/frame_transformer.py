"""The network of the parallel stage: a Transformer over frames that sees both sides.

A position is a frame, not a token. It reads the sum of the embeddings of its codes, one per level,
a code that is not known as that level's mask, and of the semantic id of its time; each level has an
output head of its own (SoundStorm, Borsos et al. 2023, section 3). Blocks and weights are those of
the other stages' Transformer, attention is not causal.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiolm.shapes import FRAMES_PER_STEP, Codes, SemanticIds
from audiolm.stages.attention import TwoSidedBias
from audiolm.stages.layout import Layout
from audiolm.stages.streams import PAD
from audiolm.stages.transformer import Block, TransformerConfig, initialise


class FrameTransformer(nn.Module):
    """Codes of which some are not known, and semantic ids, to hidden states; these to logits."""

    def __init__(self, config: TransformerConfig, layout: Layout) -> None:
        super().__init__()
        self.levels, self.codebook_size = layout.levels, layout.classes
        self.embedding = nn.Embedding(self.levels * (self.codebook_size + 1), config.width)
        """Level by level its N codes, then its mask."""
        self.semantic = nn.Embedding(layout.config.clusters + 1, config.width)
        """The K semantic ids, then what stands for none."""
        self.bias = TwoSidedBias(config.heads, config.buckets, config.max_distance)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, bias=False)
        self.heads = nn.Parameter(torch.empty(self.levels, self.codebook_size, config.width))
        initialise(self, config.layers)

    def forward(
        self, codes: Codes, semantic: SemanticIds, bias: Float[Tensor, "H F F"] | None = None
    ) -> Float[Tensor, "B F D"]:
        """Hidden states (B, F, D): every frame knows all frames of its row.

        Args:
            codes: (B, Q', F) ids, any of them `MASK`; `PAD` after the end of a row.
            semantic: (B, S) ids, one for every two frames; `PAD` where none is told.
            bias: `self.bias(F)`, for who has made it already.
        """
        frames = codes.shape[2]
        first = torch.arange(self.levels, device=codes.device) * (self.codebook_size + 1)
        rows = torch.where(codes >= 0, codes, self.codebook_size) + first[:, None]  # (B, Q', F)
        said = torch.where(semantic >= 0, semantic, self.semantic.num_embeddings - 1)  # (B, S)
        said = said.repeat_interleave(FRAMES_PER_STEP, dim=1)[:, :frames]
        x = self.dropout(self.embedding(rows).sum(1) + self.semantic(said))  # (B, F, D)
        lengths = (codes[:, 0] != PAD).sum(1).tolist()
        bias = self.bias(frames) if bias is None else bias
        for block in self.blocks:
            x = block(x, bias, lengths=lengths)
        hidden: Tensor = self.norm(x)
        return hidden

    def logits(self, hidden: Float[Tensor, "*L D"], level: int) -> Float[Tensor, "*L N"]:
        """Logits over the codes of a level, counted from 0."""
        return F.linear(hidden, self.heads[level])
