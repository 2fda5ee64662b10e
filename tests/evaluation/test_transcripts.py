"""Transcripts: each recording gets its own, in whatever way id and text are divided."""

from pathlib import Path

import pytest
from layouts import record

from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.transcripts import read_transcripts, transcribed

CASES = Path(__file__).parents[3] / "shared" / "cases"


@pytest.fixture
def two(tmp_path):
    """Two recordings of the same name, by two speakers."""
    record(tmp_path / "anna" / "001.wav", 0.5, 0)
    record(tmp_path / "bert" / "001.wav", 0.5, 1)
    return tmp_path


@pytest.fixture
def one(tmp_path):
    record(tmp_path / "100-1-0000.wav", 0.5, 0)
    return tmp_path


def write(folder, content, name="transcripts.txt"):
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def complains(action, *words):
    with pytest.raises(CorpusError) as raised:
        action()
    assert "\n" not in str(raised.value)
    for word in words:
        assert word in str(raised.value)


def test_librispeech_with_a_transcript_per_chapter(tmp_path):
    chapter = tmp_path / "dev-clean" / "84" / "121123"
    record(chapter / "84-121123-0000.flac", 0.5, 0)
    record(chapter / "84-121123-0001.flac", 0.5, 1)
    lines = "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN LESS\n"
    write(chapter, lines, "84-121123.trans.txt")
    found, transcripts = transcribed(utterances(tmp_path), tmp_path)
    assert [u.text for u in found] == ["GO DO YOU HEAR", "BUT IN LESS"]
    assert (transcripts.lines, transcripts.unmatched) == (2, 0)


def test_one_file_of_transcripts_for_a_split(tmp_path):
    record(tmp_path / "84" / "1" / "84-1-0000.wav", 0.5, 0)
    record(tmp_path / "84" / "1" / "84-1-0001.wav", 0.5, 1)
    write(tmp_path, "84-1-0001 HELLO THERE\n\n")
    found, _ = transcribed(utterances(tmp_path), tmp_path)
    assert [u.text for u in found] == [None, "HELLO THERE"]


def test_recordings_of_one_name_have_their_own_text(two):
    write(two / "anna", "001 HELLO\n")
    write(two / "bert", "001 GOOD DAY\n")
    assert read_transcripts(two).texts == {"anna/001": "HELLO", "bert/001": "GOOD DAY"}


def test_an_id_may_be_a_path(two):
    write(two, "anna/001 HELLO\nbert/001.wav GOOD DAY\n")
    assert read_transcripts(two).texts == {"anna/001": "HELLO", "bert/001": "GOOD DAY"}


def test_a_name_is_looked_for_below_the_folder_of_the_file(tmp_path):
    for number, speaker in enumerate(("anna", "bert")):
        record(tmp_path / speaker / "book" / "001.wav", 0.5, number)
    write(tmp_path / "bert", "001 GOOD DAY\n")
    assert read_transcripts(tmp_path).texts == {"bert/book/001": "GOOD DAY"}


def test_an_id_of_two_recordings_is_refused(two):
    write(two, "anna/001 HELLO\n001 GOOD DAY\n")
    complains(lambda: read_transcripts(two), "line 2", "anna/001 or bert/001", "write the path")


def test_a_file_that_is_nearer_counts_more(two):
    write(two, "anna/001 FAR\nbert/001 FAR\n")
    write(two / "anna", "001 NEAR\n")
    assert read_transcripts(two).texts == {"anna/001": "NEAR", "bert/001": "FAR"}


def test_two_texts_of_one_recording_are_refused(one):
    write(one, "100-1-0000 HELLO\n100-1-0000 GOOD DAY\n")
    complains(lambda: read_transcripts(one), "line 2", "another text")


@pytest.mark.parametrize(
    "line",
    [
        "100-1-0000 HELLO WORLD",
        "100-1-0000\tHELLO WORLD",
        "100-1-0000 \t HELLO WORLD",
        "100-1-0000,HELLO WORLD",
        '100-1-0000,"HELLO WORLD"',
        "100-1-0000, HELLO WORLD",
        "100-1-0000;HELLO WORLD",
        "100-1-0000|HELLO WORLD",
        "100-1-0000 | HELLO WORLD",
        "100-1-0000.wav|HELLO WORLD",
        "\ufeff100-1-0000 HELLO WORLD\r",
        "  100-1-0000   HELLO WORLD  ",
    ],
)
def test_id_and_text_may_be_divided_in_many_ways(one, line):
    write(one, f"{line}\n")
    assert read_transcripts(one).texts == {"100-1-0000": "HELLO WORLD"}


@pytest.mark.parametrize("text", ["HELLO, WORLD", "A | B", "A\tB", "ONE; TWO"])
def test_separators_may_stand_in_a_text(one, text):
    write(one, f"100-1-0000 {text}\n")
    assert read_transcripts(one).texts == {"100-1-0000": text}


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_line_feeds_end_a_line(one, separator):
    record(one / "100-1-0001.wav", 0.5, 1)
    write(one, f"100-1-0000 HELLO{separator}WORLD\n100-1-0001 GOOD DAY\n")
    texts = read_transcripts(one).texts
    assert texts == {"100-1-0000": f"HELLO{separator}WORLD", "100-1-0001": "GOOD DAY"}


def test_an_id_with_spaces(tmp_path):
    record(tmp_path / "walk at dusk.wav", 0.5, 0)
    write(tmp_path, "walk at dusk\tHELLO\n")
    assert read_transcripts(tmp_path).texts == {"walk at dusk": "HELLO"}


def test_ids_that_fit_nothing_are_said(one):
    write(one, "100-1-0000 HELLO\n7-7-7 GOOD DAY\n")
    assert "1 of 2 lines fit no recording" in str(read_transcripts(one))
    write(one, "8-8-8 HELLO\n7-7-7 GOOD DAY\n")
    complains(
        lambda: read_transcripts(one), "transcripts.txt: line 1", "8-8-8", "fits no recording"
    )


def test_a_line_without_text_is_refused(one):
    write(one, "100-1-0000\n")
    complains(lambda: read_transcripts(one), "line 1 has no text after 100-1-0000")


def test_what_is_no_text_is_named_with_its_line(one):
    write(one, b"100-1-0000 HELLO\n100-1-0001 H\xe9LLO\n")
    complains(lambda: read_transcripts(one), "transcripts.txt: line 2", "UTF-8")


def test_without_a_file_the_remedy_is_said(one):
    with pytest.raises(Skipped, match=r"transcripts\.txt"):
        read_transcripts(one)


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
def test_the_case_with_a_tab(one):
    record(one / "100-1-0001.wav", 0.5, 1)
    write(one, (CASES / "f13_transcripts_tab.txt").read_bytes())
    texts = read_transcripts(one).texts
    assert texts == {"100-1-0000": "HELLO WORLD", "100-1-0001": "GOOD DAY"}
