"""Continuations, heard and seen: a file for each, and one picture."""

import pytest

from audiolm.audio.files import read
from tiny import tiny_model

pytest.importorskip("matplotlib")


def test_files_and_a_picture(load_script, corpus_folder, tmp_path, capsys):
    root = corpus_folder(4, layout="librispeech", speakers=2, seconds=4.2)
    tiny_model().save(tmp_path / "model")
    script = load_script("draw_continuations")
    script.main(
        [
            *(str(root), "--out", str(tmp_path / "out"), "--count", "2"),
            *("--model", str(tmp_path / "model")),
        ]
    )
    made = sorted((tmp_path / "out").glob("*.wav"))
    assert len(made) == 2
    assert [read(path).seconds for path in made] == pytest.approx([10.0, 10.0], abs=0.02)
    assert (tmp_path / "out" / "continuations.png").read_bytes().startswith(b"\x89PNG")
    assert "2 continuations" in capsys.readouterr().out
