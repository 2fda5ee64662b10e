"""Crops with their far side first: how they are cut, what a stage makes of them."""

import pytest
import torch
from tiny_stages import CLUSTERS, tiny

from audiolm.errors import AudioLMError
from audiolm.stages import Sampling, Streams
from audiolm.stages.far_side import far_side_first
from audiolm.stages.streams import PAD


def batch(rows, steps, seed=0):
    return torch.randint(CLUSTERS, (rows, steps), generator=generator(seed))


def generator(seed):
    return torch.Generator().manual_seed(seed)


def test_rows_are_cut_at_points_drawn_evenly_and_nothing_is_lost():
    ids = batch(2000, 9)
    ids[:, 6:] = PAD
    ids[:500, 1:] = PAD
    cut = far_side_first(Streams(ids), 0.4, generator(1))
    assert torch.equal(torch.where(cut.far == PAD, cut.semantic, cut.far), ids)
    assert ((cut.far == PAD) | (cut.semantic == PAD)).all()
    two_sided = (cut.far != PAD).any(1)
    assert not two_sided[:500].any()  # a single id cannot be cut
    assert two_sided[500:].float().mean() == pytest.approx(0.4, abs=0.04)
    near = (cut.semantic != PAD).sum(1)[two_sided]
    assert torch.bincount(near, minlength=6)[1:].min() > 600 / 5 / 2
    assert near.min() == 1 and near.max() == 5
    for row in two_sided.nonzero().squeeze(1)[:20].tolist():  # the near side comes first in time
        last = (cut.semantic[row] != PAD).nonzero().max()
        assert (cut.far[row] != PAD).nonzero().min() == last + 1


def test_the_ends_share_of_rows_and_the_same_draws_again():
    ids = batch(50, 7)
    assert (far_side_first(Streams(ids), 0.0, generator(0)).far == PAD).all()
    every = far_side_first(Streams(ids), 1.0, generator(0))
    assert (every.far != PAD).any(1).all()
    assert torch.equal(far_side_first(Streams(ids), 1.0, generator(0)).far, every.far)


def test_a_far_side_changes_what_is_likely_and_ordinary_rows_ignore_that_there_can_be_one():
    stage = tiny("semantic", fill_in_the_middle=True, remove_repeats=False)
    near, far = batch(3, 8), batch(3, 5, 1)
    alone = stage.log_likelihood(Streams(near))
    both = stage.log_likelihood(Streams(near, far=far))
    assert (both.predicted.sum(1) == 13).all() and (alone.predicted.sum(1) == 8).all()
    none = stage.log_likelihood(Streams(near, far=torch.full_like(far, PAD)))
    assert torch.equal(none.total, alone.total)
    # Without its near side a row is what its far side alone is.
    first = stage.log_likelihood(Streams(far)).per_token[:, :5]
    assert torch.allclose(both.per_token[:, :5], first, atol=1e-5)
    other = stage.log_likelihood(Streams(near, far=batch(3, 5, 2)))
    assert not torch.allclose(both.per_token[:, 6:14], other.per_token[:, 6:14], atol=1e-2)


@pytest.mark.parametrize("remove_repeats", [False, True])
def test_the_middle_is_what_a_slow_loop_finds_likeliest(remove_repeats):
    stage = tiny("semantic", fill_in_the_middle=True, remove_repeats=remove_repeats)
    stage.decoding_weights = torch.float32  # as the network that judges
    near = torch.tensor([[1, 2, 0], [4, 3, 5], [0, 1, 0], [2, 4, 2], [5, 3, 1], [3, 0, 4]])
    far = torch.tensor([[0, 1, 2, 3, 4], [5, 4, 3, 2, 1]] * 3)
    ended = torch.tensor([True] * 6)
    settings = {"steps": 4, "sampling": Sampling(temperature=0), "generator": generator(0)}
    made = stage.generate(Streams(near, ended=ended, far=far), **settings)
    turned = stage.generate(Streams(near, ended=ended, far=far.flip(1)), **settings)
    assert not torch.equal(made.semantic, turned.semantic)
    for row in range(6):
        said = near[row].tolist()
        for left in range(4, 0, -1):
            best, found = None, None
            for id in range(CLUSTERS):
                if remove_repeats and id == said[-1]:
                    continue
                # What comes then does not matter, but for how much of it there is.
                rest = [(id + n) % CLUSTERS for n in range(1, left)]
                tried = torch.tensor([[*said, id, *rest]])
                judged = stage.log_likelihood(
                    Streams(tried, ended=ended[:1], far=far[row : row + 1])
                ).per_token[0]
                # START, five ids of the far side, END, separator; then the near side.
                value = float(judged[7 + len(said)])
                if found is None or value > found:
                    best, found = id, value
            said.append(best)
        assert made.semantic[row].tolist() == said[3:]


def test_sides_that_are_longer_than_the_window_are_cut_away_from_the_gap():
    stage = tiny("semantic", fill_in_the_middle=True, remove_repeats=False, context_seconds=0.8)
    near, far = batch(1, 30), batch(1, 40, 1)
    settings = {"steps": 6, "sampling": Sampling(temperature=0)}

    def made(near, far, ended=None):
        given = Streams(near, far=far, ended=ended)
        return stage.generate(given, generator=generator(0), **settings).semantic

    whole = made(near, far, torch.tensor([True]))
    assert whole.shape == (1, 6)
    assert torch.equal(whole, made(near[:, -7:], far[:, :7]))  # 20 ids: 7, 6 and 7
    assert made(near[:, :0], far).shape == (1, 6)


def test_a_padded_far_side_is_refused_in_decoding():
    stage = tiny("semantic", fill_in_the_middle=True)
    far = torch.tensor([[1, PAD]])
    with pytest.raises(AudioLMError, match="padded"):
        stage.generate(
            Streams(batch(1, 3), far=far), steps=2, sampling=Sampling(), generator=generator(0)
        )


def test_a_stage_learns_to_join_both_sides():
    """Zeros, ones, twos: only the far side says when the ones begin."""
    torch.manual_seed(0)
    stage = tiny("semantic", fill_in_the_middle=True, remove_repeats=False)
    with torch.no_grad():
        for weight in stage.parameters():
            if weight.ndim > 1:
                weight.mul_(0.3)
    optimizer = torch.optim.AdamW(stage.parameters(), lr=1e-2)
    draws = generator(0)

    def rows(count):
        """Three ones between zeros and twos; after step 7 come none to three of them."""
        turn = torch.randint(4, 8, (count, 1), generator=draws)
        step = torch.arange(12)
        return (step >= turn).long() + (step >= turn + 3).long()

    stage.train()
    for _ in range(150):
        loss = stage(far_side_first(Streams(rows(32)), 0.7, draws)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    stage.eval()
    truth = rows(40)
    made = stage.generate(
        Streams(truth[:, :2], far=truth[:, 7:]),
        steps=5,
        sampling=Sampling(temperature=0),
        generator=draws,
    )
    right = (made.semantic == truth[:, 2:7]).float().mean()
    blind = stage.generate(
        Streams(truth[:, :2]), steps=5, sampling=Sampling(temperature=0), generator=draws
    )
    assert right > 0.95
    assert right > (blind.semantic == truth[:, 2:7]).float().mean() + 0.1
