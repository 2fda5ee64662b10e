import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiolm.data.corpus import Recording
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import TokenFormat, TokenStore
from audiolm.errors import CorpusError

STEPS = [5, 0, 12, 1, 33, 8, 2]
SPLITS = ["train", "train", "dev", "train", "train", "dev", None]
FORMAT = TokenFormat(
    codec_fingerprint="c" * 64,
    semantic_fingerprint="s" * 64,
    levels=3,
    codebook_size=50,
    clusters=20,
    shard_size=3,
)


def recordings():
    return [
        Recording(f"r{i}", Path(f"r{i}.wav"), steps / 25, None, split)
        for i, (steps, split) in enumerate(zip(STEPS, SPLITS, strict=True))
    ]


def ids(format=FORMAT):
    """Semantic ids (S,) and codes (Q, F) of each recording, F = 2 S or 2 S - 1 in turn."""
    rng = np.random.default_rng(0)
    semantic = [rng.integers(0, format.clusters, steps) for steps in STEPS]
    frames = [max(0, 2 * steps - i % 2) for i, steps in enumerate(STEPS)]
    codes = [rng.integers(0, format.codebook_size, (format.levels, count)) for count in frames]
    return semantic, codes


def write(folder, format=FORMAT, rank=0, world=1, rows=None, **settings):
    semantic, codes = ids(format)
    writer = TokenWriter(folder, rows or recordings(), format, rank, world, **settings)
    for shard in writer.missing():
        members = writer.members(shard)
        writer.write(
            shard,
            [semantic[i] for i in members] if format.semantic_fingerprint else None,
            [codes[i] for i in members] if format.codec_fingerprint else None,
        )
    return writer.finish()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    write(folder)
    return TokenStore(folder)


def test_what_is_written_is_read(store):
    semantic, codes = ids()
    assert len(store) == 7
    assert store.recordings == recordings()
    assert store.format == FORMAT
    for i in range(7):
        assert store.semantic(i).dtype == store.codes(i).dtype == torch.int64
        np.testing.assert_array_equal(store.semantic(i), semantic[i])
        np.testing.assert_array_equal(store.codes(i), codes[i])
        assert (store.steps(i), store.frames(i)) == (len(semantic[i]), codes[i].shape[1])


@given(st.integers(0, 6), st.integers(0, 40), st.integers(1, 40))
def test_a_crop_is_a_slice_and_then_minus_one(store, index, start, steps):
    semantic, codes = ids()
    got_semantic, got_codes = store.crop(index, start, steps)
    padded = np.concatenate([semantic[index], np.full(100, -1)])
    np.testing.assert_array_equal(got_semantic, padded[start : start + steps])
    padded = np.concatenate([codes[index], np.full((3, 200), -1)], axis=1)
    np.testing.assert_array_equal(got_codes, padded[:, 2 * start : 2 * (start + steps)])


def test_a_crop_before_the_recording(store):
    with pytest.raises(ValueError, match="cannot start at -2"):
        store.crop(0, -2, 4)


def test_splits_and_lengths(store):
    assert store.split("train") == [0, 1, 3, 4]
    assert store.split("dev") == [2, 5]
    assert store.split("test") == []
    assert store.lengths().tolist() == STEPS
    assert store.lengths("dev").tolist() == [0, 0, 12, 0, 0, 8, 0]


def test_only_a_codec(tmp_path):
    write(tmp_path, FORMAT.model_copy(update={"semantic_fingerprint": ""}))
    store = TokenStore(tmp_path)
    semantic, codes = store.crop(4, 0, 3)
    assert semantic is None
    np.testing.assert_array_equal(codes, ids()[1][4][:, :6])
    assert store.lengths().tolist() == STEPS  # S = ceil(F / 2)
    assert "semantic_rate" not in store.statistics


def test_only_a_tokenizer(tmp_path):
    write(tmp_path, FORMAT.model_copy(update={"codec_fingerprint": ""}))
    store = TokenStore(tmp_path)
    semantic, codes = store.crop(4, 0, 3)
    assert codes is None
    np.testing.assert_array_equal(semantic, ids()[0][4][:3])
    assert "codebook_perplexity" not in store.statistics


