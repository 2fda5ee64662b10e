"""Which crops a training step sees, as a function of the step's number alone.

A sampler has no state: a run that resumes at step n draws what the uninterrupted run would have
drawn. Its epochs cut the corpus, laid end to end, into pieces of one crop each, shuffle them, and
draw a point of each piece: every second of sound comes about equally often, long recordings come
in proportion to their length, and none is forgotten for long.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audiolm.data.tokens import TokenStore
from audiolm.data.waveforms import Waveforms, WaveformStore
from audiolm.errors import CorpusError
from audiolm.shapes import Lengths, Waveform

Draw = tuple[int, int]
"""Index of a recording, and where in it the crop starts."""

MAX_PIECES = 2**20
"""Pieces of an epoch, at most, so that shuffling takes no time and no memory to speak of."""

_EPOCH, _STEP = 0, 1  # keys of two families of generators that share nothing


@dataclass(frozen=True)
class TokenBatch:
    """Crops of a token store, ready to become the streams of a stage."""

    semantic: Tensor | None
    """(B, S) int64, -1 after the end of a recording; None without a tokenizer."""
    codes: Tensor | None
    """(B, Q, F) int64, F = 2 S, -1 after the end of a recording; None without a codec."""
    ended: Tensor
    """(B,) bool: the recording ends in this crop."""


class CropSampler:
    """Draws random crops of recordings, in proportion to their lengths.

    Lengths and crop are counted in any one unit: samples, codec frames or semantic steps.
    Recordings that are shorter than a crop are drawn from their start, and the rest of the crop is
    padding: of SpeechOcean's training recordings (1,921, median 3.1 s) 17 % of the positions with
    crops of 4 s and 64 % with 10 s; of LibriSpeech dev (median 5.8 s) 3 % and 22 %. So crops are
    best no longer than most recordings; several short ones are not joined into one row.

    Args:
        lengths: (R,) length of each recording; those of length 0 are never drawn.
        crop: length of a crop.
        batch_size: crops per step and rank.
        seed: another seed gives other crops.
        rank: which of the processes this is.
        world: how many processes draw together, each other pieces.

    Raises:
        CorpusError: if there is nothing to draw from.
    """

    def __init__(
        self,
        lengths: Sequence[int] | np.ndarray,
        crop: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)  # (R,)
        if self.lengths.sum() <= 0:
            raise CorpusError("no recording is left to draw crops from; add recordings")
        self.crop, self.batch_size, self.seed = crop, batch_size, seed
        self.rank, self.world = rank, world
        self._ends = np.cumsum(self.lengths)  # (R,)
        total = int(self._ends[-1])
        self.pieces = min(MAX_PIECES, max(1, round(total / crop)))
        self._epoch = -1  # whose order `_order` is
        self._order = np.empty(0, dtype=np.int64)  # (pieces,)

    @property
    def steps_per_epoch(self) -> float:
        """Steps in which all processes together go through the corpus once."""
        return self.pieces / (self.batch_size * self.world)

    def draw(self, step: int) -> list[Draw]:
        """The crops of one step of this rank: a function of (seed, step, rank)."""
        first = (step * self.world + self.rank) * self.batch_size
        pieces = [self._piece(first + row) for row in range(self.batch_size)]
        inside = _generator(self.seed, _STEP, step, self.rank).random(self.batch_size)
        total = int(self._ends[-1])
        points = (np.array(pieces) + inside) * total / self.pieces  # (B,) in [0, total)
        indices = np.searchsorted(self._ends, points, side="right")
        indices = np.minimum(indices, len(self.lengths) - 1)
        # The point's place in its recording is stretched over the starts that a crop can have.
        lengths = self.lengths[indices]
        place = (points - (self._ends[indices] - lengths)) / lengths  # (B,) in [0, 1)
        choices = np.maximum(lengths - self.crop, 0) + 1
        starts = np.minimum((place * choices).astype(np.int64), choices - 1)
        return [(int(i), int(s)) for i, s in zip(indices, starts, strict=True)]

    def _piece(self, number: int) -> int:
        """The piece of the corpus behind the `number`-th crop of the whole training."""
        epoch, place = divmod(number, self.pieces)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = _generator(self.seed, _EPOCH, epoch, 0).permutation(self.pieces)
        return int(self._order[place])


def waveform_batch(store: Waveforms, draws: Sequence[Draw], crop: int) -> tuple[Waveform, Lengths]:
    """Crops as a batch.

    Args:
        store: where the samples are.
        draws: B pairs of recording and start.
        crop: T, samples per row.

    Returns:
        (B, T) float32, zeros after the end of a recording; (B,) int64, samples that are real.
    """
    rows = [store.crop(index, start, crop) for index, start in draws]
    waveform = torch.from_numpy(np.stack(rows))  # (B, T)
    return waveform, torch.tensor([_real(store, draw, crop) for draw in draws])


def resident_batch(
    resident: Tensor, store: WaveformStore, draws: Sequence[Draw], crop: int
) -> tuple[Waveform, Lengths]:
    """As `waveform_batch`, of samples that are all on the device already.

    Args:
        resident: `store.as_tensor(device)`.
        store: whose lengths and offsets these are.
        draws: B pairs of recording and start.
        crop: T, samples per row.

    Returns:
        (B, T) float32 and (B,) int64, both on the device of `resident`.
    """
    firsts = torch.tensor([int(store.offsets[index]) + start for index, start in draws])
    lengths = torch.tensor([_real(store, draw, crop) for draw in draws])
    firsts, lengths = firsts.to(resident.device), lengths.to(resident.device)
    steps = torch.arange(crop, device=resident.device)  # (T,)
    places = (firsts[:, None] + steps).clamp(max=len(resident) - 1)  # (B, T)
    waveform = resident[places].float() / 32768
    return waveform.masked_fill(steps >= lengths[:, None], 0.0), lengths


def token_batch(store: TokenStore, draws: Sequence[Draw], steps: int) -> TokenBatch:
    """Crops of tokens as a batch.

    Args:
        store: where the tokens are.
        draws: B pairs of recording and first semantic step.
        steps: S, semantic steps per row.
    """
    semantic, codes = zip(*(store.crop(index, start, steps) for index, start in draws), strict=True)
    ended = [start + steps >= store.steps(index) for index, start in draws]
    return TokenBatch(
        semantic=torch.stack(semantic) if store.format.semantic_fingerprint else None,
        codes=torch.stack(codes) if store.format.codec_fingerprint else None,
        ended=torch.tensor(ended),
    )


def length_batches(lengths: Sequence[int] | np.ndarray, max_total: int) -> list[list[int]]:
    """Group recordings of similar length, longest first, so that little of a batch is padding.

    Args:
        lengths: (R,) length of each recording.
        max_total: the most a padded batch may hold, rows times the longest of them; a recording
            that is longer by itself gets a batch of its own.

    Returns:
        Lists of indices; every recording is in one of them.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches: list[list[int]] = []
    longest = 0
    for index in order.tolist():
        if not batches or (len(batches[-1]) + 1) * longest > max_total:
            batches.append([])
            longest = int(lengths[index])
        batches[-1].append(index)
    return batches


def _real(store: Waveforms, draw: Draw, crop: int) -> int:
    index, start = draw
    return max(0, min(crop, store.length(index) - start))


def _generator(*key: int) -> np.random.Generator:
    """A generator that depends on its key and on nothing else."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
