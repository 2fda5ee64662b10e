"""Raters' answers."""

import pytest

from audiolm.errors import CorpusError
from audiolm.evaluation.metrics.listening import Answer
from audiolm.evaluation.tables.listening_answers import (
    KeyFile,
    read_answers,
    read_key,
    write_key,
)

KEY = {
    "original-or-synthetic": {"1a": "original", "2b": "synthetic", "3c": "synthetic"},
    "preference": {"4d": "a", "5e": "b"},
}
HEADER = "test,rater,item,answer\n"
REAL = "original-or-synthetic"


def csv_file(folder, text, name="answers.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_answers_of_several_files_are_read(tmp_path):
    one = csv_file(tmp_path, HEADER + f"{REAL},anna,1a,original\r\npreference,anna,5e,a\n", "1.csv")
    two = csv_file(
        tmp_path,
        '\ufeff"item","test","answer","rater"\n"1a","' + REAL + '","synthetic","b, ""c"""\n',
        "2.csv",
    )
    assert read_answers([two, one], KEY) == [
        Answer(REAL, "anna", "1a", "original"),
        Answer("preference", "anna", "5e", "a"),
        Answer(REAL, 'b, "c"', "1a", "synthetic"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rater,item,answer\nx,1a,original\n", "no column test"),
        ("", "no column test"),
        (
            HEADER + f"{REAL},x,1a,original\nother,x,1a,original\n",
            "line 3: there is no test 'other'",
        ),
        (HEADER + f"{REAL},x,9z,original\n", "line 2: the key knows no item '9z'"),
        (HEADER + f"{REAL},x,4d,a\n", "line 2: the key knows no item '4d'"),
        (HEADER + f"{REAL},x,1a,real\n", "line 2: 'real' is no answer; expected original or synth"),
        (HEADER + f"{REAL},x,1a\n", "line 2: '' is no answer"),
        (HEADER + f"{REAL},x,1a,original\n" * 2, "line 3: x has answered 1a before"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, message):
    with pytest.raises(CorpusError, match=message):
        read_answers([csv_file(tmp_path, text)], KEY)


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(CorpusError, match=r"a\.csv: cannot be read"):
        read_answers([path], KEY)


@pytest.mark.parametrize("text", ["", "{}", "[1", None])
def test_a_damaged_key_is_an_error(tmp_path, text):
    path = tmp_path / "key.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CorpusError, match="missing or damaged"):
        read_key(path)


def test_a_key_is_read(tmp_path):
    key = KeyFile({"seed": 1}, KEY)
    write_key(tmp_path / "key.json", key)
    assert read_key(tmp_path / "key.json") == key
