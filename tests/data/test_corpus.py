import csv
import gzip
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from audiolm.data import headers
from audiolm.data.corpus import Corpus, Recording, open_corpus, split_validation
from audiolm.errors import CorpusError


def put(path, seconds=0.2, sample_rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.sin(np.arange(round(seconds * sample_rate)))
    with path.open("wb") as file:  # soundfile itself opens no names that are no UTF-8
        soundfile.write(file, samples, sample_rate, format=path.suffix[1:])
    return path


# Folders


def test_plain_folder_is_searched_to_the_bottom(tmp_path):
    put(tmp_path / "b.flac", 0.5)
    put(tmp_path / "deep" / "er" / "a.wav", 0.25, sample_rate=44_100)
    put(tmp_path / "LOUD.WAV", 0.2)
    (tmp_path / "notes.txt").write_text("no recording")
    corpus = open_corpus(tmp_path)
    assert corpus.name == tmp_path.name
    assert corpus.skipped == []
    assert [r.id for r in corpus.recordings] == ["LOUD", "b", "deep/er/a"]
    assert [r.seconds for r in corpus.recordings] == pytest.approx([0.2, 0.5, 0.25])
    assert corpus.seconds == pytest.approx(0.95)
    assert corpus.speakers == []
    assert all(r.path.exists() and r.split is None for r in corpus.recordings)


def test_hidden_files_are_left_out(tmp_path):
    put(tmp_path / "a.wav")
    put(tmp_path / "._a.wav")
    put(tmp_path / ".cache" / "b.wav")
    assert [r.id for r in open_corpus(tmp_path).recordings] == ["a"]


def test_links_are_followed_but_not_round_in_circles(tmp_path):
    put(tmp_path / "elsewhere" / "a.wav")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "circle").symlink_to(root)
    assert [r.id for r in open_corpus(root).recordings] == ["link/a"]


def test_ids_are_unique_where_only_the_suffix_differs(tmp_path):
    for name in ("a.wav", "a.flac", "b.wav", "a.flac.wav"):
        put(tmp_path / name)
    ids = [r.id for r in open_corpus(tmp_path).recordings]
    assert sorted(ids) == ["a.flac", "a.flac.wav", "a.wav", "b"]


def test_ids_do_not_depend_on_what_else_is_there(tmp_path):
    put(tmp_path / "one" / "a.wav")
    before = open_corpus(tmp_path).recordings[0].id
    put(tmp_path / "another" / "a.wav")
    assert before in {r.id for r in open_corpus(tmp_path).recordings}


def test_unreadable_files_are_skipped_and_listed(tmp_path):
    put(tmp_path / "good.wav")
    (tmp_path / "text.wav").write_text("no recording")
    cut = put(tmp_path / "cut.wav")
    cut.write_bytes(cut.read_bytes()[:1000])
    corpus = open_corpus(tmp_path)
    assert [r.id for r in corpus.recordings] == ["good"]
    assert [path.name for path, _ in corpus.skipped] == ["cut.wav", "text.wav"]
    assert "cut off" in corpus.skipped[0][1] and "no recording" in corpus.skipped[1][1]


