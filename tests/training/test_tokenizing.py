"""The corpus as tokens: the same as one recording at a time, resumable, by several processes."""

import copy

import pytest
import torch

from audiolm.errors import CorpusError
from audiolm.training import tokenizing
from audiolm.training.distributed import World
from audiolm.training.recordings import Recordings
from audiolm.training.tokenizing import TokenizingConfig, tokenize_corpus
from tiny import tiny_model

SETTINGS = TokenizingConfig(batch_seconds=9.0, shard_size=3)  # 8 recordings: 3 shards


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=())


class StoppedError(Exception):
    """What ends the tokenizing in the middle."""


def tokenized(lm, recordings, folder, world=None, config=SETTINGS, progress=lambda share: None):
    return tokenize_corpus(
        lm.codec, lm.semantic, recordings, folder, config, world or World(), progress
    )


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_tokens_are_those_of_each_recording_by_itself(lm, recordings, tmp_path) -> None:
    store = tokenized(lm, recordings[0], tmp_path)
    assert len(store) == len(recordings[0]) == 8
    assert [r.id for r in store.recordings] == [r.id for r in recordings[0].store.recordings]
    for index in range(8):
        waveform, lengths = recordings[0].whole([index])
        assert torch.equal(store.semantic(index), lm.semantic.encode(waveform, lengths)[0])
        same = store.codes(index) == lm.codec.encode(waveform)[0]
        assert float(same.float().mean()) > 0.999  # float ties between batches of other sizes
    store.require(lm.codec.fingerprint(), lm.semantic.fingerprint())


def test_a_recording_longer_than_a_batch_is_encoded_in_pieces(
    lm, recordings, tmp_path, monkeypatch
) -> None:
    whole = tokenized(lm, recordings[0], tmp_path / "whole")
    monkeypatch.setattr(lm.codec, "encode", None)  # never at once
    pieces = tokenized(
        lm, recordings[0], tmp_path / "pieces", config=TokenizingConfig(batch_seconds=0.7)
    )
    for index in range(8):
        assert torch.equal(whole.semantic(index), pieces.semantic(index))
        assert whole.codes(index).shape == pieces.codes(index).shape
        assert float((whole.codes(index) == pieces.codes(index)).float().mean()) > 0.999


def test_it_goes_on_where_it_was_stopped(lm, recordings, tmp_path, monkeypatch) -> None:
    tokenized(lm, recordings[0], tmp_path / "whole")

    def stop(share: float) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        tokenized(lm, recordings[0], tmp_path / "parts", progress=stop)
    assert not (tmp_path / "parts" / "tokens.json").exists()
    first = tmp_path / "parts" / "shard-00000.safetensors"
    written = first.stat().st_mtime_ns
    shares: list[float] = []
    tokenized(lm, recordings[0], tmp_path / "parts", progress=shares.append)
    assert shares == [0.5, 1.0]  # two shards were missing
    assert first.stat().st_mtime_ns == written
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_two_processes_write_what_one_writes(lm, recordings, tmp_path, monkeypatch) -> None:
    tokenized(lm, recordings[0], tmp_path / "one")
    monkeypatch.setattr(tokenizing, "wait", lambda world: None)
    with pytest.raises(CorpusError, match="unfinished"):
        tokenized(lm, recordings[0], tmp_path / "two", World(1, 2))
    assert len(list((tmp_path / "two").glob("shard-*"))) == 1
    tokenized(lm, recordings[0], tmp_path / "two", World(0, 2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_without_a_codec_there_are_semantic_ids_alone(lm, recordings, tmp_path) -> None:
    store = tokenize_corpus(
        None, lm.semantic, recordings[0], tmp_path, SETTINGS, World(), lambda share: None
    )
    for index in range(8):
        waveform, lengths = recordings[0].whole([index])
        assert torch.equal(store.semantic(index), lm.semantic.encode(waveform, lengths)[0])
        assert store.frames(index) == 0
    store.require(semantic_fingerprint=lm.semantic.fingerprint())
    with pytest.raises(CorpusError, match="made without a codec"):
        store.require(codec_fingerprint="any")


def test_tokens_of_other_parts_are_refused(lm, recordings, tmp_path) -> None:
    tokenized(lm, recordings[0], tmp_path)
    with pytest.raises(CorpusError, match=r"shard-00000.* of other parts; delete"):
        tokenized(tiny_model(seed=1, kinds=()), recordings[0], tmp_path)


def test_recordings_that_changed_between_two_runs_are_refused(lm, recordings, tmp_path) -> None:
    def stop(share: float) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        tokenized(lm, recordings[0], tmp_path, progress=stop)
    store = copy.copy(recordings[0].store)
    store.contents = ["other samples", *store.contents[1:]]
    changed = Recordings(store, torch.device("cpu"), World(), seed=5)
    with pytest.raises(CorpusError, match=r"recordings that have changed since; put them back"):
        tokenized(lm, changed, tmp_path)
    tokenized(lm, recordings[0], tmp_path)


def test_recordings_at_other_speeds_are_tokenized_as_recordings_of_their_own(
    lm, recordings, tmp_path
) -> None:
    perturbed = recordings[0].at_speeds([0.8])
    store = tokenized(lm, perturbed, tmp_path)
    assert len(store) == 16
    for index in range(16):
        assert store.steps(index) == -(-perturbed.store.length(index) // 640)
    waveform, lengths = perturbed.whole([11])
    assert torch.equal(store.semantic(11), lm.semantic.encode(waveform, lengths)[0])
    assert not torch.equal(store.semantic(11)[: store.steps(3)], store.semantic(3))
    assert [r.speed for r in store.recordings] == [1.0] * 8 + [0.8] * 8
