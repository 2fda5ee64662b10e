import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiolm.audio.files import read
from audiolm.data import store as store_module
from audiolm.data.corpus import open_corpus
from audiolm.data.store import DirectStore, WaveformStore, check, pack
from audiolm.data.waveforms import fingerprint
from audiolm.errors import CorpusError


@pytest.fixture
def recordings(corpus_folder):
    return open_corpus(corpus_folder(5, seconds=0.3)).recordings


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A packed and a direct store of the same three files of 16 kHz, and their samples."""
    folder = tmp_path_factory.mktemp("both")
    rng = np.random.default_rng(0)
    wholes = [rng.uniform(-0.9, 0.9, size).astype(np.float32) for size in (1, 700, 2000)]
    for number, samples in enumerate(wholes):
        soundfile.write(folder / f"{number}.wav", samples, 16_000)
    recordings = open_corpus(folder).recordings
    wholes = [read(recording.path).samples for recording in recordings]
    return pack(recordings, folder / "pack"), DirectStore(recordings), wholes


@given(st.integers(0, 2), st.integers(0, 2500), st.integers(1, 3000), st.booleans())
def test_a_crop_is_a_slice_and_then_zeros(both, index, start, samples, direct):
    store, whole = both[1 if direct else 0], both[2][index]
    expected = np.zeros(samples, dtype=np.float32)
    there = whole[start : start + samples]
    expected[: len(there)] = there
    crop = store.crop(index, start, samples)
    assert crop.dtype == np.float32
    np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize("which", [0, 1])
def test_lengths(both, which):
    store = both[which]
    assert len(store) == 3
    assert store.lengths.tolist() == [store.length(i) for i in range(3)] == [1, 700, 2000]


@pytest.mark.parametrize("which", [0, 1])
def test_a_crop_before_the_recording(both, which):
    with pytest.raises(ValueError, match="cannot start at -1"):
        both[which].crop(1, -1, 10)


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 44_100])
def test_both_stores_agree_on_recordings_of_other_rates(tmp_path, speech_like, sample_rate):
    path = tmp_path / "a.flac"
    soundfile.write(path, speech_like(0.7, sample_rate=sample_rate), sample_rate)
    recordings = open_corpus(tmp_path).recordings
    packed, direct = pack(recordings, tmp_path / "pack"), DirectStore(recordings)
    assert packed.length(0) == pytest.approx(11_200, abs=1)
    assert direct.length(0) == pytest.approx(11_200, abs=1)
    for start in (0, 3333, 9000):
        a, b = packed.crop(0, start, 4000), direct.crop(0, start, 4000)
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_as_tensor_holds_every_recording_at_its_offset(both):
    packed, _, wholes = both
    samples = packed.as_tensor()
    assert samples.dtype == torch.int16
    for offset, whole in zip(packed.offsets, wholes, strict=True):
        piece = samples[offset : offset + len(whole)].float() / 32768
        np.testing.assert_array_equal(piece.numpy(), whole)


def test_sent_to_another_process_it_is_small_and_the_same(both):
    sent = pickle.dumps(both[0])
    again = pickle.loads(sent)
    assert len(sent) < 2000 < both[0].lengths.sum() * 2
    np.testing.assert_array_equal(again.crop(2, 100, 50), both[0].crop(2, 100, 50))


def test_progress_counts_all(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "CHUNK", 2)
    seen = []
    pack(recordings, tmp_path / "pack", threads=2, progress=lambda *counts: seen.append(counts))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_a_current_pack_is_opened_and_not_made_again(recordings, tmp_path, monkeypatch):
    pack(recordings, tmp_path / "pack")
    monkeypatch.setattr(store_module, "read", None)
    assert len(pack(recordings, tmp_path / "pack")) == 5


def test_unreadable_recordings_are_left_out_and_reported(recordings, tmp_path):
    whole = recordings[1].path.read_bytes()
    recordings[1].path.write_bytes(whole[: len(whole) // 2])
    recordings[3].path.unlink()
    store = pack(recordings, tmp_path / "pack")
    assert [r.id for r in store.recordings] == [recordings[i].id for i in (0, 2, 4)]
    assert [path for path, _ in store.skipped] == [recordings[1].path, recordings[3].path]
    assert "cut off" in store.skipped[0][1] and "no such file" in store.skipped[1][1]
    for index, recording in enumerate(store.recordings):
        crop = store.crop(index, 0, store.length(index))
        np.testing.assert_array_equal(crop, read(recording.path).samples)


def test_checked_recordings_are_those_that_packing_keeps(recordings, tmp_path):
    whole = recordings[1].path.read_bytes()
    recordings[1].path.write_bytes(whole[: len(whole) // 2])
    recordings[3].path.unlink()
    packed = pack(recordings, tmp_path / "pack")
    seen = []
    checked = check(recordings, tmp_path / "check", progress=lambda *counts: seen.append(counts))
    assert checked.recordings == packed.recordings
    assert checked.skipped == packed.skipped != []
    assert checked.lengths.tolist() == packed.lengths.tolist()
    assert seen[-1] == (5, 5)
    stored = sum(path.stat().st_size for path in (tmp_path / "check").rglob("*"))
    assert stored < 5_000  # no samples


def test_what_is_checked_is_not_decoded_again(recordings, tmp_path, monkeypatch):
    check(recordings, tmp_path / "one")
    pack(recordings, tmp_path / "two")
    monkeypatch.setattr(store_module, "read", None)
    assert len(check(recordings, tmp_path / "one")) == 5
    assert len(check(recordings, tmp_path / "two")) == 5  # packing has decoded them all


def test_what_is_checked_can_still_be_packed_and_the_other_way_round(recordings, tmp_path):
    check(recordings, tmp_path)
    packed = pack(recordings, tmp_path)
    np.testing.assert_array_equal(
        packed.crop(0, 0, packed.length(0)), read(recordings[0].path).samples
    )
    recordings[1].path.write_bytes(recordings[0].path.read_bytes())
    assert check(recordings, tmp_path).length(1) == packed.length(0)  # whatever its header said
    with pytest.raises(CorpusError, match=r"samples\.int16: is missing or cut off"):
        WaveformStore(tmp_path, recordings)


def test_packing_does_not_go_on_from_what_was_only_checked(recordings, tmp_path, monkeypatch):
    """Its chunks hold no samples."""
    monkeypatch.setattr(store_module, "CHUNK", 1)

    def killed(done, _):
        if done == 3:
            raise KilledError

    with pytest.raises(KilledError):
        check(recordings, tmp_path, threads=1, progress=killed)
    packed = pack(recordings, tmp_path)
    for index, recording in enumerate(recordings):
        crop = packed.crop(index, 0, packed.length(index))
        np.testing.assert_array_equal(crop, read(recording.path).samples)
    assert not list(tmp_path.glob("checking-*"))


@pytest.mark.parametrize("left", [b"", b"\0\0", b"[]", b"{}", b'{"kept": [0]}'])
def test_chunks_that_lost_what_was_written_are_decoded_again(
    recordings, tmp_path, monkeypatch, left
):
    """As a machine without power leaves them: there, and empty."""
    monkeypatch.setattr(store_module, "CHUNK", 1)

    def killed(done, _):
        if done == 3:
            raise KilledError

    with pytest.raises(KilledError):
        pack(recordings, tmp_path, threads=1, progress=killed)
    chunks = sorted(tmp_path.glob("building-*/chunk-*.json"))
    assert len(chunks) >= 3
    chunks[1].write_bytes(left)
    store = pack(recordings, tmp_path)
    assert len(store) == 5
    for index, recording in enumerate(store.recordings):
        crop = store.crop(index, 0, store.length(index))
        np.testing.assert_array_equal(crop, read(recording.path).samples)


@pytest.mark.parametrize("size", [0, 100])
def test_samples_that_were_lost_are_decoded_again(recordings, tmp_path, monkeypatch, size):
    monkeypatch.setattr(store_module, "CHUNK", 1)

    def killed(done, _):
        if done == 3:
            raise KilledError

    with pytest.raises(KilledError):
        pack(recordings, tmp_path, threads=1, progress=killed)
    (samples,) = tmp_path.glob("building-*/samples.int16")
    whole = samples.stat().st_size
    os.truncate(samples, size)
    os.truncate(samples, whole)  # zeros
    store = pack(recordings, tmp_path)
    for index, recording in enumerate(store.recordings):
        crop = store.crop(index, 0, store.length(index))
        np.testing.assert_array_equal(crop, read(recording.path).samples)


@pytest.mark.parametrize("left", [b"", b"\0\0", b"[]", b"{}"])
def test_an_index_found_empty_is_made_anew(recordings, tmp_path, left):
    pack(recordings, tmp_path)
    (tmp_path / "index.json").write_bytes(left)
    assert len(pack(recordings, tmp_path)) == 5


def test_a_recording_is_as_long_as_what_is_decoded_of_it(recordings, tmp_path):
    """Whatever its header says: packs and checks agree, and no sample is cut off."""
    wrong = [replace(recording, seconds=0.1) for recording in recordings]
    wrong[2] = replace(wrong[2], seconds=1e12)
    packed, checked = pack(wrong, tmp_path / "pack"), check(wrong, tmp_path / "check")
    for index, recording in enumerate(recordings):
        whole = read(recording.path).samples
        assert packed.length(index) == checked.length(index) == len(whole)
        np.testing.assert_array_equal(packed.crop(index, 0, len(whole)), whole)
        np.testing.assert_array_equal(checked.crop(index, 0, len(whole)), whole)


def test_the_fingerprint_is_of_what_is_in_the_recordings(recordings, tmp_path):
    def print_of(make, name):
        return fingerprint(make(recordings, tmp_path / name))

    before = print_of(pack, "one")
    assert print_of(check, "two") == before
    os.utime(recordings[0].path)  # copied or touched
    assert print_of(pack, "one") == before
    samples, rate = soundfile.read(recordings[0].path)
    stat = recordings[0].path.stat()
    soundfile.write(recordings[0].path, -samples, rate, subtype="PCM_16")  # as long, as large
    assert recordings[0].path.stat().st_size == stat.st_size
    assert print_of(pack, "one") != before
    assert print_of(check, "two") == print_of(pack, "one")


@pytest.mark.parametrize("make", [pack, check])
def test_a_store_without_some_of_its_recordings(recordings, tmp_path, make):
    store = make(recordings, tmp_path)
    some = store.without({1, 3})
    assert [r.id for r in some.recordings] == [recordings[i].id for i in (0, 2, 4)]
    assert some.contents == [store.contents[i] for i in (0, 2, 4)]
    assert len(store) == 5
    for index, original in enumerate((0, 2, 4)):
        assert some.length(index) == store.length(original)
        crop = pickle.loads(pickle.dumps(some)).crop(index, 50, 1000)
        np.testing.assert_array_equal(crop, store.crop(original, 50, 1000))


def test_a_name_that_is_no_utf8(recordings, tmp_path):
    path = recordings[0].path.with_name(os.fsdecode(b"caf\xe9.wav"))
    recordings[0].path.rename(path)
    found = open_corpus(path.parent).recordings
    assert len(pack(found, tmp_path / "pack")) == 5


def test_nothing_that_can_be_packed(recordings, tmp_path):
    for recording in recordings:
        recording.path.write_text("no recording")
    with pytest.raises(CorpusError, match="no recording to keep; the first trouble is"):
        pack(recordings, tmp_path / "pack")
    with pytest.raises(CorpusError, match="no recording to keep"):
        pack([], tmp_path / "none")


def test_a_changed_file_or_list_is_packed_again(recordings, tmp_path):
    first = pack(recordings[:4], tmp_path / "pack")
    assert len(pack(recordings, tmp_path / "pack")) == 5
    recordings[0].path.write_bytes(recordings[4].path.read_bytes())
    with pytest.raises(CorpusError, match="pack of other recordings"):
        WaveformStore(tmp_path / "pack", recordings)
    longer = pack(recordings, tmp_path / "pack")
    assert longer.length(0) > first.length(0)
    assert sorted(path.name for path in (tmp_path / "pack").iterdir()) == [
        "index.json",
        "samples.int16",
    ]


class KilledError(BaseException):
    """Stands for what no handler sees, such as a kill."""


@pytest.mark.parametrize("survivors", [0, 1, 3])
def test_packing_goes_on_where_it_was_killed(recordings, tmp_path, monkeypatch, survivors):
    monkeypatch.setattr(store_module, "CHUNK", 1)
    decoded = []

    def killed_after_some(path, sample_rate):
        if len(decoded) == survivors:
            raise KilledError
        decoded.append(path)
        return read(path, sample_rate)

    monkeypatch.setattr(store_module, "read", killed_after_some)
    with pytest.raises(KilledError):
        pack(recordings, tmp_path / "pack", threads=1)
    with pytest.raises(CorpusError, match="holds no packed corpus; pack it first"):
        WaveformStore(tmp_path / "pack", recordings)

    def counted(path, sample_rate):
        decoded.append(path)
        return read(path, sample_rate)

    monkeypatch.setattr(store_module, "read", counted)
    store = pack(recordings, tmp_path / "pack", threads=1)
    assert sorted(decoded) == sorted(recording.path for recording in recordings)  # each once
    for index, recording in enumerate(recordings):
        crop = store.crop(index, 0, store.length(index))
        np.testing.assert_array_equal(crop, read(recording.path).samples)


def test_a_pack_that_was_cut_off_is_made_again(recordings, tmp_path):
    pack(recordings, tmp_path / "pack")
    os.truncate(tmp_path / "pack" / "samples.int16", 1000)
    with pytest.raises(CorpusError, match=r"samples\.int16: is missing or cut off"):
        WaveformStore(tmp_path / "pack", recordings)
    assert len(pack(recordings, tmp_path / "pack")) == 5


def test_another_version_is_packed_again(recordings, tmp_path):
    pack(recordings, tmp_path / "pack")
    index = tmp_path / "pack" / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "format_version": 99}))
    with pytest.raises(CorpusError, match=r"index\.json: was written by another version"):
        WaveformStore(tmp_path / "pack", recordings)
    assert len(pack(recordings, tmp_path / "pack")) == 5


def test_many_may_pack_at_once_and_one_does(recordings, tmp_path, monkeypatch):
    decoded = []

    def counted(path, sample_rate):
        decoded.append(path)
        return read(path, sample_rate)

    monkeypatch.setattr(store_module, "read", counted)
    with ThreadPoolExecutor(4) as pool:
        packs = [pool.submit(pack, recordings, tmp_path / "pack") for _ in range(4)]
    assert [len(one.result()) for one in packs] == [5, 5, 5, 5]
    assert len(decoded) == 5


def test_a_folder_that_cannot_be_written(recordings, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match=r"file: cannot be written .*choose a writable folder"):
        pack(recordings, tmp_path / "file")


def test_a_full_disk_is_an_error(recordings, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "_decode_chunk", full)
    with pytest.raises(CorpusError, match=r"cannot be written \(No space left"):
        pack(recordings, tmp_path / "pack")
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "pack")
    assert len(pack(recordings, tmp_path / "pack")) == 5
