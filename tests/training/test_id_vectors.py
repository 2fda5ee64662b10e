"""First weights by what ids stand for: two ids that stand for the same sound begin as one."""

import pytest
import torch

from audiolm.stages import Stage, Streams
from audiolm.stages.streams import MASK
from audiolm.training.id_vectors import code_vectors, of_one_size, start_from_vectors
from stages.tiny_stages import KINDS, random_streams, tiny, tiny_parallel
from tiny import tiny_model

ONE, SAME, OTHER = 1, 3, 2
"""Ids of every kind: the first two stand for the same, the third for something else."""
STAGES = [*KINDS, ("semantic", "fill in the middle"), ("parallel", "aligned")]


def vectors_of(kind: int) -> torch.Tensor:
    vectors = torch.randn(6 if kind == 0 else 5, 8, generator=torch.Generator().manual_seed(kind))
    vectors[SAME] = vectors[ONE]
    return vectors


def stage_of(kind: str, conditioning: str) -> Stage:
    if kind == "parallel":
        return tiny_parallel()
    if conditioning == "fill in the middle":
        return tiny(kind, fill_in_the_middle=True, remove_repeats=False)
    return tiny(kind, conditioning)


def exchanged(streams: Streams, one: int, other: int) -> Streams:
    """Two ids in each other's place, wherever there are ids."""

    def of(ids: torch.Tensor) -> torch.Tensor:
        return torch.where(ids == one, other, torch.where(ids == other, one, ids))

    return Streams(of(streams.semantic), of(streams.codes), streams.ended)


@pytest.mark.parametrize(("kind", "conditioning"), STAGES)
def test_a_stage_cannot_tell_two_ids_that_stand_for_the_same(kind, conditioning) -> None:
    stage = stage_of(kind, conditioning)
    streams = random_streams(3, 12, ended=torch.tensor([True, False, True]))
    same, other = exchanged(streams, ONE, SAME), exchanged(streams, ONE, OTHER)
    said = stage.log_likelihood(streams).per_token
    assert not torch.allclose(said, stage.log_likelihood(same).per_token, atol=1e-3)
    start_from_vectors(stage, vectors_of, 0)
    with torch.no_grad():  # or there would be little to be told
        for _, _, rows in stage.rows_by_id():
            rows.mul_(20)
    said = stage.log_likelihood(streams).per_token
    torch.testing.assert_close(said, stage.log_likelihood(same).per_token)
    assert not torch.allclose(said, stage.log_likelihood(other).per_token, atol=1e-3)


@pytest.mark.parametrize(("kind", "conditioning"), STAGES)
def test_what_is_no_id_stays_as_it_was(kind, conditioning) -> None:
    stage = stage_of(kind, conditioning)
    before = {name: weight.clone() for name, weight in stage.state_dict().items()}
    with torch.no_grad():
        for of, _, rows in stage.rows_by_id():
            assert rows.shape[0] == (6 if of == 0 else 5)
            rows.fill_(7.0)
    kept = 0
    for name, weight in stage.state_dict().items():
        rest = ~(weight == 7.0).all(-1)  # rows that nobody has touched
        assert torch.equal(weight[rest], before[name][rest])
        kept += int(rest.sum()) if "embedding" in name else 0
    # START and END, and a separator where there is one; the masks of two levels.
    assert kept == (3 if conditioning == "fill in the middle" else 2)


def test_rows_are_as_large_as_random_ones_and_as_near_as_the_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = 30 + 5 * torch.randn(5, 8, generator=generator)
    stage = tiny("acoustic_only")
    start_from_vectors(stage, lambda kind: vectors, 0)
    for _, _, rows in stage.rows_by_id():
        assert 0.012 < rows.std() < 0.03
        near, far = torch.cdist(rows, rows), torch.cdist(vectors, vectors)
        upper = torch.triu_indices(5, 5, 1).unbind()
        assert torch.corrcoef(torch.stack([near[upper], far[upper]]))[0, 1] > 0.7


def test_one_seed_gives_one_start() -> None:
    first, again, another = (tiny("coarse", "aligned") for _ in range(3))
    start_from_vectors(first, vectors_of, 1)
    start_from_vectors(again, vectors_of, 1)
    start_from_vectors(another, vectors_of, 2)
    heads = [stage.transformer.heads for stage in (first, again, another)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_ids_ahead_are_told_from_those_of_now() -> None:
    stage = tiny("coarse", "aligned")
    start_from_vectors(stage, vectors_of, 0)
    now, ahead = (rows for kind, place, rows in stage.rows_by_id() if kind == 0 and place)
    assert not torch.allclose(now, ahead)


def test_vectors_are_centred_and_of_one_size() -> None:
    vectors = of_one_size(3 + torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
    assert vectors.mean(0).abs().max() < 1e-5
    assert vectors.square().sum(1).mean() == pytest.approx(1)
    assert of_one_size(torch.ones(3, 2)).abs().max() == 0  # all the same: nothing to tell


def test_a_code_stands_for_what_its_level_adds() -> None:
    codec = tiny_model(kinds=("coarse",)).codec
    for level in (1, 3):
        found = code_vectors(codec, level)
        codebook = codec.quantizer.codebooks[level - 1]
        torch.testing.assert_close(found - found.mean(0), codebook - codebook.mean(0))


def test_a_mask_is_no_code() -> None:
    """All is masked: the likelihoods are of the mask's own rows, whatever the ids' are."""
    stage = tiny_parallel()
    codes = torch.full((1, 2, 4), MASK)
    semantic = torch.full((1, 2), -1)
    before = stage.transformer(codes, semantic)
    start_from_vectors(stage, vectors_of, 0)
    assert torch.equal(before, stage.transformer(codes, semantic))
