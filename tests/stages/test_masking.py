"""Training masks: what is hidden, and how much, whatever is drawn."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.stages.masking import MaskingConfig, cosine, draw_masks, rank
from audiolm.stages.streams import MASK, PAD


def batch(lengths, levels=3, seed=0):
    codes = torch.randint(5, (len(lengths), levels, max(lengths)), generator=generator(seed))
    for row, length in enumerate(lengths):
        codes[row, :, length:] = PAD
    return codes


def generator(seed):
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.integers(1, 4),
    st.integers(0, 2**32),
    st.floats(0, 0.99),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_masks_are_those_of_soundstorm(lengths, levels, seed, longest, no_prompt, both_sides):
    codes = batch(lengths, levels)
    config = MaskingConfig(longest_prompt=longest, no_prompt=no_prompt, both_sides=both_sides)
    masked = draw_masks(codes, config, generator(seed))
    hidden = masked.codes == MASK
    assert torch.equal(masked.codes.masked_fill(hidden, 0), codes.masked_fill(hidden, 0))
    for row, length in enumerate(lengths):
        level = int(masked.level[row])
        assert 0 <= level < levels
        asked = masked.asked[row]
        assert bool(asked.any()) and not bool(asked[length:].any())
        assert torch.equal(hidden[row, level], asked)
        assert not hidden[row, :level].any()  # coarser levels are known
        if level + 1 < levels:  # finer ones are hidden from the prompt's end to the far side
            gap = hidden[row, level + 1].nonzero().squeeze(1)
            assert torch.equal(gap, torch.arange(gap[0], gap[-1] + 1))
            assert (hidden[row, level + 1 :] == hidden[row, level + 1]).all()
            assert bool((~asked | hidden[row, level + 1]).all())
            assert gap[0] <= longest * length
            assert both_sides > 0 or gap[-1] == length - 1
            assert no_prompt < 1 or gap[0] == 0


def many(seed=0, **config):
    rows, frames = 4000, 50
    codes = torch.zeros(rows, 2, frames, dtype=torch.long)
    config = MaskingConfig(**config)
    return draw_masks(codes, config, generator(seed)), frames


def test_the_share_that_is_hidden_follows_the_cosine():
    masked, frames = many(no_prompt=1.0, both_sides=0.0)
    share = masked.asked.double().mean(1).sort().values
    assert float(share.mean()) == pytest.approx(2 / math.pi + 0.5 / frames, abs=0.01)
    for quantile in (0.1, 0.5, 0.9):  # of cos(pi / 2 * u), u even
        expected = cosine(1 - quantile) + 0.5 / frames
        assert float(share[int(quantile * len(share))]) == pytest.approx(expected, abs=0.03)
    # and lies anywhere
    assert masked.asked.double().mean(0).std() < 0.02


def test_levels_prompts_and_far_sides_come_as_often_as_is_asked():
    masked, frames = many(longest_prompt=0.5, no_prompt=0.25, both_sides=0.0)
    assert float(masked.level.double().mean()) == pytest.approx(0.5, abs=0.03)
    finer = (masked.codes[:, 1] == MASK)[masked.level == 0]  # all that is after the prompt
    prompts = frames - finer.sum(1)
    assert float((prompts == 0).double().mean()) == pytest.approx(0.25 + 0.75 / 25, abs=0.03)
    assert float(prompts[prompts > 0].double().mean()) == pytest.approx(12.5, abs=0.5)
    assert int(prompts.max()) < 25
    masked, _ = many(both_sides=0.4)
    finer = (masked.codes[:, 1] == MASK)[masked.level == 0]
    assert float((~finer[:, -1]).double().mean()) == pytest.approx(0.4, abs=0.03)


def test_one_seed_draws_the_same_and_no_generator_pytorchs_own():
    codes = batch([20, 30])
    one, other = (draw_masks(codes, MaskingConfig(), generator(3)) for _ in range(2))
    assert torch.equal(one.codes, other.codes)
    torch.manual_seed(5)
    first = draw_masks(codes, MaskingConfig())
    torch.manual_seed(5)
    assert torch.equal(first.codes, draw_masks(codes, MaskingConfig()).codes)


def test_rank_is_the_place_in_order():
    assert rank(torch.tensor([[0.5, -1.0, 2.0], [3.0, 2.0, 1.0]])).tolist() == [
        [1, 0, 2],
        [2, 1, 0],
    ]
