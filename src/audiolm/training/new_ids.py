"""Stages that go on learning after the semantic ids were made anew.

A new tokenizer gives every id another meaning, and with it all that a stage knows of them is lost,
though sounds and voices are what they were. So both tokenizers are heard on the same recordings:
what a stage has learnt of a new id is, to begin with, what it had learnt of the old ids that stood
at the same steps, in the same shares.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from audiolm.data.tokens import TokenStore
from audiolm.semantic import SemanticTokenizer
from audiolm.stages import AutoregressiveStage
from audiolm.stages.layout import FIRST_SEMANTIC
from audiolm.training.recordings import Recordings

HOURS = 2.0
"""Audio that both tokenizers are heard on, at most."""
BATCH_SECONDS = 160.0
"""Audio in one batch."""

Shares = Float[Tensor, "K K_old"]
"""Of the steps with each new id, the part that each old one had."""


def shares_of_old_ids(old: SemanticTokenizer, new: TokenStore, recordings: Recordings) -> Shares:
    """Which old ids stood where the new ones stand; a new id never met has those of all steps.

    Args:
        old: the tokenizer that the stage was trained on.
        new: the tokens of `recordings`, by the tokenizer that it is to be trained on.
        recordings: in the same order.
    """
    counts = torch.zeros(new.format.clusters, old.clusters, dtype=torch.float64)
    for indices in recordings.by_length(BATCH_SECONDS, hours=HOURS):
        waveform, lengths = recordings.whole(indices)  # (B, T), (B,)
        for index, was in zip(indices, old.encode(waveform, lengths).cpu(), strict=True):
            ids = new.semantic(index)  # (S,)
            pairs = ids * old.clusters + was[: len(ids)]
            counts += torch.bincount(pairs, minlength=counts.numel()).view_as(counts)
    every = counts.sum(dim=0, keepdim=True)  # (1, K_old)
    counts = torch.where(counts.sum(dim=1, keepdim=True) > 0, counts, every)
    return (counts / counts.sum(dim=1, keepdim=True)).float()


def carried_over(
    learnt: AutoregressiveStage, stage: AutoregressiveStage, shares: Shares
) -> dict[str, Tensor]:
    """The weights of `learnt` for `stage`, whose semantic ids are new.

    Conditioning further ahead than `learnt` was shown begins with no effect (but at the end of a
    window, where there is none to show).

    Args:
        learnt: a stage that knows the old ids.
        stage: one of the same kind and sizes; its K and its look-ahead may be others.
        shares: as `shares_of_old_ids` gives them.
    """
    weights = dict(learnt.state_dict())
    kind = stage.config.layout.kind
    first, last = FIRST_SEMANTIC, FIRST_SEMANTIC + learnt.config.layout.clusters
    if kind in ("semantic", "coarse"):
        rows = weights["transformer.embedding.weight"]  # (V, D)
        meant = shares @ rows[first:last]
        weights["transformer.embedding.weight"] = torch.cat([rows[:first], meant, rows[last:]])
    if kind == "semantic":
        head = weights["transformer.heads"]  # (1, 1 + K_old, D), END first
        weights["transformer.heads"] = torch.cat([head[:, :1], shares @ head[:, 1:]], dim=1)
    theirs, mine = learnt.transformer.aligned, stage.transformer.aligned
    if kind == "coarse" and theirs is not None and mine is not None:
        given = theirs.weight.detach()  # (1 + C * K_old, D)
        slots = given[1:].unflatten(0, (-1, learnt.config.layout.clusters))  # (C, K_old, D)
        ours = torch.zeros_like(mine.weight)  # (1 + C' * K, D)
        ours[0] = given[0]
        kept = (shares @ slots).flatten(0, 1)[: len(ours) - 1]
        ours[1 : 1 + len(kept)] = kept
        weights["transformer.aligned.weight"] = ours
    return weights
