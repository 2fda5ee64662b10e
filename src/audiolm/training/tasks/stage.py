"""Training a stage on crops of tokens: next or masked tokens (paper, sections III-C and IV-B)."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from audiolm.data.batches import CropSampler, Draw, token_batch
from audiolm.data.speed_perturbation import as_recorded
from audiolm.data.tokens import TokenStore
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP
from audiolm.stages import Layout, Stage, StageConfig, Streams, build_stage, stage_generator
from audiolm.stages.far_side import far_side_first
from audiolm.training.optimizer import OptimizationConfig
from audiolm.training.tasks.task import Loss, TaskTraining, Validation

MOST_VALIDATION_CROPS = 256
"""Crops that judge a stage, at most."""


class StageTraining(TaskTraining):
    """How a stage is trained."""

    optimization: OptimizationConfig = OptimizationConfig(batch_size=16)
    """The optimizer, and how long."""
    crop_seconds: float = Field(default=10.0, gt=0)
    """Length of a training crop."""
    as_recorded_from: float = Field(default=0.75, ge=0, le=1)
    """Progress from which copies at other speeds are heard no more: a stage that ends with them
    makes voices that nobody has."""
    start_from_vectors: bool = True
    """Whether ids that stand for like sounds begin alike (`audiolm.training.id_vectors`), where the
    stage starts from no other; at random otherwise."""
    far_side_first: float = Field(default=0.5, ge=0, le=1)
    """Share of the crops that are given with their far side first, where the layout has
    `fill_in_the_middle` (Bavarian et al. 2022: up to half and more costs the others nothing)."""


class StageTask:
    """One stage on the tokens of the corpus."""

    def __init__(
        self,
        name: str,
        config: StageConfig,
        training: StageTraining,
        train: TokenStore,
        validation: TokenStore,
        device: torch.device,
        world_size: int,
        seed: int,
    ) -> None:
        self.name = name
        self.config = config
        self.optimization = training.optimization
        self.crops = training.optimization.crops_per_pass(world_size)
        self.train = train
        self.validation = validation
        self.device = device
        self.world_size = world_size
        self.seed = seed
        self.steps = round(training.crop_seconds * SAMPLE_RATE / SEMANTIC_HOP)
        self.networks = nn.ModuleDict({name: build_stage(name, config)})
        self.as_recorded_from = training.as_recorded_from
        fills = config.layout.fill_in_the_middle
        self.far_side_first = training.far_side_first if fills else 0.0
        self._samplers: dict[tuple[int, bool], CropSampler] = {}  # by rank, and with copies or not
        self._unigram: float | None = None

    def batch(self, step: int, rank: int, progress: float = 0.0) -> Streams:
        """Crops of tokens: semantic ids (B, S) and codes (B, Q, F), padded with -1 at the end.

        There are no codes where the tokens have none, for a semantic stage. One that is to fill the
        middle gets some crops cut in two sides.
        """
        copies = progress < self.as_recorded_from
        if (rank, copies) not in self._samplers:
            lengths = self.train.lengths()
            if not copies:
                lengths = np.where(as_recorded(self.train.recordings), lengths, 0)
            self._samplers[rank, copies] = CropSampler(
                lengths, self.steps, self.crops, self.seed, rank, self.world_size
            )
        streams = self._streams(self.train, self._samplers[rank, copies].draw(step))
        if not self.far_side_first:
            return streams
        generator = stage_generator(self.seed, f"{self.name}: far sides of {step}, {rank}")
        return far_side_first(streams, self.far_side_first, generator)

    def loss(self, network: str, batch: Any, progress: float) -> Loss:
        """Mean cross-entropy of the predicted tokens, in nats; bits by kind for the log."""
        result = self.networks[network](batch)
        bits = {f"bits {kind}": nats / math.log(2) for kind, nats in result.kinds.items()}
        return Loss(result.loss, bits)

    def validate(self, averaged: nn.Module) -> Validation:
        """Bits per token on crops for validation, beside what the frequencies of ids would give."""
        nats: dict[str, float] = defaultdict(float)
        tokens: dict[str, int] = defaultdict(int)
        correct = 0
        for draws in self._validation_draws():
            result = averaged(self._streams(self.validation, draws))
            correct += int(result.correct)
            for kind, value in result.kinds.items():
                nats[kind] += float(value) * result.counts[kind]
                tokens[kind] += result.counts[kind]
        # Every kind counts the same, as in the frequencies' entropy: of masked codes, more may have
        # been asked of one level than of another.
        of_kinds = {kind: nats[kind] / max(1, tokens[kind]) for kind in sorted(nats)}
        loss = sum(of_kinds.values()) / max(1, len(of_kinds))
        unigram = self.unigram_bits()
        metrics = {"loss": loss, "bits": loss / math.log(2), "unigram bits": unigram}
        metrics["accuracy"] = correct / max(1, sum(tokens.values()))
        metrics |= {f"bits {kind}": value / math.log(2) for kind, value in of_kinds.items()}
        warnings = []
        if metrics["bits"] >= unigram:
            warnings.append(
                f"{metrics['bits']:.2f} bits per token is no better than the unigram entropy "
                f"{unigram:.2f}: train longer, or lower the learning rate"
            )
        return Validation(metrics, warnings=warnings)

    def unigram_bits(self) -> float:
        """Bits per token of the validation, by the frequencies of the training tokens alone.

        What a model reaches that knows how often each id comes and nothing else.
        """
        if self._unigram is None:
            bits = total = 0.0
            seen, asked = self._frequencies(self.train), self._frequencies(self.validation)
            for kind, counts in asked.items():
                share = (seen[kind] + 1) / (seen[kind] + 1).sum()  # none is impossible
                bits -= float((counts * share.log2()).sum())
                total += float(counts.sum())
            self._unigram = bits / max(1.0, total)
        return self._unigram

    def export(self, averaged: nn.Module) -> Stage:
        """The stage as it is stored and used."""
        assert isinstance(averaged, Stage)
        return averaged

    def _frequencies(self, store: TokenStore) -> dict[int, torch.Tensor]:
        """How often each id of each predicted kind comes; kind 0 is semantic, q is level q."""
        layout = self.config.layout
        counts = {
            kind: store.unigram_counts(kind, remove_repeats=layout.remove_repeats)
            for kind in Layout(layout).kinds
        }
        return {kind: torch.from_numpy(of_kind).double() for kind, of_kind in counts.items()}

    def _validation_draws(self) -> list[list[Draw]]:
        """Batches of crops that follow one another without overlap, spread over the recordings."""
        lengths = self.validation.lengths()
        draws = [
            (index, start)
            for index in range(len(lengths))
            for start in range(0, max(1, int(lengths[index]) - self.steps // 2), self.steps)
        ]
        stride = max(1, -(-len(draws) // MOST_VALIDATION_CROPS))
        draws, size = draws[::stride], self.crops
        return [draws[i : i + size] for i in range(0, len(draws), size)]

    def _streams(self, store: TokenStore, draws: Sequence[Draw]) -> Streams:
        crops = token_batch(store, draws, self.steps)
        # `TokenStore.require` has made sure of what the stage reads.
        semantic, codes = (
            None if ids is None else ids.to(self.device) for ids in (crops.semantic, crops.codes)
        )
        return Streams(semantic, codes, crops.ended.to(self.device))
