"""The codebook of w2v-BERT's targets, learnt along with the network by Gumbel softmax.

An entry is drawn for each step, and the gradient passes as if all entries had been taken in
proportion to their chances. The diversity loss keeps the entries in use.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.configuration import Configuration
from audiolm.shapes import Features, FlatMask


class TargetQuantizerConfig(Configuration):
    """The learnt codebook that makes the targets."""

    kind: Literal["gumbel", "clusters"] = "gumbel"
    """How entries are chosen: by Gumbel softmax over the network's own features, as w2v-BERT, or as
    online k-means clusters of cepstra, which little data cannot make collapse."""
    groups: int = Field(default=1, gt=0)
    """Codebooks side by side; an id of each is chosen and their vectors are joined."""
    entries: int = Field(default=1024, gt=1)
    """V, vectors in each codebook."""
    cepstra: tuple[int, int] | None = None
    """Of clusters: from which cosine of the log-mel spectrum on they are told apart, and before
    which one no longer; null for 0 and 13, the envelope, which in speech is what is said. In music
    the envelope is the instrument, and the notes are in what these leave out."""
    width: int = Field(default=256, gt=0)
    """Width of the joined vector, and of the space where vectors are compared."""
    hottest: float = Field(default=2.0, gt=0)
    """Gumbel temperature at the beginning of training."""
    coldest: float = Field(default=0.5, gt=0)
    """Gumbel temperature at the end of training, reached exponentially."""


@dataclass(frozen=True)
class Targets:
    """The codebook's answer for each step."""

    vectors: Tensor  # (B, S, quantizer.width)
    ids: Tensor  # (B, S, groups)
    probabilities: Tensor  # (B, S, groups, V), without Gumbel noise


class GumbelQuantizer(nn.Module):
    """Chooses a codebook entry for each step, and lets the gradient through (straight-through)."""

    def __init__(self, config: TargetQuantizerConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.score = nn.Linear(width, config.groups * config.entries)
        self.codebook = nn.Parameter(
            torch.empty(config.groups, config.entries, config.width // config.groups)
        )
        self.out = nn.Linear(config.width, config.width)
        # Entries point in different directions from the first step on. Scores (of inputs of unit
        # variance) spread by 3: enough to choose, and not so much that the softmax is saturated
        # and the diversity loss, without a gradient, watches a few entries take over.
        nn.init.normal_(self.score.weight, std=3 * width**-0.5)
        nn.init.zeros_(self.score.bias)
        nn.init.normal_(self.codebook)

    def forward(
        self, x: Features, real: FlatMask, progress: float, generator: torch.Generator | None
    ) -> Targets:
        """Quantize (B, S, D); `progress` from 0 to 1 cools the choice. Runs in float32.

        Each dimension is first scaled to zero mean and unit variance over the batch's `real` steps:
        else what all steps share decides the scores, and few entries are ever chosen.
        """
        config = self.config
        with torch.autocast(x.device.type, enabled=False):
            steps = x.float()[real]  # (n, D)
            variance, mean = torch.var_mean(steps, dim=0, correction=0)
            x = (x.float() - mean) / (variance + 1e-5).sqrt()
            scores = self.score(x).unflatten(-1, (config.groups, config.entries))
            temperature = config.hottest * (config.coldest / config.hottest) ** progress
            chances = scores  # (B, S, groups, V)
            if self.training:
                uniform = torch.rand(scores.shape, generator=generator, device=scores.device)
                gumbel = -(-uniform.clamp(1e-10, 1 - 1e-7).log()).log()
                chances = (scores + gumbel) / temperature
            soft = chances.softmax(dim=-1)
            hard = F.one_hot(chances.argmax(dim=-1), config.entries).to(soft.dtype)
            choice = hard + soft - soft.detach()
            vectors = torch.einsum("bsgv,gvd->bsgd", choice, self.codebook).flatten(2)
            return Targets(self.out(vectors), scores.argmax(dim=-1), scores.softmax(dim=-1))
