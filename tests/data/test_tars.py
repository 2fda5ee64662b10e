"""Recordings inside tar files are those that were put there."""

import gzip
import io
import json
import tarfile

import numpy as np
import pytest

from audiolm.audio.files import read
from audiolm.data.corpus import open_corpus
from audiolm.data.store import pack
from audiolm.data.tars import on_disk
from audiolm.data.whole import WholeReader
from audiolm.errors import AudioError, CorpusError


@pytest.fixture
def plain(corpus_folder):
    return corpus_folder(4, seconds=0.3)


def tarred(folder, names, tar, extra=None):
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar, "w") as file:
        for name in names:
            file.add(folder / name, name)
        for name, data in (extra or {}).items():
            head = tarfile.TarInfo(name)
            head.size = len(data)
            file.addfile(head, io.BytesIO(data))
    return tar


@pytest.fixture
def webdataset(plain, tmp_path):
    root = tmp_path / "tars"
    tarred(plain, ["000.wav", "002.wav"], root / "train-0.tar", {"000.json": b"{}"})
    tarred(plain, ["001.wav", "003.wav"], root / "dev-0.tar", {"003.cls": b"5"})
    return root


def test_members_are_recordings(webdataset, plain) -> None:
    corpus = open_corpus(webdataset)
    assert [(r.id, r.split) for r in corpus.recordings] == [
        ("dev-0.tar/001", "dev"),
        ("dev-0.tar/003", "dev"),
        ("train-0.tar/000", "train"),
        ("train-0.tar/002", "train"),
    ]
    for recording in corpus.recordings:
        original = read(plain / recording.path.name)
        assert recording.seconds == pytest.approx(original.seconds)
        with on_disk(recording.path) as file:
            np.testing.assert_array_equal(read(file).samples, original.samples)
            there = file
        assert not there.exists()  # nothing is left unpacked


def test_a_single_tar_is_a_corpus(webdataset) -> None:
    assert [r.id for r in open_corpus(webdataset / "dev-0.tar").recordings] == [
        "dev-0.tar/001",
        "dev-0.tar/003",
    ]


def test_headers_are_read_once(webdataset, tmp_path, monkeypatch) -> None:
    first = open_corpus(webdataset, tmp_path / "cache.jsonl")
    monkeypatch.setattr("audiolm.data.headers.info", None)
    assert open_corpus(webdataset, tmp_path / "cache.jsonl") == first


def test_a_pack_and_a_pass_over_the_files_hear_the_same(webdataset, plain, tmp_path) -> None:
    recordings = open_corpus(webdataset).recordings
    store = pack(recordings, tmp_path / "pack")
    seen = {}
    for batch in WholeReader(recordings, batch_seconds=0.8, threads=2):
        for place, index in enumerate(batch.indices):
            seen[index] = batch.waveform[place, : batch.lengths[place]].numpy()
            assert not batch.waveform[place, batch.lengths[place] :].any()
    assert sorted(seen) == [0, 1, 2, 3]
    for index, samples in seen.items():
        np.testing.assert_allclose(samples, store.crop(index, 0, store.length(index)), atol=1e-4)


def test_damage_is_named_by_the_member(webdataset, plain, tmp_path) -> None:
    (plain / "bad.wav").write_bytes((plain / "000.wav").read_bytes()[:100])
    tarred(plain, ["bad.wav"], webdataset / "x.tar")
    corpus = open_corpus(webdataset)
    ((path, reason),) = corpus.skipped
    assert path == webdataset / "x.tar" / "bad.wav"
    assert str(path) in reason
    assert "/audiolm-" not in reason
    with pytest.raises(AudioError, match="no such member"), on_disk(webdataset / "x.tar" / "no"):
        pass


def test_a_tar_that_is_cut_off_is_left_out_aloud(webdataset) -> None:
    tar = webdataset / "dev-0.tar"
    tar.write_bytes(tar.read_bytes()[:3000])
    corpus = open_corpus(webdataset)
    assert [r.split for r in corpus.recordings] == ["train", "train"]
    assert "dev-0.tar: is no tar that can be read" in corpus.skipped[0][1]
    (webdataset / "train-0.tar").unlink()
    with pytest.raises(CorpusError, match="no recordings in it"):
        open_corpus(webdataset)


def test_lhotse_shar(plain, tmp_path) -> None:
    root = tmp_path / "shar"
    tarred(plain, ["000.wav", "001.wav"], root / "recording.000000.tar", {"000.json": b"{}"})
    tarred(plain, ["002.wav"], root / "target_recording.000000.tar")
    cuts = [
        {"id": "000", "supervisions": [{"speaker": "anna"}]},
        {"id": "001", "supervisions": [{"speaker": "anna"}, {"speaker": "ben"}]},
    ]
    with gzip.open(root / "cuts.000000.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(cut) + "\n" for cut in cuts)
    corpus = open_corpus(root)
    assert [(r.path.name, r.speaker) for r in corpus.recordings] == [
        ("000.wav", "anna"),
        ("001.wav", None),
    ]
    (root / "cuts.000000.jsonl.gz").write_bytes(gzip.compress(b"[]\n"))
    with pytest.raises(CorpusError, match="line 1 is no cut"):
        open_corpus(root)


def test_shar_as_lhotse_writes_it(plain, tmp_path) -> None:
    lhotse = pytest.importorskip("lhotse", reason="lhotse is not installed")
    recordings = [lhotse.Recording.from_file(path) for path in sorted(plain.glob("*.wav"))]
    cuts = lhotse.CutSet.from_cuts(recording.to_cut() for recording in recordings)
    (tmp_path / "shar").mkdir()
    cuts.to_shar(tmp_path / "shar", fields={"recording": "flac"}, shard_size=2)
    corpus = open_corpus(tmp_path / "shar")
    assert len(corpus.recordings) == 4
    assert corpus.seconds == pytest.approx(sum(r.duration for r in recordings))
