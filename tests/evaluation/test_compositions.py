"""Which composition a recording is of, by tables as they are published."""

from dataclasses import replace

import pytest
from asking import utterance

from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import is_music, utterances
from audiolm.evaluation.halves import half_of
from playing import play


@pytest.fixture
def root(tmp_path):
    for name in ("a", "b", "c"):
        play(tmp_path / "maps" / "dev" / "font", name, 0, seconds=1.0)
    return tmp_path / "maps" / "dev"


def whose(root):
    return {u.recording.id: u.speaker for u in utterances(root)}


def test_without_a_table_each_recording_is_a_piece(root):
    assert len(set(whose(root).values())) == 3


def test_a_table_in_the_folder_names_files_without_suffix(root):
    rows = "file,score,composition\nfont/a,x.mid,waltz\nfont/b,y.mid,waltz\n"
    (root / "drawn.csv").write_text(rows)
    assert whose(root) == {
        "font/a": "composition waltz",
        "font/b": "composition waltz",
        "font/c": "recording font/c",
    }


def test_a_table_beside_the_folder_names_files_with_suffix(root):
    (root.parent / "dev.csv").write_text("file,composition,piano\nfont/a.wav,waltz,grand\n")
    assert whose(root)["font/a"] == "composition waltz"


def test_maestros_table(root):
    header = "canonical_composer,canonical_title,split,audio_filename"
    rows = [f"Chopin,{'Waltz' if n in 'ab' else 'Etude'},test,font/{n}.wav" for n in "abc"]
    (root / "maestro-v3.0.0.csv").write_text("\n".join([header, *rows]))
    assert list(whose(root).values()) == [
        "composition Chopin: Waltz",
        "composition Chopin: Waltz",
        "composition Chopin: Etude",
    ]


def test_other_tables_are_passed_over_and_broken_ones_told(root):
    (root / "speakers.csv").write_bytes(b"speaker,sex\n1,\xff\n")
    assert len(set(whose(root).values())) == 3
    (root / "notes.csv").write_bytes(b"file,composition\n\xff\n")
    with pytest.raises(CorpusError, match=r"notes\.csv: line 2 is no text in UTF-8"):
        utterances(root)


def test_the_pieces_of_both_performances_are_in_one_half(root):
    (root / "drawn.csv").write_text("file,composition\nfont/a,waltz\nfont/b,waltz\nfont/c,waltz\n")
    half = half_of("composition waltz")
    assert len(utterances(root, speakers=half)) == 3


def test_a_known_speaker_counts_more_than_a_composition():
    assert replace(utterance("a", "anna"), composition="waltz").speaker == "anna"


def test_music_is_told_by_what_lies_beside_recordings(root):
    found = utterances(root)
    assert is_music(root, found)
    for table in root.rglob("*.tsv"):
        table.unlink()
    assert not is_music(root, found)
    (root / "maestro-v3.0.0.csv").write_text("")
    assert is_music(root, found)
