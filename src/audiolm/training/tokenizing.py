"""The corpus as tokens on disk: every recording through the codec and the tokenizer, once."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from audiolm.codec import Codec
from audiolm.configuration import Configuration
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import TokenFormat, TokenStore
from audiolm.semantic import SemanticTokenizer
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP
from audiolm.training.distributed import World, wait
from audiolm.training.recordings import Recordings


class TokenizingConfig(Configuration):
    """How the corpus is tokenized."""

    batch_seconds: float = Field(default=240.0, gt=0)
    """Audio in one batch; longer recordings go alone."""
    shard_size: int = Field(default=256, gt=0)
    """Recordings in one file."""


def tokenize_corpus(
    codec: Codec,
    tokenizer: SemanticTokenizer,
    recordings: Recordings,
    folder: Path,
    config: TokenizingConfig,
    world: World,
    progress: Callable[[float], None],
) -> TokenStore:
    """Write the tokens that are still missing in `folder`, and open it.

    Raises:
        CorpusError: when the folder holds tokens that other parts made, or cannot be written.
    """
    codec, tokenizer = codec.eval(), tokenizer.eval()
    made_by = TokenFormat(
        codec_fingerprint=codec.fingerprint(),
        semantic_fingerprint=tokenizer.fingerprint(),
        levels=codec.levels,
        codebook_size=codec.codebook_size,
        clusters=tokenizer.clusters,
        shard_size=config.shard_size,
    )
    writer = TokenWriter(folder, recordings.store.recordings, made_by, world.rank, world.size)
    missing = writer.missing()
    for done, shard in enumerate(missing):
        members = writer.members(shard)
        semantic: dict[int, np.ndarray] = {}
        codes: dict[int, np.ndarray] = {}
        for indices in recordings.by_length(config.batch_seconds, among=members):
            tokens = _tokens(codec, tokenizer, recordings, indices, config.batch_seconds)
            for index, ids, frames in tokens:
                semantic[index], codes[index] = ids, frames
        writer.write(shard, [semantic[i] for i in members], [codes[i] for i in members])
        progress((done + 1) / len(missing))
    wait(world)
    if world.writes:
        writer.finish()
    wait(world)
    return TokenStore(folder)


@torch.inference_mode()
def _tokens(
    codec: Codec,
    tokenizer: SemanticTokenizer,
    recordings: Recordings,
    indices: Sequence[int],
    seconds: float,
) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Index, semantic ids (S,) and codes (Q, F) of each of a batch of whole recordings.

    Of a recording longer than `seconds` the codec hears that much at a time: an hour takes no more
    memory than minutes. (The tokenizer has windows of its own.)
    """
    waveform, lengths = recordings.whole(indices)  # (B, T), (B,)
    semantic = tokenizer.encode(waveform, lengths).cpu().numpy()  # (B, S)
    most = round(seconds * SAMPLE_RATE)
    if waveform.shape[1] <= most:
        codes = codec.encode(waveform).cpu().numpy()  # (B, Q, F)
    else:
        stream = codec.encoder_stream()
        chunks = [stream.push(chunk) for chunk in waveform.split(most, dim=1)]
        codes = torch.cat([*chunks, stream.flush()], dim=2).cpu().numpy()
    return [
        (index, ids[: -(-length // SEMANTIC_HOP)], frames[:, : -(-length // CODEC_HOP)])
        for index, ids, frames, length in zip(
            indices, semantic, codes, lengths.tolist(), strict=True
        )
    ]
