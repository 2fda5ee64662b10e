"""Each layout as it is published, laid out by the test; and what is wrong with it, in a line."""

from pathlib import Path

import pytest
from layouts import abx_items, gold, record, zero_resource

from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import (
    find_audio,
    read_items,
    read_lexical,
    read_syntactic,
    utterances,
)


def complains(action, *words):
    """Assert that it raises a single line with these words."""
    with pytest.raises(CorpusError) as raised:
        action()
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message


# ---- LibriSpeech ---------------------------------------------------------------------------------


def test_training_data_is_left_out_unless_there_is_nothing_else(tmp_path):
    record(tmp_path / "train" / "1" / "2" / "1-2-0000.wav", 0.5, 0)
    assert len(utterances(tmp_path)) == 1
    record(tmp_path / "dev" / "3" / "4" / "3-4-0000.wav", 0.5, 1)
    assert [u.speaker for u in utterances(tmp_path)] == ["3"]
    assert len(utterances(tmp_path, validation=False)) == 2


def test_without_a_speaker_a_recording_stands_for_itself(tmp_path):
    record(tmp_path / "a.wav", 0.5, 0)
    record(tmp_path / "b.wav", 0.5, 1)
    assert len({u.speaker for u in utterances(tmp_path)}) == 2


# ---- ABX items -----------------------------------------------------------------------------------


def test_an_item_file(tmp_path):
    items = read_items(abx_items(tmp_path))
    assert len(items) == 24
    first = items[0]
    assert (first.file, first.onset, first.offset) == ("100-0-0000", 0.1, 0.4)
    assert (first.phone, first.context, first.speaker) == ("P", ("A", "B"), "100")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a 0.1 0.2 P A B", "line 3"),
        ("a x 0.2 P A B 1", "line 3"),
        ("a 0.2 0.2 P A B 1", "ends before"),
    ],
)
def test_broken_items_are_named(tmp_path, line, says):
    path = tmp_path / "dev.item"
    path.write_text(f"#file onset offset #phone prev-phone next-phone speaker\n\n{line}\n")
    complains(lambda: read_items(path), "dev.item", says)


def test_an_item_file_without_items_is_refused(tmp_path):
    path = tmp_path / "dev.item"
    path.write_text("#file onset offset #phone prev-phone next-phone speaker\n")
    complains(lambda: read_items(path), "dev.item", "no tokens")


def test_an_item_file_needs_no_header(tmp_path):
    path = tmp_path / "dev.item"
    path.write_text("a 0.1 0.2 P A B 1\n")
    assert [item.phone for item in read_items(path)] == ["P"]


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("dev.item", lambda folder: read_items(folder / "dev.item")),
        ("gold.csv", read_lexical),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path, name, reader):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00\x81")
    complains(lambda: reader(tmp_path), f"{name}: line 1 is no text in UTF-8")


def test_one_recording_by_two_ways_is_one(tmp_path, monkeypatch):
    record(tmp_path / "items" / "a.wav", 0.5, 0)
    record(tmp_path / "b.wav", 0.5, 0)
    monkeypatch.chdir(tmp_path)
    found = find_audio(["a", "b"], [Path("items"), tmp_path], Path("items/x.item"))
    assert found == {"a": Path("items/a.wav"), "b": tmp_path / "b.wav"}


def test_recordings_are_found_beside_the_item_file_first(tmp_path):
    record(tmp_path / "near" / "a.wav", 0.5, 0)
    record(tmp_path / "far" / "a.flac", 0.5, 0)
    found = find_audio(["a"], [tmp_path / "near", tmp_path], tmp_path / "x.item")
    assert found == {"a": tmp_path / "near" / "a.wav"}


def test_a_missing_recording_is_named(tmp_path):
    record(tmp_path / "a.wav", 0.5, 0)
    complains(
        lambda: find_audio(["a", "b", "c"], [tmp_path], tmp_path / "x.item"),
        "x.item",
        "no recording of b (and 1 more)",
    )


def test_two_recordings_of_one_name_are_refused(tmp_path):
    record(tmp_path / "a.wav", 0.5, 0)
    record(tmp_path / "sub" / "a.flac", 0.5, 0)
    complains(lambda: find_audio(["a"], [tmp_path], tmp_path / "x.item"), "a.wav", "a.flac")


