"""The corpus as tokens on disk: every recording through the codec and the tokenizer, once.

`tokenize_corpus` is a step of the recipe: its processes train together, and wait for each other.
`write_shard` is what `audiolm tokenize` is made of: any part of a corpus, on any machine.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from audiolm.audio.silence import silent_steps
from audiolm.codec import Codec
from audiolm.configuration import Configuration
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import TokenFormat, TokenStore
from audiolm.data.whole import WholeReader
from audiolm.errors import CorpusError
from audiolm.semantic import SemanticTokenizer
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP, Codes, Lengths, Waveform
from audiolm.training.distributed import World, wait
from audiolm.training.recordings import Recordings

Batch = tuple[Sequence[int], Waveform, Lengths]
"""Which recordings, whole: (B, T) and how many samples of each are real (B,)."""


class TokenizingConfig(Configuration):
    """How the corpus is tokenized."""

    batch_seconds: float = Field(default=240.0, gt=0)
    """Audio in one batch; longer recordings go alone."""
    shard_size: int = Field(default=256, gt=0)
    """Recordings in one file."""
    speed_perturbation: tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...] = ()
    """Training recordings are tokenized again at each of these speeds (1.1: a tenth faster and
    higher), as recordings of other voices; those for validation are not."""
    store: str | None = None
    """A folder of tokens that `audiolm tokenize` made of the same recordings with the same codec
    and tokenizer: they are taken from there, and none are made."""


@dataclass(frozen=True)
class ShardTokens:
    """The tokens of one shard's recordings, in their order."""

    semantic: list[np.ndarray]
    """(S,) ids of each; S = 0 for one that could not be decoded."""
    codes: list[np.ndarray] | None
    """(Q, F) ids of each; None without a codec."""
    silent: list[np.ndarray]
    """(S,) bool of each: which semantic steps are silent."""


class ShardTokenizer:
    """A codec and a semantic tokenizer over the recordings of a shard.

    Args:
        codec: None for no codes.
        tokenizer: makes the semantic ids.
        config: how much at a time.
    """

    def __init__(
        self, codec: Codec | None, tokenizer: SemanticTokenizer, config: TokenizingConfig
    ) -> None:
        self.codec = None if codec is None else codec.eval()
        self.tokenizer = tokenizer.eval()
        self.config = config

    def format(self) -> TokenFormat:
        """What makes the tokens, and what ids there can be."""
        made_by = TokenFormat(
            semantic_fingerprint=self.tokenizer.fingerprint(),
            clusters=self.tokenizer.clusters,
            shard_size=self.config.shard_size,
        )
        if self.codec is None:
            return made_by
        return made_by.model_copy(
            update={
                "codec_fingerprint": self.codec.fingerprint(),
                "levels": self.codec.levels,
                "codebook_size": self.codec.codebook_size,
            }
        )

    def tokens(self, members: Sequence[int], batches: Iterable[Batch]) -> ShardTokens:
        """The tokens of the recordings `members`, which come in batches; others have none.

        A recording's tokens do not depend on the process: a shard comes in the same batches
        wherever it is made.
        """
        semantic: dict[int, np.ndarray] = {}
        codes: dict[int, np.ndarray] = {}
        silent: dict[int, np.ndarray] = {}
        for indices, waveform, lengths in batches:  # (B, T), (B,)
            ids = self.tokenizer.encode(waveform, lengths)  # (B, S)
            semantic |= _rows(indices, ids, lengths, SEMANTIC_HOP)
            for index, row, length in zip(indices, waveform, lengths.tolist(), strict=True):
                silent[index] = silent_steps(row[:length].cpu().numpy())  # (S,)
            if self.codec is not None:
                frames = _encode(self.codec, waveform, self.config.batch_seconds)  # (B, Q, F)
                codes |= _rows(indices, frames, lengths, CODEC_HOP)
        none = np.zeros(0, dtype=np.int64)
        no_codes = None if self.codec is None else np.zeros((self.codec.levels, 0), dtype=np.int64)
        return ShardTokens(
            [semantic.get(i, none) for i in members],
            None if no_codes is None else [codes.get(i, no_codes) for i in members],
            [silent.get(i, none.astype(bool)) for i in members],
        )


