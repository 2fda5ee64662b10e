"""Piano rolls of continuations: files for each, and one picture."""

import numpy as np
import pytest

from audiolm.audio.files import read
from playing import play
from tiny import tiny_model

pytest.importorskip("matplotlib")


class Scripted:
    name = "scripted"

    def __init__(self, device):
        pass

    def transcribe(self, audio):
        return np.array([[0.5, 1.0, 60, 80], [1.0, 1.0, 64, 120]])


def test_files_and_a_picture(load_script, tmp_path, monkeypatch, capsys):
    for number in range(3):
        play(tmp_path / "data", f"d{number}", number, seconds=4.5)
    lm = tiny_model(kinds=("semantic", "coarse", "acoustic_only"))
    lm.info = lm.info.model_copy(update={"prompt_seconds": 1.0, "seconds": 2.0})
    lm.save(tmp_path / "model")
    script = load_script("draw_piano_rolls")
    monkeypatch.setattr(script, "Transkun", Scripted)
    out = tmp_path / "out"
    script.main(
        [
            *(str(tmp_path / "data"), "--out", str(out), "--count", "2"),
            *("--model", str(tmp_path / "model")),
        ]
    )
    made = sorted(out.glob("*.wav"))
    assert len(made) == 4
    assert {path.stem.partition("-")[2] for path in made} == {"audiolm", "acoustic-only"}
    assert [read(path).seconds for path in made] == pytest.approx([3.0] * 4, abs=0.02)
    assert (out / "piano-rolls.png").read_bytes().startswith(b"\x89PNG")
    assert "2 prompts" in capsys.readouterr().out
