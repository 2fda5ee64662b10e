"""Batched time warping against plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.evaluation.metrics import dtw
from reference.abx import token_distance, warp


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1), st.booleans())
def test_the_cost_of_a_path_equals_that_of_plain_loops(n, m, seed, ties):
    generator = np.random.default_rng(seed)
    tables = generator.random((n, m, 5))
    if ties:  # so that the preference among equal paths matters; eighths add without rounding
        tables = generator.integers(0, 3, (n, m, 5)) / 8
    lengths = generator.integers(1, [n, m], (5, 2), endpoint=True)
    lengths[0] = n, m
    found = dtw.warped(torch.from_numpy(tables), lengths)
    for pair, (rows, columns) in enumerate(lengths):
        expected = warp(tables[:rows, :columns, pair].tolist())
        assert found[pair].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("limit", ["CELLS", "NUMBERS"])
def test_many_pairs_of_many_lengths_equal_one_at_a_time(monkeypatch, limit):
    monkeypatch.setattr(dtw, limit, 300)  # so that groups are cut
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 20, 12)
    lengths[-1] = 9  # compared in tables of ten: one more than there are frames
    frames = generator.standard_normal((lengths.sum(), 4)).astype(np.float32)
    starts = np.cumsum(lengths) - lengths
    tokens = dtw.Segments(torch.from_numpy(frames), starts, lengths)
    pieces = np.split(frames, np.cumsum(lengths)[:-1])
    pairs = generator.integers(0, 12, (60, 2))
    seen = []
    found = dtw.pair_distances(tokens, pairs, seen.append)
    for (i, j), distance in zip(pairs, found, strict=True):
        expected = token_distance(pieces[i].astype(float), pieces[j].astype(float))
        # The arc cosine is steep at equal directions: float32 tells angles below 1e-4 apart badly.
        assert distance == pytest.approx(expected, abs=2e-4)
    assert seen == sorted(seen) and seen[-1] == 1


def test_only_the_direction_of_a_frame_counts():
    frames = torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    tokens = dtw.Segments(frames, range(4), [1, 1, 1, 1])
    found = dtw.pair_distances(tokens, np.array([[0, 1], [0, 2], [0, 3]]))
    np.testing.assert_allclose(found, [0, 0.5, 1], atol=1e-6)


def test_frames_of_zeros_are_far_from_all_but_their_like():
    tokens = dtw.Segments(torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 2.0]]), range(3), [1, 1, 1])
    found = dtw.pair_distances(tokens, np.array([[0, 1], [0, 2], [2, 0], [2, 2]]))
    np.testing.assert_allclose(found, [0, 1, 1, 0], atol=1e-6)


def test_repeating_frames_costs_nothing_but_length():
    frames = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    stretched = frames[[0, 0, 1, 1, 1]]
    tokens = dtw.Segments(torch.cat([frames, stretched]), [0, 2], [2, 5])
    assert dtw.pair_distances(tokens, np.array([[0, 1]]))[0] == pytest.approx(0, abs=1e-6)


def test_no_pairs_give_no_distances():
    tokens = dtw.Segments(torch.ones(1, 2), [0], [1])
    assert dtw.pair_distances(tokens, np.empty((0, 2), dtype=np.int64)).shape == (0,)


def test_a_path_is_divided_by_its_own_length():
    # The straight path costs 0 + 1 + 0 over 3 cells, the way round 0 + 0.25 * 2 + 0 over 4 or 5.
    table = torch.tensor([[0.0, 0.25, 0.9], [0.9, 1.0, 0.25], [0.9, 0.9, 0.0]])[:, :, None]
    assert dtw.warped(table, np.array([[3, 3]]))[0].item() == pytest.approx(0.5 / 4)


def test_tables_are_of_few_sizes_and_little_larger_than_needed():
    lengths = np.arange(1, 200)
    sizes = dtw.table_sizes(lengths)
    assert np.array_equal(sizes[:8], lengths[:8])
    assert sizes[8:17].tolist() == [10, 10, 12, 12, 14, 14, 16, 16, 20]
    assert (sizes >= lengths).all() and (sizes < 1.25 * lengths).all()
    assert len(set(sizes)) < 30
