"""Recordings as a task sees them: a function of the step, whole ones in groups, fixed ones."""

import numpy as np
import pytest
import torch

from audiolm.data.corpus import open_corpus
from audiolm.training.distributed import World
from audiolm.training.recordings import Recordings
from training.resuming import CPU


def reopened(recordings: Recordings, world: World | None = None, seed: int = 5) -> Recordings:
    """The same recordings, with no memory of what was drawn."""
    return Recordings(recordings.store, CPU, world or World(), seed)


def test_a_batch_depends_on_step_rank_and_seed_alone(recordings) -> None:
    one, other = reopened(recordings[0], World(0, 2)), reopened(recordings[0], World(1, 2))
    keys = [(0, 0), (0, 1), (3, 1), (3, 0)]
    first = {key: one.batch(*key, 4, 0.5)[0] for key in keys}
    again = {key: other.batch(*key, 4, 0.5)[0] for key in reversed(keys)}
    assert all(torch.equal(first[key], again[key]) for key in keys)
    for index, key in enumerate(keys):
        assert all(not torch.equal(first[key], first[before]) for before in keys[:index])
    assert not torch.equal(reopened(recordings[0], seed=6).batch(0, 0, 4, 0.5)[0], first[0, 0])


def test_a_batch_is_cut_from_the_recordings(recordings) -> None:
    waveform, lengths = recordings[0].batch(2, 0, 5, 0.25)
    assert waveform.shape == (5, 4000)
    assert lengths.tolist() == [4000] * 5
    store = recordings[0].store
    whole = [store.crop(i, 0, store.length(i)).tobytes() for i in range(len(store))]
    for row in waveform.numpy():
        assert any(row.tobytes() in recording for recording in whole)


def test_fixed_crops_are_the_middles_of_recordings_spread_over_all(recordings) -> None:
    one = recordings[0]
    waveform, lengths = one.fixed_batch(0.5, 4)
    assert torch.equal(waveform, one.fixed_batch(0.5, 4)[0])
    assert len(one) == 8
    for row, index in zip(waveform, [0, 2, 4, 6], strict=True):
        start = (one.store.length(index) - 8000) // 2
        assert np.array_equal(row.numpy(), one.store.crop(index, start, 8000))
    waveform, lengths = one.fixed_batch(100.0, 50)  # fewer recordings than asked, all of them short
    assert lengths.tolist() == [one.store.length(i) for i in range(8)]
    assert waveform.shape == (8, 1_600_000)


def test_recordings_spread_over_all_are_as_many_as_asked(recordings) -> None:
    assert recordings[0].spread(3) == [0, 2, 5]
    assert recordings[0].spread(7) == [0, 1, 2, 3, 4, 5, 6]
    assert recordings[0].spread(8) == recordings[0].spread(99) == list(range(8))


def test_groups_hold_every_recording_once_and_little_padding(recordings) -> None:
    one = recordings[0]
    groups = one.by_length(10.0)
    assert sorted(i for group in groups for i in group) == list(range(8))
    longest = [max(one.store.length(i) for i in group) for group in groups]
    assert all(most * len(group) <= 160_000 for most, group in zip(longest, groups, strict=True))
    assert longest == sorted(longest, reverse=True)
    assert one.by_length(0.1) == [[i] for group in groups for i in group]  # each goes alone
    assert sorted(i for group in one.by_length(10.0, among=[1, 5]) for i in group) == [1, 5]


def test_groups_of_a_share_of_the_hours_are_spread_over_the_corpus(recordings) -> None:
    one = recordings[0]
    chosen = sorted(i for group in one.by_length(10.0, hours=one.hours / 2) for i in group)
    assert chosen == [0, 2, 4, 6]
    assert one.by_length(10.0, hours=1e-9) == [[0]]  # never none
    assert one.hours == pytest.approx(sum(one.store.lengths) / 16_000 / 3600)


def test_whole_recordings_are_padded_to_the_longest(recordings) -> None:
    one = recordings[0]
    waveform, lengths = one.whole([3, 1])
    assert lengths.tolist() == [one.store.length(3), one.store.length(1)]
    assert waveform.shape == (2, int(lengths.max()))
    assert np.array_equal(waveform[0, : lengths[0]].numpy(), one.store.crop(3, 0, int(lengths[0])))
    assert not waveform[1, lengths[1] :].any()


def test_files_read_each_time_give_the_samples_of_the_pack(training_corpus, tmp_path) -> None:
    corpus = open_corpus(training_corpus)
    packed = Recordings.open(corpus, tmp_path / "a", CPU, World(), 0, quiet=True)
    direct = Recordings.open(corpus, tmp_path / "b", CPU, World(), 0, packed=False, quiet=True)
    assert not torch.equal(packed.batch(0, 0, 3, 0.5)[0], packed.batch(1, 0, 3, 0.5)[0])
    for step in range(3):
        one, other = packed.batch(step, 0, 3, 0.5), direct.batch(step, 0, 3, 0.5)
        assert torch.allclose(one[0], other[0], atol=1e-4)
        assert torch.equal(one[1], other[1])
