"""A guard against getting stuck: no silence and no loop longer than any in the training data.

A language model that is left to itself may fall silent for good, or say the same again and again
(Holtzman et al., 2020). How long recordings stay silent and how long they repeat themselves is
counted while they are tokenized (`audiolm.data.token_statistics`). Where the next id would make a
stretch longer than that, it is drawn among the others. So it works id by id: in a stream as in a
whole continuation, at no cost in time that could be noticed.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from audiolm.configuration import Configuration


class RepetitionLimits(Configuration):
    """How long a stretch of semantic ids may be silent, or a loop."""

    longest_loops: tuple[int, ...]
    """By period, from 1 id on: the longest stretch in which each id is the one a period before."""
    silent_ids: tuple[int, ...] = ()
    """Ids that are silent more often than not."""
    longest_silence: int = 0
    """The longest stretch of these."""


class RepetitionGuard:
    """Which ids may not come next, given those that have come.

    Args:
        limits: of the training data.
        clusters: K.
        semantic: (B, S) the ids so far, perhaps none.
        remove_repeats: an id that comes again at once does not count.
    """

    def __init__(
        self,
        limits: RepetitionLimits,
        clusters: int,
        semantic: Int[Tensor, "B S"],
        remove_repeats: bool = False,
    ) -> None:
        batch, place = len(semantic), semantic.device
        periods = torch.arange(1, len(limits.longest_loops) + 1, device=place)  # (P,)
        # What came again less than once in full is no loop.
        self._limits = torch.tensor(limits.longest_loops, device=place).maximum(periods)  # (P,)
        self._history = torch.full((batch, len(periods)), -1, device=place)  # (B, P) newest first
        self._loops = torch.zeros_like(self._history)  # (B, P) length of each stretch so far
        self._silent = torch.zeros(clusters, dtype=torch.bool, device=place)  # (K,)
        self._silent[list(limits.silent_ids)] = True
        self._longest_silence = limits.longest_silence
        self._silence = torch.zeros(batch, dtype=torch.long, device=place)  # (B,)
        self._remove_repeats = remove_repeats
        for ids in semantic.unbind(1):
            self.push(ids)

    def push(self, ids: Int[Tensor, "B"]) -> None:
        """The ids that came next, one of each row."""
        again = self._history == ids[:, None]  # (B, P)
        loops = (self._loops + 1) * again
        history = torch.cat([ids[:, None], self._history[:, :-1]], dim=1)
        silence = (self._silence + 1) * self._silent[ids]
        if self._remove_repeats:
            same = again[:, :1]  # (B, 1)
            loops = torch.where(same, self._loops, loops)
            history = torch.where(same, self._history, history)
            silence = torch.where(same[:, 0], self._silence, silence)
        self._loops, self._history, self._silence = loops, history, silence

    def forbidden(self) -> Bool[Tensor, "B K"]:
        """The ids (B, K) that would make a stretch longer than any in the training data."""
        silence = (self._silence >= self._longest_silence) & (self._silence > 0)  # (B,)
        forbidden = silence[:, None] & self._silent
        too_long = (self._loops >= self._limits) & (self._history >= 0)  # (B, P)
        rows, periods = too_long.nonzero(as_tuple=True)
        forbidden[rows, self._history[rows, periods]] = True
        return forbidden
