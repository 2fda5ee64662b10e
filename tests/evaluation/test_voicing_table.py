"""Hoarseness of what the codec makes, beside Opus."""

import numpy as np
import pytest
from asking import ask

from audiolm.audio.waveform import Audio
from audiolm.evaluation import reconstruction
from audiolm.evaluation.opus import OpusResult
from audiolm.evaluation.voicing import evaluate
from tiny import tiny_model

pytest.importorskip("parselmouth", reason="needs praat-parselmouth")
pytest.importorskip("pesq", reason="needs pesq")


class Opus:
    """The recording itself."""

    version = "opusenc 0"

    def __call__(self, audio, kilobits):
        return OpusResult(audio, 0.9 * kilobits)


@pytest.fixture
def voices(tmp_path):
    """Two speakers with a recording of a voice each."""
    t = np.arange(32000) / 16000
    for speaker, pitch in ((1, 120.0), (2, 210.0)):
        waves = sum(np.cos(2 * np.pi * k * pitch * t) / k for k in range(1, 12))
        slow = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * t)
        folder = tmp_path / "data" / str(speaker) / "1"
        folder.mkdir(parents=True)
        Audio((0.1 * slow * waves).astype(np.float32), 16000).write(
            folder / f"{speaker}-1-0000.wav"
        )
    return tmp_path / "data"


def test_opus_that_changes_nothing_has_no_error_and_an_untrained_codec_has(
    voices, tmp_path, monkeypatch
):
    monkeypatch.setattr(reconstruction, "Opus", Opus)
    section = {"levels": (4, 12), "opus": (8,)}
    result = evaluate(ask(tiny_model(kinds=()), voices, tmp_path / "r" / "x", voicing=section))
    metrics = result.metrics
    assert metrics["periodicity_error.opus_8"].value == pytest.approx(0, abs=1e-6)
    assert metrics["voicing_f1.opus_8"].value == pytest.approx(1)
    assert metrics["pesq.opus_8"].value > 4
    assert metrics["periodicity_error.codec_4"].value > 0.2
    assert metrics["pesq.codec_4"].value < 3
    (table,) = result.tables
    assert [row[0] for row in table.rows] == ["Codec, 4 levels", "Opus, asked for 8 kbit/s"]
    assert table.rows[1][1] == pytest.approx(7.2)
    assert "parselmouth" in result.conditions["pitch"]


def test_without_opus_the_codec_is_measured_alone(voices, tmp_path):
    section = {"levels": (4,), "opus": ()}
    result = evaluate(ask(tiny_model(kinds=()), voices, tmp_path / "r" / "x", voicing=section))
    assert {name.split(".")[1] for name in result.metrics} == {"codec_4"}
