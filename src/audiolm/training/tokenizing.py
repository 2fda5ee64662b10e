"""The corpus as tokens on disk: every recording through the codec and the tokenizer, once."""

from collections.abc import Callable, Sequence
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
from audiolm.semantic import SemanticTokenizer
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP, Codes, Lengths, Waveform
from audiolm.training.distributed import World, wait
from audiolm.training.recordings import Recordings


class TokenizingConfig(Configuration):
    """How the corpus is tokenized."""

    batch_seconds: float = Field(default=240.0, gt=0)
    """Audio in one batch; longer recordings go alone."""
    shard_size: int = Field(default=256, gt=0)
    """Recordings in one file."""
    speed_perturbation: tuple[Annotated[float, Field(ge=0.5, le=2.0)], ...] = ()
    """Training recordings are tokenized again at each of these speeds (1.1: a tenth faster and
    higher), as recordings of other voices; those for validation are not."""


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
    tokenizer = tokenizer.eval()
    made_by = TokenFormat(
        semantic_fingerprint=tokenizer.fingerprint(),
        clusters=tokenizer.clusters,
        shard_size=config.shard_size,
    )
    if codec is not None:
        codec = codec.eval()
        made_by = made_by.model_copy(
            update={
                "codec_fingerprint": codec.fingerprint(),
                "levels": codec.levels,
                "codebook_size": codec.codebook_size,
            }
        )
    writer = TokenWriter(
        folder,
        recordings.store.recordings,
        made_by,
        world.rank,
        world.size,
        recordings_fingerprint=recordings.fingerprint,
    )
    missing = writer.missing()
    for done, shard in enumerate(missing):
        members = writer.members(shard)
        semantic: dict[int, np.ndarray] = {}
        codes: dict[int, np.ndarray] = {}
        silent: dict[int, np.ndarray] = {}
        for indices in recordings.by_length(config.batch_seconds, among=members):
            waveform, lengths = recordings.whole(indices)  # (B, T), (B,)
            ids = tokenizer.encode(waveform, lengths)  # (B, S)
            semantic |= _rows(indices, ids, lengths, SEMANTIC_HOP)
            for index, row, length in zip(indices, waveform, lengths.tolist(), strict=True):
                silent[index] = silent_steps(row[:length].cpu().numpy())  # (S,)
            if codec is not None:
                frames = _encode(codec, waveform, config.batch_seconds)  # (B, Q, F)
                codes |= _rows(indices, frames, lengths, CODEC_HOP)
        writer.write(
            shard,
            [semantic[i] for i in members],
            None if codec is None else [codes[i] for i in members],
            [silent[i] for i in members],
        )
        progress((done + 1) / len(missing))
    wait(world)
    if world.writes:
        writer.finish()
    wait(world)
    return TokenStore(folder)


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
