from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.data.batches import (
    CropSampler,
    length_batches,
    resident_batch,
    token_batch,
    waveform_batch,
)
from audiolm.data.corpus import Recording, open_corpus
from audiolm.data.store import pack
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import TokenFormat, TokenStore
from audiolm.errors import CorpusError

lists_of_lengths = st.lists(st.integers(0, 500), min_size=1, max_size=20).filter(any)

# Crops


@given(lists_of_lengths, st.integers(1, 300), st.integers(0, 1000), st.integers(0, 5))
def test_crops_lie_inside_their_recordings(lengths, crop, step, seed):
    for index, start in CropSampler(lengths, crop, 8, seed).draw(step):
        assert lengths[index] > 0
        assert 0 <= start <= max(0, lengths[index] - crop)


def test_a_step_is_the_same_whenever_it_is_drawn():
    lengths = [100, 2000, 30, 500]
    steady = CropSampler(lengths, 64, 4, seed=3)
    one_after_the_other = [steady.draw(step) for step in range(40)]
    resumed = CropSampler(lengths, 64, 4, seed=3)
    assert [resumed.draw(step) for step in reversed(range(40))] == one_after_the_other[::-1]


def test_seeds_ranks_and_steps_draw_differently():
    lengths = [10_000] * 50
    draws = [
        CropSampler(lengths, 100, 4, seed, rank, world=2).draw(step)
        for seed in (0, 1)
        for rank in (0, 1)
        for step in (0, 1)
    ]
    assert len({str(draw) for draw in draws}) == len(draws)


def test_the_global_generators_are_left_alone():
    np.random.seed(0)
    torch.manual_seed(0)
    expected = np.random.random(), torch.rand(1)
    np.random.seed(0)
    torch.manual_seed(0)
    CropSampler([100] * 5, 10, 4, 0).draw(0)
    assert (np.random.random(), torch.rand(1)) == expected


@pytest.mark.parametrize("world", [1, 3])
def test_an_epoch_passes_once_over_the_corpus(world):
    """Of a recording of n crops, n crops are drawn in an epoch, by all ranks together."""
    crop, lengths = 50, [50 * n for n in (1, 2, 3, 12, 30)]
    samplers = [CropSampler(lengths, crop, 2, 0, rank, world) for rank in range(world)]
    steps = samplers[0].steps_per_epoch
    assert steps == 48 / (2 * world) == int(steps)
    counts = Counter(
        index for step in range(int(steps)) for one in samplers for index, _ in one.draw(step)
    )
    assert counts == {0: 1, 1: 2, 2: 3, 3: 12, 4: 30}


def test_recordings_are_drawn_in_proportion_to_their_length():
    lengths = np.array([7, 33, 260, 700, 0])
    sampler = CropSampler(lengths, 100, 10, 1)
    draws = [draw for step in range(1000) for draw in sampler.draw(step)]
    counts = np.bincount([index for index, _ in draws], minlength=5)
    np.testing.assert_allclose(counts / counts.sum(), lengths / 1000, atol=0.01)


def test_every_start_of_a_recording_is_about_equally_likely():
    sampler = CropSampler([10, 29, 5], 10, 20, 2)
    draws = [draw for step in range(1000) for draw in sampler.draw(step)]
    assert {start for index, start in draws if index != 1} == {0}
    starts = np.bincount([start for index, start in draws if index == 1], minlength=20)
    assert len(starts) == 20
    np.testing.assert_allclose(starts / starts.sum(), 1 / 20, rtol=0.2)


def test_one_short_recording_is_enough():
    assert CropSampler([3], 100, 4, 0).draw(7) == [(0, 0)] * 4


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_nothing_to_draw_from(lengths):
    with pytest.raises(CorpusError, match="no recording is left"):
        CropSampler(lengths, 10, 4, 0)


def test_a_huge_corpus_costs_no_memory():
    sampler = CropSampler([10**9] * 1000, 16_000, 4, 0)
    assert sampler.pieces == 2**20
    assert len({index for step in range(50) for index, _ in sampler.draw(step)}) > 100


# Batches of waveforms


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batches")
    for number, size in enumerate((100, 1000, 3000)):
        samples = np.random.default_rng(number).uniform(-0.9, 0.9, size)
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
    return pack(open_corpus(folder).recordings, folder / "pack")


DRAWS = [(2, 500), (0, 0), (1, 950), (2, 2999), (1, 0)]


def test_waveform_batch(store):
    waveform, lengths = waveform_batch(store, DRAWS, 800)
    assert waveform.shape == (5, 800) and waveform.dtype == torch.float32
    assert lengths.tolist() == [800, 100, 50, 1, 800]
    for row, (index, start), length in zip(waveform, DRAWS, lengths, strict=True):
        whole = store.crop(index, 0, store.length(index))
        np.testing.assert_array_equal(row[:length], whole[start : start + length])
        assert not row[length:].any()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_resident_batch_is_the_same(store, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU here")
    expected, expected_lengths = waveform_batch(store, DRAWS, 800)
    waveform, lengths = resident_batch(store.as_tensor(device), store, DRAWS, 800)
    assert waveform.device.type == lengths.device.type == device
    torch.testing.assert_close(waveform.cpu(), expected, rtol=0, atol=0)
    assert lengths.tolist() == expected_lengths.tolist()


# Batches of tokens


def token_store(folder, codec="c", semantic="s"):
    rng = np.random.default_rng(0)
    steps = [4, 10, 7]
    recordings = [Recording(f"{i}", folder / f"{i}.wav", s / 25) for i, s in enumerate(steps)]
    format = TokenFormat(
        codec_fingerprint=codec, semantic_fingerprint=semantic, levels=2, clusters=9
    )
    writer = TokenWriter(folder, recordings, format)
    ids = [rng.integers(0, 9, s) for s in steps] if semantic else None
    codes = [rng.integers(0, 1024, (2, 2 * s - s % 2)) for s in steps] if codec else None
    writer.write(0, ids, codes)
    writer.finish()
    return TokenStore(folder)


def test_token_batch(tmp_path):
    store = token_store(tmp_path)
    batch = token_batch(store, [(1, 2), (2, 1), (0, 0), (2, 5)], 6)
    assert batch.semantic.shape == (4, 6) and batch.codes.shape == (4, 2, 12)
    assert batch.ended.tolist() == [False, True, True, True]
    assert (batch.semantic >= 0).sum(1).tolist() == [6, 6, 4, 2]
    assert (batch.codes[:, 0] >= 0).sum(1).tolist() == [12, 11, 8, 3]
    torch.testing.assert_close(batch.semantic[0], store.semantic(1)[2:8])
    torch.testing.assert_close(batch.codes[0], store.codes(1)[:, 4:16])


def test_token_batch_of_one_part_only(tmp_path):
    only_codes = token_batch(token_store(tmp_path / "c", semantic=""), [(0, 0)], 6)
    assert only_codes.semantic is None and only_codes.codes.shape == (1, 2, 12)
    only_semantic = token_batch(token_store(tmp_path / "s", codec=""), [(0, 0)], 6)
    assert only_semantic.codes is None and only_semantic.semantic.shape == (1, 6)


# Batches of similar length


@settings(max_examples=200)
@given(st.lists(st.integers(1, 100), max_size=40), st.integers(1, 400))
def test_length_batches_hold_everything_once_and_not_too_much(lengths, max_total):
    batches = length_batches(lengths, max_total)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or len(batch) * longest <= max_total


def test_length_batches_put_like_to_like():
    assert length_batches([5, 100, 6, 98, 5], 200) == [[1, 3], [2, 0, 4]]
