"""No silence and no loop longer than in the training data, whatever the network would say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.stages import Sampling, Streams
from audiolm.stages.repetition import RepetitionGuard, RepetitionLimits
from stages.tiny_stages import CLUSTERS, tiny

ids = st.lists(st.integers(0, CLUSTERS - 1), max_size=25)


def too_long(said, limits):
    """Whether the end of what is said (a list of ids) is a longer stretch than allowed."""
    for period, longest in enumerate(limits.longest_loops, start=1):
        stretch = 0
        for now, before in zip(said[period:], said, strict=False):
            stretch = stretch + 1 if now == before else 0
        if stretch > max(longest, period):
            return True
    silence = 0
    for one in said:
        silence = silence + 1 if one in limits.silent_ids else 0
    return silence > limits.longest_silence


@settings(deadline=None, max_examples=60)
@given(ids, st.tuples(*[st.integers(0, 4)] * 3), st.sets(st.integers(0, CLUSTERS - 1)))
def test_what_is_forbidden_would_be_too_long(said, loops, silent):
    limits = RepetitionLimits(longest_loops=loops, silent_ids=tuple(silent), longest_silence=2)
    guard = RepetitionGuard(limits, CLUSTERS, torch.tensor([said], dtype=torch.long))
    forbidden = guard.forbidden()[0]  # (K,)
    assert forbidden.tolist() == [too_long([*said, one], limits) for one in range(CLUSTERS)]


@settings(deadline=None, max_examples=30)
@given(ids, ids)
def test_rows_do_not_know_each_other_and_repeats_may_be_left_out(one, other):
    limits = RepetitionLimits(longest_loops=(1, 2), silent_ids=(0, 1), longest_silence=3)
    length = min(len(one), len(other))
    rows = [one[:length], other[:length]]
    both = RepetitionGuard(limits, CLUSTERS, torch.tensor(rows, dtype=torch.long), True).forbidden()
    for row, forbidden in zip(rows, both, strict=True):
        without = [x for at, x in enumerate(row) if at == 0 or row[at - 1] != x]
        alone = RepetitionGuard(limits, CLUSTERS, torch.tensor([without], dtype=torch.long))
        assert torch.equal(alone.forbidden()[0], forbidden)


def with_limits(stage, limits):
    stage.config = stage.config.model_copy(update={"repetition": limits})
    return stage


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("context_seconds", [10.0, 0.32])
def test_a_stage_says_nothing_for_longer_than_its_data(temperature, context_seconds):
    """Also where windows end, and where the prompt had begun to be stuck."""
    limits = RepetitionLimits(longest_loops=(3, 2, 3), silent_ids=(0, 4), longest_silence=2)
    stage = tiny("semantic", context_seconds=context_seconds, remove_repeats=False, seed=3)
    prompt = Streams(torch.tensor([[1, 1, 1], [5, 0, 4]]))
    given_ = {"steps": 60, "sampling": Sampling(temperature=temperature)}

    def said(stage):
        draws = torch.Generator().manual_seed(0)
        made = stage.generate(prompt, generator=draws, **given_).semantic
        return [
            [*head, *row] for head, row in zip(prompt.semantic.tolist(), made.tolist(), strict=True)
        ]

    free = said(stage)
    assert any(too_long(row[:end], limits) for row in free for end in range(len(row) + 1))
    for row in said(with_limits(stage, limits)):
        assert len(row) == 63
        assert not any(too_long(row[:end], limits) for end in range(4, len(row) + 1))


def test_limits_that_are_not_reached_change_nothing():
    limits = RepetitionLimits(longest_loops=(1000,) * 50, silent_ids=(1,), longest_silence=1000)
    made = []
    for stage in (tiny("semantic"), with_limits(tiny("semantic"), limits)):
        draws = torch.Generator().manual_seed(0)
        prompt = Streams(torch.tensor([[1, 2]]))
        made.append(stage.generate(prompt, steps=40, sampling=Sampling(), generator=draws).semantic)
    assert torch.equal(*made)


def test_a_row_may_end_where_everything_else_is_forbidden():
    limits = RepetitionLimits(
        longest_loops=(1,), silent_ids=tuple(range(CLUSTERS)), longest_silence=2
    )
    stage = with_limits(tiny("semantic", remove_repeats=False), limits)
    made = stage.generate(
        Streams(torch.tensor([[1, 2]])),
        steps=9,
        sampling=Sampling(),
        generator=torch.Generator().manual_seed(0),
        until_end=True,
    )
    assert made.ended.tolist() == [True]
    assert made.semantic.shape[1] == 0
