"""The table of hoarseness: the codec beside Opus, by speaker."""

import pytest
from asking import ask
from layouts import record

from audiolm.audio.waveform import Audio
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import systems
from audiolm.evaluation.tables.opus import OpusResult
from audiolm.evaluation.tables.voicing import evaluate, inputs
from tiny import tiny_model

pytest.importorskip("parselmouth")
pytest.importorskip("pesq")


class Opus:
    """Quieter than the recording, at nine tenths of the bitrate."""

    version = "opusenc 0"

    def __call__(self, audio, kilobits):
        return OpusResult(Audio(0.9 * audio.samples, 16_000), 0.9 * kilobits)


@pytest.fixture(autouse=True)
def opus(monkeypatch):
    monkeypatch.setattr(systems, "Opus", Opus)


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=())


@pytest.fixture
def corpus(corpus_folder):
    return corpus_folder(4, layout="librispeech", speakers=2, seconds=1.5)


SECTION = {"levels": (2, 4, 12), "opus": (8, 12)}


def test_every_system_is_measured(lm, corpus, tmp_path):
    shares = []
    request = ask(lm, corpus, tmp_path / "r" / "v", voicing=SECTION, progress=shares.append)
    result = evaluate(request)
    metrics = result.metrics
    assert metrics["voicing_f1.itself"].value == 100
    assert metrics["pitch_error.opus_8"].value == pytest.approx(0, abs=1)  # quieter, not hoarser
    assert metrics["periodicity_rmse.codec_2"].value > metrics["periodicity_rmse.opus_8"].value
    assert metrics["pesq.opus_12"].count == 4
    assert "pesq.codec_12" not in metrics  # the codec has 4 levels
    (table,) = result.tables
    assert [row[0] for row in table.rows] == [
        "The recording itself (ceiling)",
        "Codec, 2 levels",
        "Codec, 4 levels",
        "Opus, asked for 8 kbit/s",
        "Opus, asked for 12 kbit/s",
    ]
    assert table.rows[3][1] == 7.2
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert "autocorrelation" in result.conditions["pitch tracker"]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_number_of_recordings_is_limited(lm, corpus, tmp_path):
    request = ask(lm, corpus, tmp_path / "r" / "v", limit=2, voicing=SECTION)
    assert evaluate(request).metrics["pesq.itself"].count == 2


def test_it_is_made_again_once_opus_is_there(lm, corpus, tmp_path, monkeypatch):
    request = ask(lm, corpus, tmp_path / "r" / "v", voicing=SECTION)
    assert inputs(request) == {"opus": "opusenc 0"}

    def absent():
        raise Skipped("no opusenc", "install it")

    monkeypatch.setattr(systems, "Opus", absent)
    assert inputs(request) == {"opus": None}
    assert "not measured: no opusenc" in evaluate(request).conditions["opus"]


def test_recordings_without_a_voice_are_a_reason_to_skip(lm, tmp_path, monkeypatch):
    record(tmp_path / "data" / "a.wav", 1.5, 0)
    from audiolm.evaluation.metrics import voicing

    monkeypatch.setattr(voicing, "VOICING_THRESHOLD", 1.0)
    with pytest.raises(Skipped, match="no voice is found in any of 1 recordings"):
        evaluate(ask(lm, tmp_path / "data", tmp_path / "r" / "v", voicing=SECTION))