def tokenize_corpus(
    codec: Codec | None,
    tokenizer: SemanticTokenizer,
    recordings: Recordings,
    folder: Path,
    config: TokenizingConfig,
    world: World,
    progress: Callable[[float], None],
) -> TokenStore:
    """Write the tokens that are still missing in `folder`, and open it; without a codec no codes.

    Raises:
        CorpusError: when the folder holds tokens that other parts made, or of recordings that have
            changed since, or cannot be written.
    """
    parts = ShardTokenizer(codec, tokenizer, config)
    writer = TokenWriter(
        folder,
        recordings.store.recordings,
        parts.format(),
        world.rank,
        world.size,
        recordings_fingerprint=recordings.fingerprint,
    )
    missing = writer.missing()
    for done, shard in enumerate(missing):
        members = writer.members(shard)
        groups = recordings.by_length(config.batch_seconds, among=members)
        made = parts.tokens(members, ((some, *recordings.whole(some)) for some in groups))
        writer.write(shard, made.semantic, made.codes, made.silent)
        progress((done + 1) / len(missing))
    return _finished(writer, world)


def write_shard(
    parts: ShardTokenizer, writer: TokenWriter, shard: int, device: torch.device, threads: int
) -> list[str]:
    """Write one shard straight from the files of its recordings.

    No other process is waited for, and none is asked anything. A recording that cannot be decoded
    has no tokens, wherever it is met, so that the store becomes whole.

    Args:
        parts: what makes the tokens.
        writer: of the store, as `audiolm.data.shares.begin` gives it.
        shard: which one.
        device: where to compute.
        threads: recordings that are decoded at a time, while the ones before are computed with.

    Returns:
        Why recordings have no tokens.

    Raises:
        CorpusError: when the folder cannot be written.
    """
    members = writer.members(shard)
    recordings = [writer.recordings[index] for index in members]
    reader = WholeReader(recordings, parts.config.batch_seconds, threads)
    batches = (
        ([members[i] for i in batch.indices], batch.waveform.to(device), batch.lengths.to(device))
        for batch in reader
    )
    made = parts.tokens(members, batches)
    writer.write(shard, made.semantic, made.codes, made.silent)
    return reader.unreadable


def take_tokens(
    store: TokenStore, recordings: Recordings, folder: Path, config: TokenizingConfig, world: World
) -> TokenStore:
    """Write the tokens of these recordings, which a store of the whole corpus has already.

    Raises:
        CorpusError: when the store lacks one of them, or has tokens of another length for it; or
            the folder cannot be written, or holds other tokens.
    """
    rows = recordings.store.recordings
    places = {recording.id: index for index, recording in enumerate(store.recordings)}
    for index, one in enumerate(rows):
        steps = store.steps(places[one.id]) if one.id in places else 0
        if steps != -(-recordings.store.length(index) // SEMANTIC_HOP):
            raise CorpusError(
                f"{store.folder}: has {steps or 'no'} tokens of {one.id}, which lasts "
                f"{one.seconds:.2f} s; make the tokens of all recordings, without "
                "training.tokens.speed_perturbation"
            )
    writer = TokenWriter(
        folder,
        rows,
        store.format.model_copy(update={"shard_size": config.shard_size}),
        world.rank,
        world.size,
        recordings_fingerprint=recordings.fingerprint,
    )
    for shard in writer.missing():
        some = [places[rows[index].id] for index in writer.members(shard)]
        silent = [flags for flags in map(store.silent, some) if flags is not None]
        writer.write(
            shard,
            [store.semantic(place).numpy() for place in some],
            [store.codes(place).numpy() for place in some],
            silent if len(silent) == len(some) else None,
        )
    return _finished(writer, world)


def _finished(writer: TokenWriter, world: World) -> TokenStore:
    """The store, once every process has written its shards."""
    wait(world)
    if world.writes:
        writer.finish()
    wait(world)
    return TokenStore(writer.folder)


@torch.inference_mode()
def _encode(codec: Codec, waveform: Waveform, seconds: float) -> Codes:
    """Codes (B, Q, F) of a batch of whole recordings (B, T).

    Of a recording longer than `seconds` the codec hears that much at a time: an hour takes no more
    memory than minutes. (The tokenizer has windows of its own.)
    """
    most = round(seconds * SAMPLE_RATE)
    if waveform.shape[1] <= most:
        return codec.encode(waveform)
    stream = codec.encoder_stream()
    chunks = [stream.push(chunk) for chunk in waveform.split(most, dim=1)]
    return torch.cat([*chunks, stream.flush()], dim=2)


def _rows(
    indices: Sequence[int], tokens: Tensor, lengths: Lengths, hop: int
) -> dict[int, np.ndarray]:
    """The tokens (B, ..., n) of each recording without those of the padding, by index."""
    return {
        index: row[..., : -(-length // hop)]
        for index, row, length in zip(indices, tokens.cpu().numpy(), lengths.tolist(), strict=True)
    }
