"""The transcriber: what it answers, that answers are kept, and what is said without it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import read_notes
from audiolm.evaluation.metrics import transcription
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import transcriber
from audiolm.evaluation.tables.transcriber import KeptTranscripts, Transkun

CPU = torch.device("cpu")
MAPS = Path(__file__).parents[4] / "shared" / "data" / "piano" / "maps" / "dev"


class Counting:
    name = "counting"
    heard = 0

    def transcribe(self, audio):
        self.heard += 1
        return np.array([[0.0, audio.seconds, 60, 80]])


def test_answers_are_kept_and_damaged_ones_made_again(tmp_path):
    ear = Counting()
    audio = Audio(np.full(16_000, 0.1, dtype=np.float32), 16_000)
    for _ in range(2):
        found = KeptTranscripts(ear, tmp_path / "kept").transcribe(audio)
        assert found.tolist() == [[0, 1, 60, 80]]
    assert ear.heard == 1
    (path,) = (tmp_path / "kept").iterdir()
    path.write_bytes(path.read_bytes()[:40])
    assert KeptTranscripts(ear, tmp_path / "kept").transcribe(audio).tolist() == [[0, 1, 60, 80]]
    KeptTranscripts(ear, tmp_path / "kept").transcribe(audio.first(0.5))
    assert ear.heard == 3


def test_without_it_the_remedy_is_said(monkeypatch):
    def absent(name):
        raise ImportError("No module named 'transkun'")

    monkeypatch.setattr(transcriber, "import_module", absent)
    with pytest.raises(Skipped, match=r"pip install --no-deps transkun==2\.0\.1"):
        Transkun(CPU)
    stand_in = sys.modules.get("torchaudio")
    assert stand_in is None or hasattr(stand_in, "__version__")  # only while it is built


@pytest.mark.slow
@pytest.mark.skipif(not MAPS.is_dir(), reason="needs ../shared/data/piano")
def test_a_recording_is_written_down():
    pytest.importorskip("transkun.ModelTransformer", reason="transkun is not installed")
    ear = Transkun(CPU)
    found = ear.transcribe(read(MAPS / "MAPS_MUS-chpn-p7_AkPnCGdD.flac").first(10.0))
    played = read_notes(MAPS / "MAPS_MUS-chpn-p7_AkPnCGdD.tsv")
    assert ear.name == "transkun 2.0.1"
    assert transcription.evaluate(played[played[:, 0] < 10], found)["f1"] > 80
    assert ear.transcribe(Audio(np.zeros(16_000, dtype=np.float32), 16_000)).shape == (0, 4)