def test_no_part_at_all():
    with pytest.raises(ValueError, match="fingerprint of a codec, of a tokenizer, or both"):
        TokenFormat()


@pytest.mark.parametrize("size", [255, 1024, 2**16])
def test_the_largest_id_survives(tmp_path, size):
    format = TokenFormat(
        codec_fingerprint="c", semantic_fingerprint="s", levels=1, codebook_size=size, clusters=size
    )
    writer = TokenWriter(tmp_path, recordings()[3:4], format)
    writer.write(0, [np.array([size - 1])], [np.array([[0, size - 1]])])
    writer.finish()
    store = TokenStore(tmp_path)
    assert store.semantic(0).tolist() == [size - 1]
    assert store.codes(0).tolist() == [[0, size - 1]]


def test_sent_to_another_process(store):
    store.crop(0, 0, 1)  # with a shard open
    again = pickle.loads(pickle.dumps(store))
    torch.testing.assert_close(again.codes(4), store.codes(4))


# Resuming


def test_ranks_divide_the_shards_and_the_last_one_finishes(tmp_path):
    assert [write(tmp_path, rank=rank, world=2) for rank in (1, 0)] == [False, True]
    assert len(TokenStore(tmp_path)) == 7


def test_ranks_write_each_shard_once(tmp_path):
    writers = [TokenWriter(tmp_path, recordings(), FORMAT, rank, 2) for rank in (0, 1)]
    assert [writer.missing() for writer in writers] == [[0, 2], [1]]
    assert [list(writers[0].members(shard)) for shard in range(3)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_writing_goes_on_where_it_was_killed(tmp_path):
    semantic, codes = ids()
    writer = TokenWriter(tmp_path, recordings(), FORMAT)
    writer.write(1, semantic[3:6], codes[3:6])
    left_over = tmp_path / ".shard-00000.safetensors.0123abcd.part"
    left_over.write_bytes(b"half a shard")
    assert not writer.finish()
    with pytest.raises(CorpusError, match=r"is unfinished \(1 shards are there\)"):
        TokenStore(tmp_path)
    again = TokenWriter(tmp_path, recordings(), FORMAT)
    assert again.missing() == [0, 2]
    assert not left_over.exists()
    assert write(tmp_path)
    np.testing.assert_array_equal(TokenStore(tmp_path).codes(4), codes[4])
    assert TokenWriter(tmp_path, recordings(), FORMAT).missing() == []


def test_a_shard_that_fails_half_way_is_absent(tmp_path, monkeypatch):
    def fail_half_way(tensors, path, metadata):
        path.write_bytes(b"half a shard")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audiolm.data.token_writer.save_file", fail_half_way)
    with pytest.raises(CorpusError, match=r"cannot be written \(No space left"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]


@pytest.mark.parametrize(
    "other",
    [{"codec_fingerprint": "d" * 64}, {"semantic_fingerprint": "t" * 64}, {"shard_size": 4}],
)
def test_tokens_of_other_parts_are_not_mixed(tmp_path, other):
    write(tmp_path)
    with pytest.raises(CorpusError, match="tokens of other recordings or of other parts; delete"):
        TokenWriter(tmp_path, recordings(), FORMAT.model_copy(update=other))
    assert len(TokenStore(tmp_path)) == 7  # what is there is left as it is


def test_tokens_of_other_recordings_are_not_mixed(tmp_path):
    write(tmp_path)
    with pytest.raises(CorpusError, match="tokens of other recordings"):
        TokenWriter(tmp_path, recordings()[:-1], FORMAT)


# Ids that cannot be


@pytest.mark.parametrize(
    ("at", "change", "message"),
    [
        ("semantic", lambda ids: ids + 20, "semantic ids: need ids from 0 to 19, got [0-9]+ to 3"),
        ("semantic", lambda ids: ids - 20, "semantic ids: need ids from 0 to 19, got -[0-9]+ to"),
        ("codes", lambda ids: ids + 50, "codes: need ids from 0 to 49, got [0-9]+ to 9"),
        ("codes", lambda ids: ids[:2], "codes of shard 1: need 3 levels"),
        ("codes", lambda ids: ids[:, :-2], "r4: 33 semantic ids and 64 frames cannot be of one"),
        ("semantic", lambda ids: ids[:-1], "r4: 32 semantic ids and 66 frames cannot be of one"),
    ],
)
def test_ids_that_are_refused(tmp_path, at, change, message):
    semantic, codes = ids()
    (semantic if at == "semantic" else codes)[4] = change((semantic, codes)[at == "codes"][4])
    writer = TokenWriter(tmp_path, recordings(), FORMAT)
    with pytest.raises(CorpusError, match=message):
        writer.write(1, semantic[3:6], codes[3:6])
    assert writer.missing() == [0, 1, 2]


def test_too_few_or_none(tmp_path):
    semantic, codes = ids()
    writer = TokenWriter(tmp_path, recordings(), FORMAT)
    with pytest.raises(CorpusError, match="codes: need those of 3 recordings, got 2"):
        writer.write(1, semantic[3:6], codes[3:5])
    with pytest.raises(CorpusError, match="semantic ids: need those of 3 recordings, got 0"):
        writer.write(1, None, codes[3:6])


# What is in tokens.json


def test_counts_and_statistics(tmp_path):
    """Two recordings written by hand: every figure can be worked out on paper."""
    format = TokenFormat(
        codec_fingerprint="c",
        semantic_fingerprint="s",
        levels=2,
        codebook_size=4,
        clusters=8,
        shard_size=1,
    )
    two = [Recording("a", Path("a.wav"), 0.16), Recording("b", Path("b.wav"), 0.16)]
    writer = TokenWriter(tmp_path, two, format)
    writer.write(0, [np.array([5, 5, 6, 6])], [np.array([[0, 1, 2, 3] * 2, [0] * 8])])
    writer.write(1, [np.array([6, 5, 5, 6])], [np.array([[0, 1, 2, 3] * 2, [0] * 8])])
    assert writer.finish()
    content = json.loads((tmp_path / "tokens.json").read_text())
    assert content["format_version"] == 1
    assert (content["recordings"], content["steps"], content["frames"]) == (2, 8, 16)
    assert content["seconds"] == pytest.approx(0.32)
    repetition = {k: v for k, v in content["statistics"].items() if "_long" in k or "_silent" in k}
    assert content["statistics"] == {
        **repetition,
        "semantic_entropy": pytest.approx(1.0),
        "semantic_used": 2,
        "semantic_rate": pytest.approx(5 / 0.32),  # 5 6 | 6 5 6
        "codebook_perplexity": pytest.approx([4.0, 1.0]),
        "codebook_used": [4, 1],
        "semantic_counts": [0, 0, 0, 0, 0, 4, 4, 0],
        "semantic_run_counts": [0, 0, 0, 0, 0, 2, 3, 0],
        "code_counts": [[4, 4, 4, 4], [16, 0, 0, 0]],
    }
    assert TokenStore(tmp_path).statistics == content["statistics"]


def test_repeats_end_where_a_recording_ends(tmp_path):
    """In one shard too: the same id before and after the border is said twice."""
    format = TokenFormat(semantic_fingerprint="s", clusters=8)
    three = [Recording(name, Path(name), s / 25) for name, s in (("a", 2), ("b", 0), ("c", 2))]
    writer = TokenWriter(tmp_path, three, format)
    writer.write(0, [np.array([5, 5]), np.array([], dtype=int), np.array([5, 5])])
    writer.finish()
    assert TokenStore(tmp_path).statistics["semantic_rate"] == pytest.approx(2 / 0.16)


def test_require(store):
    store.require("c" * 64, "s" * 64)
    store.require(codec_fingerprint="c" * 64)
    with pytest.raises(CorpusError, match=f"made with codec {'c' * 64}, but {'d' * 64} is in use"):
        store.require(codec_fingerprint="d" * 64)
    with pytest.raises(CorpusError, match=f"semantic tokenizer {'s' * 64}, but {'t' * 64} is"):
        store.require("c" * 64, "t" * 64)


def test_require_a_part_that_made_nothing(tmp_path):
    write(tmp_path, FORMAT.model_copy(update={"codec_fingerprint": ""}))
    with pytest.raises(CorpusError, match="made without a codec, but cccc"):
        TokenStore(tmp_path).require(codec_fingerprint="c" * 64)


# Folders that cannot be opened


def test_a_folder_without_tokens(tmp_path):
    with pytest.raises(CorpusError, match="holds no tokens"):
        TokenStore(tmp_path)


def test_another_version(tmp_path):
    write(tmp_path)
    path = tmp_path / "tokens.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(CorpusError, match="format version 2, this program reads 1"):
        TokenStore(tmp_path)


def test_tokens_json_that_is_no_json(tmp_path):
    write(tmp_path)
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(CorpusError, match=r"tokens\.json: cannot be read"):
        TokenStore(tmp_path)


def test_a_missing_shard(tmp_path):
    write(tmp_path)
    (tmp_path / "shard-00001.safetensors").unlink()
    with pytest.raises(CorpusError, match=r"shard-00001\.safetensors: is missing"):
        TokenStore(tmp_path)


def test_a_shard_that_was_cut_off(tmp_path):
    write(tmp_path)
    os.truncate(tmp_path / "shard-00001.safetensors", 200)
    with pytest.raises(CorpusError, match=r"shard-00001\.safetensors: is cut off"):
        TokenStore(tmp_path)
    assert TokenWriter(tmp_path, recordings(), FORMAT, 0, 2).missing() == []  # not this rank's
    assert TokenWriter(tmp_path, recordings(), FORMAT).missing() == [1]


def test_a_manifest_of_something_else(tmp_path):
    write(tmp_path)
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "manifest.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(CorpusError, match=r"manifest\.jsonl: lists other recordings"):
        TokenStore(tmp_path)


@pytest.mark.parametrize("earlier_version", [False, True])
def test_unigram_counts_are_those_of_the_tokens(tmp_path, earlier_version):
    write(tmp_path)
    content = json.loads((tmp_path / "tokens.json").read_text())
    if earlier_version:
        for name in ("semantic_counts", "semantic_run_counts", "code_counts"):
            del content["statistics"][name]
        (tmp_path / "tokens.json").write_text(json.dumps(content))
    store = TokenStore(tmp_path)
    semantic = [store.semantic(i) for i in range(len(store))]
    runs = torch.cat([ids.unique_consecutive() for ids in semantic])
    clusters, size = store.format.clusters, store.format.codebook_size
    every = np.bincount(torch.cat(semantic).numpy(), minlength=clusters)
    assert store.unigram_counts(0).tolist() == every.tolist()
    without = np.bincount(runs.numpy(), minlength=clusters)
    assert store.unigram_counts(0, remove_repeats=True).tolist() == without.tolist()
    codes = torch.cat([store.codes(i) for i in range(len(store))], dim=1).numpy()  # (Q, F)
    for level in range(store.format.levels):
        counts = np.bincount(codes[level], minlength=size)
        assert store.unigram_counts(level + 1).tolist() == counts.tolist()


def test_counts_that_were_written_need_no_shards(tmp_path, monkeypatch):
    write(tmp_path)
    store = TokenStore(tmp_path)
    monkeypatch.setattr("audiolm.data.tokens.semantic_statistics", None)
    monkeypatch.setattr("audiolm.data.tokens.code_statistics", None)
    monkeypatch.setattr(store, "_shard", None)
    store.unigram_counts(0)
    store.unigram_counts(1)


def test_counts_of_what_there_is_none_of(tmp_path):
    write(tmp_path)
    store = TokenStore(tmp_path)
    for kind in (-1, store.format.levels + 1):
        with pytest.raises(CorpusError, match=rf"there are no codes of level {kind} in it"):
            store.unigram_counts(kind)


def test_recordings_that_changed_between_two_runs_are_refused(tmp_path):
    write(tmp_path, recordings_fingerprint="before")
    TokenWriter(tmp_path, recordings(), FORMAT, recordings_fingerprint="before")
    TokenWriter(tmp_path, recordings(), FORMAT)  # who does not know cannot tell
    with pytest.raises(
        CorpusError, match=r"shard-00000.*recordings that have changed since; put them back"
    ):
        TokenWriter(tmp_path, recordings(), FORMAT, recordings_fingerprint="after")


def test_the_fingerprint_of_the_recordings_stands_in_the_store(tmp_path):
    write(tmp_path, recordings_fingerprint="these")
    assert TokenStore(tmp_path).recordings_fingerprint == "these"


@pytest.mark.parametrize("name", ["tokens.json", "manifest.jsonl"])
def test_a_file_found_empty_is_named_with_a_remedy_and_written_again(tmp_path, name):
    write(tmp_path)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CorpusError, match=rf"{name}: .*write the tokens again") as raised:
        TokenStore(tmp_path)
    assert "\n" not in str(raised.value)
    assert TokenWriter(tmp_path, recordings(), FORMAT).finish()  # no shard is lost
    assert (tmp_path / name).read_bytes() == whole


