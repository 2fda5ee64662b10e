"""The small probe set: spoken by espeak-ng where it is installed, in the published layout."""

import json
import random
import shutil

import pytest

from audiolm.audio.files import info
from audiolm.evaluation.corpora import read_lexical, read_syntactic


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("make_probes")


def test_a_non_word_differs_in_one_consonant_of_the_same_kind_and_is_no_word(script):
    word = ["b", "r", "'I", "k"]
    words = {("b", "r", "I", "t"), ("d", "r", "I", "k")}
    for seed in range(30):
        other = script._non_word(word, words, random.Random(seed))
        (place,) = [i for i in range(4) if word[i] != other[i]]
        assert any({word[place], other[place]} <= set(kind) for kind in script.KINDS)
        assert script._unstressed(other) not in words


def test_a_word_that_only_changes_into_words_is_left_out(script):
    words = {("f", "aI", "f"), ("s", "aI", "f"), ("S", "aI", "f"), ("T", "aI", "f")}
    words |= {("f", "aI", other) for other in "sST"}
    assert script._non_word(["f", "'aI", "f"], words, random.Random(0)) is None


def test_a_scrambled_sentence_has_the_same_words(script):
    lines = list(script._sentence_lines(["one two three four five"] * 3, 3, random.Random(0)))
    assert len(lines) == 6
    for good, bad in zip(lines[::2], lines[1::2], strict=True):
        assert (good.correct, bad.correct) == (1, 0)
        assert good.phonemes != bad.phonemes
        assert sorted(good.phonemes.split()) == sorted(bad.phonemes.split())


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_the_set_is_read_as_the_published_one(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "VOICES", script.VOICES[:2])
    text = tmp_path / "transcripts.txt"
    text.write_text(
        "1-1-1 THE GARDEN WINDOW STANDS OPEN TODAY\n1-1-2 CHILDREN BREAK MANY BRICKS NOW\n"
    )
    vocabulary = tmp_path / "train.txt"
    vocabulary.write_text("2-1-1 GARDEN WINDOW GARDEN\n")
    arguments = ["--text", text, "--vocabulary", vocabulary, "--out", tmp_path / "probes"]
    script.main([str(word) for word in (*arguments, "--words", 3, "--sentences", 2)])
    words = read_lexical(tmp_path / "probes" / "lexical" / "dev")
    assert len(words) == 6
    assert {pair.in_vocabulary for pair in words} <= {True, False}
    for pair in words:
        assert info(pair.good).sample_rate == 16_000
        assert info(pair.good).seconds == pytest.approx(info(pair.bad).seconds, abs=0.25)
    assert len(read_syntactic(tmp_path / "probes" / "syntactic" / "dev")) == 4
    about = json.loads((tmp_path / "probes" / "probes.json").read_text())
    assert "synthetic" in about["title"]
