"""Ids and likelihoods in batches equal those of one recording at a time."""

import pytest
import torch
from layouts import record

from audiolm.audio.files import read
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.likelihood import (
    as_predicted,
    likelihoods,
    semantic_ids,
    semantic_stage,
    windows,
)
from audiolm.stages import Streams
from tiny import tiny_model

MODEL = tiny_model()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    paths = [folder / f"{n}.wav" for n in range(5)]
    for number, path in enumerate(paths):
        record(path, (0.9, 0.31, 1.3, 0.3, 0.7)[number], number)
    return paths


@pytest.mark.parametrize("batch_seconds", [0.1, 2.0, 100.0])
def test_ids_do_not_depend_on_the_batch(recordings, batch_seconds):
    shares = []
    found = semantic_ids(MODEL, recordings, batch_seconds, shares.append)
    for path, ids in zip(recordings, found, strict=True):
        alone = MODEL.semantic.encode(torch.from_numpy(read(path, 16_000).samples)[None])[0]
        assert torch.equal(ids, alone)
    assert shares == sorted(shares) and shares[-1] == 1


@pytest.mark.parametrize("batch_seconds", [0.1, 2.0, 100.0])
def test_likelihoods_do_not_depend_on_the_batch(recordings, batch_seconds):
    stage = semantic_stage(MODEL)
    ids = semantic_ids(MODEL, recordings, 100.0, lambda share: None)
    for row, found in zip(ids, likelihoods(stage, ids, batch_seconds), strict=True):
        alone = stage.log_likelihood(Streams(semantic=row[None]))
        assert found.nats == pytest.approx(alone.total.item(), rel=1e-4)
        assert found.tokens == len(as_predicted(stage, row)) == alone.predicted.sum()
        assert found.per_token == pytest.approx(found.nats / found.tokens)


def test_repeats_are_removed_as_the_stage_does():
    ids = torch.tensor([3, 3, 1, 1, 1, 3])
    assert as_predicted(semantic_stage(MODEL), ids).tolist() == [3, 1, 3]
    kept = tiny_model(kinds=("semantic",), remove_repeats=False)
    assert as_predicted(semantic_stage(kept), ids).tolist() == ids.tolist()


def test_long_recordings_are_read_in_pieces_of_the_stage_s_length():
    stage = semantic_stage(MODEL)
    steps = round(25 * stage.config.context_seconds)
    ids = torch.arange(2 * steps + 3)
    pieces = windows(stage, ids)
    assert [len(piece) for piece in pieces] == [steps, steps, 3]
    assert torch.equal(torch.cat(pieces), ids)
    assert windows(stage, ids[:0]) == []


def test_a_model_without_a_semantic_stage_is_skipped():
    with pytest.raises(Skipped, match="no semantic stage; train it"):
        semantic_stage(tiny_model(kinds=("acoustic_only",)))