def test_files_in_forms_that_are_not_read_are_named_and_counted(tmp_path):
    put(tmp_path / "good.wav")
    for name in ("a.m4a", "deep/b.M4A", "c.wma", "notes.txt", "cover.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    corpus = open_corpus(tmp_path)
    assert [r.id for r in corpus.recordings] == ["good"]
    assert [path.name for path, _ in corpus.skipped] == ["a.m4a", "c.wma", "b.M4A"]
    assert corpus.left_out == {"end in .m4a": 2, "end in .wma": 1}
    assert all("convert it to WAV or FLAC" in reason for _, reason in corpus.skipped)


def test_a_folder_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    put(tmp_path / "good.wav")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refused(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    corpus = open_corpus(tmp_path)
    assert "closed: cannot be opened (Permission denied)" in corpus.skipped[0][1]
    assert corpus.left_out == {"cannot be read": 1}


def test_a_pipe_is_left_out_and_not_waited_for(tmp_path):
    put(tmp_path / "good.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    corpus = open_corpus(tmp_path)
    assert "pipe.wav: is no regular file" in corpus.skipped[0][1]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_names_that_are_no_utf8_get_ids_that_are(tmp_path):
    put(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    put(tmp_path / "caf\\xe9.wav")
    put(tmp_path / os.fsdecode(b"r\xfcck") / "1" / os.fsdecode(b"r\xfcck-1-1.wav"))
    corpus = open_corpus(tmp_path)
    for text in [r.id for r in corpus.recordings] + corpus.speakers:
        text.encode("utf-8")
    assert len({r.id for r in corpus.recordings}) == 3
    assert corpus.speakers == ["r\\xfcck"]
    assert all(r.path.exists() for r in corpus.recordings)


# What headers said before


@pytest.fixture
def asked(monkeypatch):
    """The files whose headers were read."""
    names: list[str] = []
    info = headers.info

    def counted(path):
        names.append(path.name)
        return info(path)

    monkeypatch.setattr(headers, "info", counted)
    return names


def test_headers_are_read_once_and_those_of_changed_files_again(tmp_path, asked):
    root, cache = tmp_path / "corpus", tmp_path / "training" / "headers.jsonl"
    for name in ("a.wav", "b.wav", "c.wav"):
        put(root / name)
    (root / "broken.wav").write_text("x")
    first = open_corpus(root, cache)
    assert sorted(asked) == ["a.wav", "b.wav", "broken.wav", "c.wav"]
    assert not list(root.glob("*.jsonl"))  # nothing in the user's folder
    asked.clear()
    again = open_corpus(root, cache)
    assert (again.recordings, again.skipped) == (first.recordings, first.skipped)
    assert asked == ["broken.wav"]  # it may have been mended in ways that leave no trace
    asked.clear()
    put(root / "b.wav", 0.3)
    put(root / "d.wav", 0.1)
    changed = open_corpus(root, cache)
    assert sorted(asked) == ["b.wav", "broken.wav", "d.wav"]
    assert [r.seconds for r in changed.recordings] == pytest.approx([0.2, 0.3, 0.2, 0.1])


def test_a_file_of_the_same_size_written_later_is_noticed(tmp_path, asked):
    cache = tmp_path / "cache"
    path = put(tmp_path / "a.wav", 0.2)
    before = path.stat()
    open_corpus(tmp_path, cache)
    put(path, 0.4, sample_rate=8_000)  # as many samples at half the rate
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size
    assert open_corpus(tmp_path, cache).seconds == pytest.approx(0.4)


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"{}\n", b'{"x": 1}\n[1]\n'])
def test_a_damaged_list_of_headers_is_made_anew(tmp_path, damage, asked):
    put(tmp_path / "a.wav")
    open_corpus(tmp_path, tmp_path / "cache")
    whole = (tmp_path / "cache").read_bytes()
    for left in (damage, whole[:-10], whole.replace(b'"audiolm ', b'"audiolm 0.0.')):
        (tmp_path / "cache").write_bytes(left)
        asked.clear()
        assert open_corpus(tmp_path, tmp_path / "cache").seconds == pytest.approx(0.2)
        assert asked == ["a.wav"]
        assert (tmp_path / "cache").read_bytes() == whole


def test_a_list_of_headers_that_cannot_be_written(tmp_path):
    put(tmp_path / "a.wav")
    with pytest.raises(CorpusError, match=r"a\.wav/cache: cannot be written"):
        open_corpus(tmp_path, tmp_path / "a.wav" / "cache")


# Published layouts


def test_librispeech(corpus_folder):
    corpus = open_corpus(corpus_folder(5, layout="librispeech", speakers=3, seconds=0.2))
    assert [(r.id, r.speaker) for r in corpus.recordings] == [
        ("100/1/100-1-0000", "100"),
        ("100/1/100-1-0003", "100"),
        ("101/1/101-1-0001", "101"),
        ("101/1/101-1-0004", "101"),
        ("102/1/102-1-0002", "102"),
    ]
    assert corpus.speakers == ["100", "101", "102"]


def test_one_chapter_of_librispeech_still_knows_its_speaker(corpus_folder):
    root = corpus_folder(2, layout="librispeech", speakers=1, seconds=0.2)
    assert open_corpus(root / "100" / "1").speakers == ["100"]


def test_splits_of_librispeech(tmp_path):
    put(tmp_path / "train-clean-100" / "19" / "198" / "19-198-0000.flac")
    put(tmp_path / "dev-other" / "84" / "121" / "84-121-0000.flac")
    put(tmp_path / "test-clean" / "61" / "70" / "61-70-0000.flac")
    splits = {r.speaker: r.split for r in open_corpus(tmp_path).recordings}
    assert splits == {"19": "train", "84": "dev", "61": "test"}


def test_libri_light(tmp_path):
    path = put(tmp_path / "small" / "100" / "sea_fairies_64kb" / "01_sea_fairies.flac")
    path.with_suffix(".json").write_text("{}")
    assert open_corpus(tmp_path).speakers == ["100"]


def test_folders_that_happen_to_be_three_deep_are_no_speakers(tmp_path):
    put(tmp_path / "100" / "1" / "take.wav")
    put(tmp_path / "songs" / "album" / "songs-album.wav")
    assert open_corpus(tmp_path).speakers == []


# MAESTRO


def maestro(root, rows):
    for name, _ in rows:
        put(root / name)
    with (root / "maestro-v3.0.0.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["canonical_composer", "split", "year", "audio_filename", "duration"])
        table.writerows(["Anon", split, 2004, name, 0.2] for name, split in rows)


def test_maestro(tmp_path):
    maestro(tmp_path, [("2004/a.wav", "train"), ("2004/b.wav", "validation"), ("c.wav", "test")])
    put(tmp_path / "2004" / "not-in-the-table.wav")
    (tmp_path / "2004" / "a.wav").unlink()
    corpus = open_corpus(tmp_path)
    assert [(r.id, r.split) for r in corpus.recordings] == [("2004/b", "dev"), ("c", "test")]
    assert [path.name for path, _ in corpus.skipped] == ["a.wav", "not-in-the-table.wav"]
    assert "is not in maestro-v3.0.0.csv" in corpus.skipped[1][1]


def test_maestro_with_a_table_of_something_else(tmp_path):
    put(tmp_path / "a.wav")
    (tmp_path / "maestro-v3.0.0.csv").write_text("name,part\na.wav,train\n")
    with pytest.raises(CorpusError, match=r"maestro-v3\.0\.0\.csv: no column .*'audio_filename'"):
        open_corpus(tmp_path)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (b"Fr\xe9d\xe9ric,train,2004,b.wav,0.2", "line 3 is no UTF-8"),
        (b"Anon,train,2004", "line 3 has no audio_filename"),
        (b"Anon,training,2004,b.wav,0.2", "line 3 has the split 'training'"),
        (b"Anon", "line 3 has no audio_filename"),
        (b"Anon,train,2004,a.wav,0.2", "line 3 names a.wav again after line 2"),
        (b'"Anon,train,2004,b.wav,0.2', "line 3 is no row of a table"),
    ],
)
def test_maestro_with_a_broken_line(tmp_path, row, says):
    maestro(tmp_path, [("a.wav", "train")])
    table = tmp_path / "maestro-v3.0.0.csv"
    table.write_bytes(table.read_bytes() + row + b"\r\n")
    with pytest.raises(CorpusError) as raised:
        open_corpus(tmp_path)
    assert str(raised.value).startswith(f"{table}: {says}")
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith("; download MAESTRO's table again")


def test_maestro_without_rows(tmp_path):
    maestro(tmp_path, [])
    put(tmp_path / "a.wav")
    with pytest.raises(CorpusError, match="there are no rows in it"):
        open_corpus(tmp_path)


# Manifests of lhotse


def lhotse_recordings(folder):
    lhotse = pytest.importorskip("lhotse")
    paths = [put(folder / "a.wav", 0.5), put(folder / "b.flac", 0.75)]
    return lhotse, [lhotse.Recording.from_file(path) for path in paths]


@pytest.mark.parametrize("name", ["recordings.jsonl", "recordings.jsonl.gz"])
def test_lhotse_recordings(tmp_path, name):
    lhotse, recordings = lhotse_recordings(tmp_path)
    lhotse.RecordingSet.from_recordings(recordings).to_file(tmp_path / name)
    corpus = open_corpus(tmp_path / name)
    assert [(r.id, r.seconds) for r in corpus.recordings] == [("a", 0.5), ("b", 0.75)]


def test_lhotse_cuts_give_whole_recordings_once_with_their_speaker(tmp_path):
    lhotse, recordings = lhotse_recordings(tmp_path)
    said = [
        lhotse.SupervisionSegment(f"s{i}", recording.id, 0.0, 0.4, speaker=f"speaker {i}")
        for i, recording in enumerate(recordings)
    ]
    cuts = lhotse.CutSet.from_manifests(
        lhotse.RecordingSet.from_recordings(recordings),
        lhotse.SupervisionSet.from_segments(said),
    )
    windows = cuts.cut_into_windows(0.3)
    windows.to_file(tmp_path / "cuts.jsonl.gz")
    corpus = open_corpus(tmp_path / "cuts.jsonl.gz")
    assert [(r.id, r.seconds, r.speaker) for r in corpus.recordings] == [
        ("a", 0.5, "speaker 0"),
        ("b", 0.75, "speaker 1"),
    ]


def test_lhotse_paths_beside_the_manifest(tmp_path):
    lhotse, recordings = lhotse_recordings(tmp_path)
    manifest = lhotse.RecordingSet.from_recordings(recordings)
    manifest.with_path_prefix("").to_file(tmp_path / "recordings.jsonl")
    text = (tmp_path / "recordings.jsonl").read_text().replace(f"{tmp_path}/", "")
    (tmp_path / "recordings.jsonl").write_text(text)
    assert len(open_corpus(tmp_path / "recordings.jsonl")) == 2


def test_lhotse_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    (tmp_path / "cuts.jsonl").write_text("{}\n")
    monkeypatch.setitem(sys.modules, "lhotse", None)
    with pytest.raises(CorpusError, match=r"cuts\.jsonl: .*pip install audiolm\[lhotse\]"):
        open_corpus(tmp_path / "cuts.jsonl")


@pytest.mark.parametrize("line", ["no json", json.dumps({"id": "a", "path": "a.wav"})])
def test_jsonl_that_is_no_manifest(tmp_path, line):
    pytest.importorskip("lhotse")
    (tmp_path / "some.jsonl").write_text(line + "\n")
    with pytest.raises(CorpusError, match=r"some\.jsonl: is no manifest"):
        open_corpus(tmp_path / "some.jsonl")


@pytest.mark.parametrize("name", ["recordings.jsonl", "recordings.jsonl.gz"])
@pytest.mark.parametrize("line", ["{broken", json.dumps({"id": "c"}), "[]"])
def test_lhotse_broken_after_the_first_lines(tmp_path, name, line):
    lhotse, recordings = lhotse_recordings(tmp_path)
    lhotse.RecordingSet.from_recordings(recordings).to_file(tmp_path / "whole.jsonl")
    text = (tmp_path / "whole.jsonl").read_text() + line + "\n"
    write = gzip.open if name.endswith("gz") else open
    with write(tmp_path / name, "wt") as file:
        file.write(text)
    with pytest.raises(CorpusError, match=rf"{name}: is no manifest .*: line 3 \(") as raised:
        open_corpus(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_lhotse_cut_off(tmp_path):
    lhotse, recordings = lhotse_recordings(tmp_path)
    path = tmp_path / "recordings.jsonl.gz"
    lhotse.RecordingSet.from_recordings(recordings).to_file(path)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(CorpusError, match=r"\.gz: is no manifest .*; correct it, or write the"):
        open_corpus(path)


def test_lhotse_with_one_id_for_two_files(tmp_path):
    lhotse, recordings = lhotse_recordings(tmp_path)
    lhotse.RecordingSet.from_recordings(recordings).to_file(tmp_path / "two.jsonl")
    text = (tmp_path / "two.jsonl").read_text().replace('"id": "b"', '"id": "a"')
    (tmp_path / "two.jsonl").write_text(text.replace('"id":"b"', '"id":"a"'))
    with pytest.raises(CorpusError, match=r"two\.jsonl: line 2 has a as .*b\.flac"):
        open_corpus(tmp_path / "two.jsonl")


# What is no corpus


def test_missing_folder(tmp_path):
    with pytest.raises(CorpusError, match=r"none: there is no such folder; check the path"):
        open_corpus(tmp_path / "none")


def test_a_single_file(tmp_path):
    with pytest.raises(CorpusError, match=r"a\.wav: is a single file; name the folder"):
        open_corpus(put(tmp_path / "a.wav"))


def test_no_recordings(tmp_path):
    (tmp_path / "a.m4a").write_bytes(b"x")
    with pytest.raises(
        CorpusError, match=r"no recordings in it; files that end in \.wav, \.flac.*; 1 end in \.m4a"
    ):
        open_corpus(tmp_path)


def test_no_recording_that_can_be_read(tmp_path):
    (tmp_path / "a.wav").write_text("x")
    with pytest.raises(
        CorpusError, match=r"none of its 1 files can be read; the first is .*a\.wav"
    ):
        open_corpus(tmp_path)


# Validation


def made_up(speakers, each=4, split=None):
    return Corpus(
        "made up",
        Path("/nowhere"),
        [
            Recording(f"{speaker}-{n}", Path("x"), 1.0 + n, speaker, split)
            for speaker in speakers
            for n in range(each)
        ],
    )


@given(st.integers(2, 30), st.floats(0.01, 0.9), st.integers(0, 2**32))
def test_no_speaker_is_on_both_sides(count, fraction, seed):
    corpus = made_up([f"speaker {i}" for i in range(count)])
    train, validation = split_validation(corpus, fraction, seed)
    assert train.speakers and validation.speakers
    assert not set(train.speakers) & set(validation.speakers)
    assert {r.id for r in train.recordings + validation.recordings} == {
        r.id for r in corpus.recordings
    }
    assert {r.split for r in train.recordings} == {"train"}
    assert {r.split for r in validation.recordings} == {"dev"}
    one = corpus.seconds / count
    wanted = min(max(fraction * corpus.seconds, one), corpus.seconds - one)
    assert abs(validation.seconds - wanted) <= one / 2 + 1e-6


def test_validation_is_the_same_every_time_and_another_with_another_seed():
    corpus = made_up([str(i) for i in range(20)])
    choices = [split_validation(corpus, 0.2, seed)[1].speakers for seed in (0, 0, 1)]
    assert choices[0] == choices[1] != choices[2]


def test_another_order_of_files_chooses_the_same():
    corpus = made_up([str(i) for i in range(20)])
    turned = replace(corpus, recordings=corpus.recordings[::-1])
    assert split_validation(corpus, 0.2)[1].speakers == split_validation(turned, 0.2)[1].speakers


def test_recordings_are_validation_where_no_speaker_is_known():
    train, validation = split_validation(made_up([None], each=10), 0.2)
    assert len(train) + len(validation) == 10 and len(validation) >= 1


def test_a_single_recording_is_trained_on():
    train, validation = split_validation(made_up([None], each=1), 0.5)
    assert (len(train), len(validation)) == (1, 0)


def test_nothing_is_validation_if_nothing_is_asked_for():
    train, validation = split_validation(made_up(["a", "b"]), 0.0)
    assert (len(train), len(validation)) == (8, 0)


def test_published_splits_hold():
    published = [("a", "train"), ("b", "dev"), ("c", "test"), ("d", None)]
    parts = [r for name, split in published for r in made_up([name], split=split).recordings]
    train, validation = split_validation(replace(made_up([]), recordings=parts), 0.5)
    assert (train.speakers, validation.speakers) == (["a", "d"], ["b"])


def test_published_test_is_never_trained_on_even_without_a_dev():
    parts = made_up(["a", "b"], split="train").recordings + made_up(["c"], split="test").recordings
    train, validation = split_validation(replace(made_up([]), recordings=parts), 0.5)
    assert set(train.speakers) | set(validation.speakers) == {"a", "b"}


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fractions_that_cannot_be(fraction):
    with pytest.raises(CorpusError, match="cannot be kept for validation"):
        split_validation(made_up(["a", "b"]), fraction)
