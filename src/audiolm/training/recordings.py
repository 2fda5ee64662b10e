"""Recordings as a training task sees them: crops by step number, fixed crops for validation."""

import sys
from collections.abc import Container, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from audiolm.data.batches import CropSampler, Draw, length_batches, resident_batch, waveform_batch
from audiolm.data.corpus import Corpus
from audiolm.data.speed_perturbation import SpeedPerturbed
from audiolm.data.store import check, pack
from audiolm.data.waveforms import DirectStore, Waveforms, WaveformStore, fingerprint
from audiolm.shapes import SAMPLE_RATE, Lengths, Waveform
from audiolm.training.distributed import World

GPU_SHARE = 0.5
"""Of the free memory of a GPU, what a packed corpus may take: training needs the rest."""


class Recordings:
    """One part of a corpus (training or validation) on one device.

    On a GPU a packed corpus lies there as a whole (115 MB an hour), so that a batch costs nothing;
    one that has no room there (`GPU_SHARE`) stays on the host.
    """

    def __init__(self, store: Waveforms, device: torch.device, world: World, seed: int) -> None:
        self.store = store
        self.device = device
        self.world = world
        self.seed = seed
        self._samplers: dict[tuple[int, int, int], CropSampler] = {}
        self._resident: Tensor | None = None
        self.stays_on_host = False
        """Whether the pack would lie on the GPU if there were room."""
        if isinstance(store, WaveformStore) and device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            self.stays_on_host = store.bytes > GPU_SHARE * free
            if not self.stays_on_host:
                self._resident = store.as_tensor(device)

    @classmethod
    def open(
        cls,
        corpus: Corpus,
        folder: Path,
        device: torch.device,
        world: World,
        seed: int,
        *,
        packed: bool = True,
        quiet: bool,
    ) -> "Recordings":
        """Decode a corpus once: into `folder`, or only to see that its files can be read from.

        Raises:
            CorpusError: if no recording can be decoded, or the folder cannot be written to.
        """
        disable = True if quiet else None  # None: where stderr is no terminal
        with tqdm(desc="recordings", file=sys.stderr, disable=disable, unit="file") as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.n = done
                bar.refresh()

            decode = pack if packed else check
            return cls(decode(corpus.recordings, folder, progress=show), device, world, seed)

    def at_speeds(self, speeds: Sequence[float]) -> "Recordings":
        """These recordings and, after them, all of them again at each of `speeds`."""
        if not speeds:
            return self
        return Recordings(SpeedPerturbed(self.store, speeds), self.device, self.world, self.seed)

    def without(self, indices: Container[int]) -> "Recordings":
        """These recordings but some. Not of those at other speeds."""
        assert isinstance(self.store, WaveformStore | DirectStore)
        return Recordings(self.store.without(indices), self.device, self.world, self.seed)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, lengths, speeds and samples: others, or changed ones, have another."""
        return fingerprint(self.store)

    def __len__(self) -> int:
        return len(self.store)

    @property
    def hours(self) -> float:
        """How long all recordings last together."""
        return sum(self.store.length(i) for i in range(len(self))) / SAMPLE_RATE / 3600

    def batch(
        self, step: int, rank: int, batch_size: int, seconds: float
    ) -> tuple[Waveform, Lengths]:
        """The crops of one step: waveforms (B, T) and how many samples of each are real (B,)."""
        crop = round(seconds * SAMPLE_RATE)
        sampler = self._samplers.get((crop, batch_size, rank))
        if sampler is None:
            lengths = [self.store.length(i) for i in range(len(self))]
            sampler = CropSampler(lengths, crop, batch_size, self.seed, rank, self.world.size)
            self._samplers[crop, batch_size, rank] = sampler
        return self.crops(sampler.draw(step), crop)

    def fixed_batch(self, seconds: float, count: int) -> tuple[Waveform, Lengths]:
        """The same crops every time, spread over all recordings."""
        crop = round(seconds * SAMPLE_RATE)
        draws = [(i, max(0, self.store.length(i) - crop) // 2) for i in self.spread(count)]
        return self.crops(draws, crop)

    def spread(self, count: int) -> list[int]:
        """Indices of so many recordings at equal distances; of all where there are no more."""
        count = min(count, len(self))
        return [i * len(self) // count for i in range(count)]

    def whole(self, indices: Sequence[int]) -> tuple[Waveform, Lengths]:
        """Whole recordings, padded to the longest."""
        longest = max(self.store.length(i) for i in indices)
        return self.crops([(i, 0) for i in indices], longest)

    def by_length(
        self, seconds: float, among: Sequence[int] | None = None, hours: float | None = None
    ) -> list[list[int]]:
        """Groups of recordings of similar length, at most `seconds` (padded) in each.

        Args:
            seconds: audio in one group, padding included.
            among: the recordings to group; all when None.
            hours: stop at about this much audio, spread over the corpus; no limit when None.
        """
        chosen = list(range(len(self)) if among is None else among)
        if hours is not None and self.hours > hours:
            stride = self.hours / hours
            count = max(1, int(len(chosen) / stride))
            chosen = [chosen[int(k * stride)] for k in range(count)]
        lengths = [self.store.length(i) for i in chosen]
        groups = length_batches(lengths, round(seconds * SAMPLE_RATE))
        return [[chosen[k] for k in group] for group in groups]

    def crops(self, draws: Sequence[Draw], crop: int) -> tuple[Waveform, Lengths]:
        """Stretches of `crop` samples from recording and first sample, zeros behind an end."""
        if self._resident is not None and isinstance(self.store, WaveformStore):
            return resident_batch(self._resident, self.store, draws, crop)
        waveform, lengths = waveform_batch(self.store, draws, crop)
        return waveform.to(self.device), lengths.to(self.device)