def test_ids_that_are_no_utf8(tmp_path):
    odd = [replace(r, id=os.fsdecode(b"caf\xe9") + r.id) for r in recordings()]
    write(tmp_path, rows=odd)
    for path in (tmp_path / "manifest.jsonl", tmp_path / "tokens.json"):
        path.read_text(encoding="utf-8")
    assert TokenStore(tmp_path).recordings[0].id.startswith("caf\\xe9")


def plain_repetition(rows, silent_ids):
    """Longest loops by period and longest silence of rows of ids, by going through them."""
    loops, silence = [0] * 50, 0
    for row in rows:
        for period in range(1, 51):
            stretch = 0
            for now, before in zip(row[period:], row, strict=False):
                stretch = stretch + 1 if now == before else 0
                loops[period - 1] = max(loops[period - 1], stretch)
        stretch = 0
        for one in row:
            stretch = stretch + 1 if one in silent_ids else 0
            silence = max(silence, stretch)
    return loops, silence


@pytest.mark.parametrize("noted", [True, False])
def test_repetition_is_counted_recording_by_recording(tmp_path, noted):
    draw = np.random.default_rng(3)
    lengths = [0, 90, 1, 7, 120, 60]
    rows = [draw.integers(0, 3, n) for n in lengths]
    rows[4] = np.tile(rows[4][:11], 11)[:120]  # a loop
    silent = [(row == 1) & (draw.random(len(row)) < 0.9) for row in rows]
    format = TokenFormat(semantic_fingerprint="s", clusters=4, shard_size=2)
    recordings = [Recording(str(n), Path(str(n)), s / 25) for n, s in enumerate(lengths)]
    writer = TokenWriter(tmp_path, recordings, format)
    for shard in writer.missing():
        members = writer.members(shard)
        marks = [silent[i] for i in members] if noted else None
        writer.write(shard, [rows[i] for i in members], silent=marks)
    writer.finish()
    store = TokenStore(tmp_path)
    silent_ids = [1] if noted else []
    for without, said in (
        (False, [row.tolist() for row in rows]),
        (True, [[i for n, i in enumerate(row) if n == 0 or row[n - 1] != i] for row in rows]),
    ):
        loops, silence = plain_repetition(said, silent_ids)
        found = store.repetition(without)
        assert found == {
            "longest_loops": loops,
            "silent_ids": silent_ids,
            "longest_silence": silence,
        }
    for name in [name for name in store.statistics if "longest" in name or "silent" in name]:
        del store.statistics[name]  # as an earlier version wrote them
    assert store.repetition(True) == found
