"""What the tests of training share: recordings opened once, and tokens made by rule."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm.data.corpus import Recording, open_corpus, split_validation
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import TokenFormat, TokenStore
from audiolm.training.distributed import World
from audiolm.training.recordings import Recordings
from training.toy import LEVELS, K, N

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def recordings(training_corpus, tmp_path_factory) -> tuple[Recordings, Recordings]:
    """`training_corpus`, packed: what is trained on, and what judges."""
    folder = tmp_path_factory.mktemp("packed")
    parts = split_validation(open_corpus(training_corpus), 0.2)
    train, validation = (
        Recordings.open(part, folder / name, CPU, World(), seed=5, quiet=True)
        for name, part in zip(("train", "validation"), parts, strict=True)
    )
    return train, validation


@pytest.fixture
def token_store(tmp_path) -> Callable[..., TokenStore]:
    """`token_store(steps, seed=0)`: tokens of recordings of so many semantic steps each.

    The semantic ids stay or go on by one, so that there is something to learn and repeats to
    remove; level 1 follows them, the other levels are drawn. `frames_less` of each recording's
    frames are missing at its end, 0 or 1.
    """

    def make(steps: Sequence[int], seed: int = 0, name: str = "tokens", frames_less: int = 0):
        draw = np.random.default_rng(seed)
        semantic = [np.cumsum(draw.random(count) < 0.7) % K for count in steps]
        codes = []
        for ids in semantic:
            frames = 2 * len(ids) - frames_less
            drawn = (N * draw.random((LEVELS, frames)) ** 2).astype(
                np.int64
            )  # small ids are likely
            drawn[0] = ids.repeat(2)[:frames]
            codes.append(drawn)
        rows = [
            Recording(f"{number}", Path(f"{number}.wav"), 0.04 * count)
            for number, count in enumerate(steps)
        ]
        format = TokenFormat(
            codec_fingerprint="c",
            semantic_fingerprint="s",
            levels=LEVELS,
            codebook_size=N,
            clusters=K,
            shard_size=3,
        )
        writer = TokenWriter(tmp_path / name, rows, format)
        for shard in writer.missing():
            members = writer.members(shard)
            writer.write(shard, [semantic[i] for i in members], [codes[i] for i in members])
        assert writer.finish()
        return TokenStore(tmp_path / name)

    return make
