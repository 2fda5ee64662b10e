"""More speech from text: sentences of books, voices, and what two synthesizers make of them."""

import random
import shutil

import pytest

from audiolm.data.corpus import open_corpus


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("make_speech")


@pytest.fixture
def books(tmp_path):
    folder = tmp_path / "books"
    folder.mkdir()
    sentence = "it was the best of times and it was the worst of times"
    (folder / "tale.txt").write_text(f"{sentence.capitalize()}! Short one. {sentence}.\n" * 2)
    return folder


def test_sentences_are_of_the_right_length(script, books):
    found = list(script._sentences(books / "tale.txt"))
    assert len(found) == 4  # and not the short ones
    assert all(len(sentence.split()) in script.WORDS for sentence in found)


def test_long_sentences_are_cut(script, tmp_path):
    (tmp_path / "a.txt").write_text("word " * 70)
    assert [len(s.split()) for s in script._sentences(tmp_path / "a.txt")] == [30, 30, 10]


def test_every_voice_has_its_variants(script):
    speakers = script._speakers(random.Random(0))
    names = {speaker.name for speaker in speakers}
    assert len(names) == len(speakers) == script.VARIANTS * (len(script.FLITE) + len(script.ESPEAK))


def test_what_is_missing_is_said(script, books, tmp_path, monkeypatch):
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="flite is not installed"):
        script.main(["--text", str(books), "--out", str(tmp_path / "out")])
    monkeypatch.setattr(script.shutil, "which", lambda name: name)
    with pytest.raises(SystemExit, match=r"there is no \*\.txt"):
        script.main(["--text", str(tmp_path), "--out", str(tmp_path / "out")])


@pytest.mark.skipif(
    shutil.which("flite") is None or shutil.which("espeak-ng") is None,
    reason="flite or espeak-ng is not installed",
)
def test_the_corpus_is_laid_out_as_librispeech(script, books, tmp_path):
    script.main(["--text", str(books), "--out", str(tmp_path / "out"), "--hours", "1"])
    corpus = open_corpus(tmp_path / "out")
    assert len(corpus) == 4
    lines = (tmp_path / "out" / "transcripts.txt").read_text().splitlines()
    assert {line.split()[0] for line in lines} == {r.path.stem for r in corpus.recordings}
