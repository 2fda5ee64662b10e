"""Which utterances are measured."""

from collections import Counter

import pytest
from asking import utterance
from hypothesis import given
from hypothesis import strategies as st

from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import between, limited, spread_over_speakers

POOL = [utterance(f"{s}-{i}", s) for s, n in (("a", 7), ("b", 2), ("c", 5)) for i in range(n)]


@given(st.integers(1, 20), st.integers(0, 5))
def test_speakers_come_in_turn(count, seed):
    chosen = spread_over_speakers(POOL, count, seed)
    assert len(chosen) == min(count, 14)
    assert len({u.recording.id for u in chosen}) == len(chosen)
    assert [u.recording.id for u in chosen] == sorted(u.recording.id for u in chosen)
    counts = Counter(u.speaker for u in chosen)
    most = max(counts.values())
    have = {"a": 7, "b": 2, "c": 5}
    assert all(counts[s] >= min(most - 1, have[s]) for s in have)


@given(st.integers(1, 13), st.integers(0, 5))
def test_fewer_are_a_part_of_more(count, seed):
    fewer, more = (
        {u.recording.id for u in spread_over_speakers(POOL, n, seed)} for n in (count, count + 1)
    )
    assert fewer < more


def test_the_order_of_the_pool_does_not_matter_and_the_seed_does():
    assert spread_over_speakers(POOL[::-1], 5, 0) == spread_over_speakers(POOL, 5, 0)
    assert (
        len(
            {
                tuple(u.recording.id for u in spread_over_speakers(POOL, 5, seed))
                for seed in range(9)
            }
        )
        > 1
    )
    assert {spread_over_speakers(POOL, 1, seed)[0].speaker for seed in range(9)} == {"a", "b", "c"}
    assert len(spread_over_speakers(POOL, None, 0)) == 14


def test_lengths_are_inclusive():
    pool = [utterance(str(s), seconds=s) for s in (3.9, 4.0, 7.0, 10.0, 10.1)]
    assert [u.recording.seconds for u in between(pool, 4, 10)] == [4.0, 7.0, 10.0]
    assert len(between(pool, 4)) == 4


def test_no_recording_of_the_length_is_a_reason_to_skip():
    with pytest.raises(Skipped, match="no recording lasts 20 to 30 s"):
        between(POOL, 20, 30)
    with pytest.raises(Skipped, match="no recording lasts 20 s or more"):
        between(POOL, 20)
    with pytest.raises(Skipped) as skipped:
        between(POOL, 20, settings="content.shortest")
    assert "set content.shortest to other lengths (--set KEY=VALUE)" in skipped.value.remedy


def test_a_limit_takes_whole_groups_in_their_order():
    things = ["a1", "b1", "a2", "c1", "b2"]
    by_letter = [limited(things, lambda thing: thing[0], 2, seed) for seed in range(9)]
    for kept in by_letter:
        letters = {thing[0] for thing in kept}
        assert len(letters) == 2
        assert kept == [thing for thing in things if thing[0] in letters]
    assert len({tuple(kept) for kept in by_letter}) > 1
    assert limited(things, lambda thing: thing[0], 3, 0) == things
    assert limited(things, lambda thing: thing[0], None, 0) == things
