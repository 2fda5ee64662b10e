"""What the semantic stage thinks of recordings: their ids, and the log-likelihood of these."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from audiolm.audio.files import info, read
from audiolm.evaluation.metrics.sequence_scores import Likelihood
from audiolm.evaluation.requirements import Skipped
from audiolm.model import AudioLM
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP
from audiolm.stages import Stage, Streams
from audiolm.stages.streams import PAD

BATCH_SEQUENCES = 256
"""Sequences that are scored at once at most, however short."""


def semantic_stage(model: AudioLM) -> Stage:
    """The stage that models semantic ids.

    Raises:
        Skipped: if the model has none.
    """
    if "semantic" not in model.stages:
        raise Skipped(
            "the model has no semantic stage",
            "train it with: audiolm train FOLDER --out MODEL --only semantic",
        )
    return model.stages["semantic"]


def semantic_ids(
    model: AudioLM,
    paths: Sequence[Path],
    batch_seconds: float,
    progress: Callable[[float], None],
) -> list[Tensor]:
    """Semantic ids (S,) of each recording, on the CPU.

    Recordings of like length are heard together; padding never changes an id.
    """
    lengths = [info(path).seconds for path in paths]
    order = sorted(range(len(paths)), key=lambda i: lengths[i])
    ids: list[Tensor] = [torch.empty(0, dtype=torch.long)] * len(paths)
    done = 0
    for batch in _batches(order, lengths, batch_seconds):
        pieces = [torch.from_numpy(read(paths[i], SAMPLE_RATE).samples) for i in batch]
        counts = torch.tensor([len(piece) for piece in pieces], device=model.device)  # (B,)
        waveform = pad_sequence(pieces, batch_first=True).to(model.device)  # (B, T)
        with torch.inference_mode():
            found = model.semantic.encode(waveform, counts).cpu()  # (B, S)
        for index, row, count in zip(batch, found, counts.tolist(), strict=True):
            ids[index] = row[: -(-count // SEMANTIC_HOP)].clone()
        done += len(batch)
        progress(done / len(paths))
    return ids


def likelihoods(
    stage: Stage, sequences: Sequence[Tensor], batch_seconds: float
) -> list[Likelihood]:
    """Log-likelihoods of sequences of ids (S,); each begins anew."""
    device = next(stage.parameters()).device
    seconds = [len(sequence) * SEMANTIC_HOP / SAMPLE_RATE for sequence in sequences]
    order = sorted(range(len(sequences)), key=lambda i: seconds[i])
    found = [Likelihood(0.0, 0)] * len(sequences)
    for batch in _batches(order, seconds, batch_seconds):
        rows = [sequences[i] for i in batch]
        ids = pad_sequence(rows, batch_first=True, padding_value=PAD).to(device)  # (B, S)
        judged = stage.log_likelihood(Streams(semantic=ids))
        counts = judged.predicted.sum(dim=1).tolist()
        for index, nats, count in zip(batch, judged.total.tolist(), counts, strict=True):
            found[index] = Likelihood(nats, count)
    return found


def windows(stage: Stage, ids: Tensor) -> list[Tensor]:
    """A recording's ids (S,) in pieces of at most what the stage was trained on."""
    steps = max(1, round(stage.config.context_seconds * SAMPLE_RATE / SEMANTIC_HOP))
    return list(ids.split(steps)) if len(ids) else []


def as_predicted(stage: Stage, ids: Tensor) -> np.ndarray:
    """The ids (S,) as the stage predicts them (n,): without repeats, where it removes them."""
    kept = ids.unique_consecutive() if stage.config.layout.remove_repeats else ids
    return kept.numpy()


def _batches(
    order: Sequence[int], seconds: Sequence[float], batch_seconds: float
) -> Iterator[list[int]]:
    """Cut `order` (shortest first) where padded batches would get too long."""
    batch: list[int] = []
    for index in order:
        full = (len(batch) + 1) * seconds[index] > batch_seconds or len(batch) == BATCH_SEQUENCES
        if batch and full:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