# ---- ZeroResource 2021 ---------------------------------------------------------------------------


def test_lexical_pairs(tmp_path):
    folder = zero_resource(tmp_path) / "lexical" / "dev"
    pairs = read_lexical(folder)
    assert [(p.id, p.voice) for p in pairs] == [("0", "A"), ("0", "B"), ("1", "A"), ("1", "B")]
    assert pairs[0].good == folder / "w0A1.wav" and pairs[0].bad == folder / "w0A0.wav"
    assert pairs[0].texts == ("word1", "word0")
    assert [p.in_vocabulary for p in pairs] == [False, False, True, True]
    assert [p.group for p in pairs] == ["out of vocabulary"] * 2 + ["5-19"] * 2


@pytest.mark.parametrize(
    ("frequency", "band"),
    [
        (0, "out of vocabulary"),
        (1, "1-4"),
        (4, "1-4"),
        (5, "5-19"),
        (20, "20-99"),
        (100, "100 or more"),
    ],
)
def test_bands_of_frequency_are_the_challenge_s(tmp_path, frequency, band):
    record(tmp_path / "a.wav", 0.1, 0)
    record(tmp_path / "b.wav", 0.1, 1)
    header = "id,filename,voice,frequency,word,phones,length,correct"
    gold(tmp_path, header, [f"0,a,V,{frequency},brick,B R IH K,4,1", "0,b,V,,,B L IH K,4,0"])
    (pair,) = read_lexical(tmp_path)
    assert pair.group == band
    assert pair.texts == ("brick", "B L IH K")  # a non-word without spelling is shown by its phones


def test_syntactic_pairs_of_one_id_but_another_type_are_apart(tmp_path):
    header = "id,filename,voice,type,subtype,transcription,correct"
    rows = [
        "0,a,V,x,s,the dogs sleep,1",
        "0,b,V,x,s,the dog sleep,0",
        "0,c,V,y,s,who left,1",
        "0,d,V,y,s,left who,0",
    ]
    for name in "abcd":
        record(tmp_path / f"{name}.wav", 0.1, 0)
    gold(tmp_path, header, rows)
    pairs = read_syntactic(tmp_path)
    assert [(p.good.stem, p.bad.stem, p.group) for p in pairs] == [("a", "b", "x"), ("c", "d", "y")]
    assert len({p.id for p in pairs}) == 2


def test_half_a_pair_is_named(tmp_path):
    folder = zero_resource(tmp_path) / "lexical" / "dev"
    path = folder / "gold.csv"
    lines = [line for line in path.read_text().splitlines() if ",w1A0," not in line]
    path.write_text("\n".join(lines) + "\n")
    complains(lambda: read_lexical(folder), "gold.csv", "id 1 voice A is half a pair")


def test_a_missing_column_is_named(tmp_path):
    folder = zero_resource(tmp_path) / "syntactic" / "dev"
    path = folder / "gold.csv"
    path.write_text(path.read_text().replace("subtype", "kind"))
    complains(lambda: read_syntactic(folder), "gold.csv", "no column subtype", "transcription")


def test_missing_recordings_of_pairs_are_named(tmp_path):
    folder = zero_resource(tmp_path) / "syntactic" / "dev"
    (folder / "s1B0.wav").unlink()
    complains(lambda: read_syntactic(folder), "1 recordings are missing", "s1B0.wav")


def test_a_missing_gold_file_is_named(tmp_path):
    complains(lambda: read_lexical(tmp_path), "gold.csv", "no such file")


def test_a_gold_file_without_rows_is_refused(tmp_path):
    gold(tmp_path, "id,filename,voice,type,subtype,transcription,correct", [])
    complains(lambda: read_syntactic(tmp_path), "gold.csv", "no rows")


def test_a_frequency_that_is_no_number_is_named(tmp_path):
    folder = zero_resource(tmp_path) / "lexical" / "dev"
    path = folder / "gold.csv"
    path.write_text(path.read_text().replace(",7,word1", ",often,word1"))
    complains(lambda: read_lexical(folder), "gold.csv", "'often'", "w1A1")
