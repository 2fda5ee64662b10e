"""Continuations of music, written down by a transcriber that a script replaces."""

import numpy as np
import pytest
from asking import ask

from audiolm.audio.waveform import Audio
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.metrics.music import FEATURES, RELATIONS
from audiolm.evaluation.metrics.statistics import Metric
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import music
from audiolm.evaluation.tables.music import evaluate, way
from audiolm.evaluation.tables.music_nearness import sign_test
from audiolm.evaluation.tables.music_windows import first_sound, other_pieces, windows_of
from playing import play
from tiny import tiny_model

pytest.importorskip("mir_eval")
SHORT = {"prompt_seconds": 1.0, "seconds": 2.0, "samples": 2, "places": 2}
KINDS = ("original", "audiolm", "acoustic_only", "other")


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse", "acoustic_only"))


class ByLevel:
    """Writes a note wherever a tenth of a second is louder than the one before it."""

    name = "scripted"
    heard = 0

    def __init__(self, device):
        pass

    def transcribe(self, audio):
        type(self).heard += 1
        step = audio.sample_rate // 10
        samples = audio.samples[: len(audio.samples) // step * step].reshape(-1, step)
        level = np.square(samples).mean(axis=1)
        begins = 1 + np.flatnonzero(np.diff(level) > 0)
        rows = [(0.1 * n, 0.1 * n + 0.1, 48 + n % 12, 60 + n % 40) for n in begins]
        return np.array(rows, dtype=float).reshape(-1, 4)


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    monkeypatch.setattr(music, "Transkun", ByLevel)
    ByLevel.heard = 0


@pytest.fixture
def data(tmp_path):
    for number in range(3):
        play(tmp_path / "data", f"d{number}", number, seconds=6.5)
    return tmp_path / "data"


def test_everything_is_measured(lm, data, tmp_path):
    shares = []
    request = ask(lm, data, tmp_path / "r" / "m", music=SHORT, progress=shares.append)
    result = evaluate(request)
    metrics = result.metrics
    for kind, count in zip(KINDS, (6, 12, 12, 6), strict=True):
        assert metrics[f"density.{kind}"].count == count
        assert {f"{name}.{kind}" for name in FEATURES} - metrics.keys() <= {f"motives.{kind}"}
        assert f"to_prompt.pitch_classes.{kind}" in metrics
    assert metrics["nearer_by_metrics.pairs"].count == 12
    assert metrics["nearer_by_metrics.pieces"].count == 3
    assert metrics["distance_to_true.audiolm"].value > 0
    assert metrics["transcriber_f1.recording"].count == 6
    relations, features, *_ = result.tables
    assert len(result.tables) == 4
    assert [row[0] for row in relations.rows][4] == "AudioLM: way from floor to ceiling, %"
    assert len(relations.columns) == 1 + len(RELATIONS)
    assert len(features.columns) == 1 + len(FEATURES)
    for table in result.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert "of 3 pieces" in result.conditions["prompts"]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    heard = ByLevel.heard
    assert evaluate(request).metrics == metrics  # what is written down is kept
    assert ByLevel.heard == heard


def test_lengths_are_the_models_own(data, tmp_path):
    lm = tiny_model(kinds=("semantic", "coarse"))
    lm.info = lm.info.model_copy(update={"prompt_seconds": 1.5, "seconds": 2.5})
    result = evaluate(ask(lm, data, tmp_path / "r" / "m", music={"places": 1}))
    assert result.conditions["prompts"].startswith("3 of 1.5 s")
    assert result.conditions["continuations"] == "1 of 2.5 s each"
    assert "no stage acoustic_only" in result.conditions["baseline"]
    assert "nearer_by_metrics.pairs" not in result.metrics
    assert "distance_to_true.other" in result.metrics


def test_what_is_missing_is_said(lm, data, tmp_path):
    out = tmp_path / "r" / "m"
    with pytest.raises(Skipped, match="two pieces that last 64 s"):
        evaluate(ask(lm, data, out, music={"seconds": 60.0, "prompt_seconds": 4.0}))
    with pytest.raises(Skipped, match="no stage semantic"):
        evaluate(ask(tiny_model(kinds=("acoustic_only",)), data, out, music=SHORT))
    (data / "d0.tsv").write_text("0.5\t0.4\t60\t90\n")
    with pytest.raises(CorpusError, match=r"d0\.tsv: a note ends before it begins"):
        evaluate(ask(lm, data, out, music=SHORT))
    for table in data.glob("*.tsv"):
        table.unlink()
    with pytest.raises(Skipped, match=r"--set music\.unlabelled=true"):
        evaluate(ask(lm, data, out, music=SHORT))
    result = evaluate(ask(lm, data, out, music=SHORT | {"unlabelled": True}))
    assert "transcriber_f1.recording" not in result.metrics


def test_windows_follow_each_other_from_the_first_sound_on(tmp_path):
    for number in range(2):
        samples = np.concatenate([np.zeros(8000), np.full(5 * 16_000, 0.1)]).astype(np.float32)
        Audio(samples, 16_000).write(tmp_path / f"{number}.wav")
    found = windows_of(utterances(tmp_path), 2.0, 3)
    assert [window.begin for window in found] == [0.5, 2.5] * 2  # a third would be cut
    assert first_sound(Audio(np.zeros(16_000, dtype=np.float32), 16_000)) == 0


def test_another_piece_is_another():
    pieces = ["a", "a", "b", "c", "b"]
    chosen = other_pieces(pieces, 0)
    assert all(pieces[j] != own for own, j in zip(pieces, chosen, strict=True))
    assert chosen == other_pieces(pieces, 0)


def test_the_way_from_floor_to_ceiling():
    def made(name, *values):
        kinds = zip(("audiolm", "other", "original"), values, strict=True)
        return {f"to_prompt.{name}.{kind}": Metric(v, v, v, 1, "") for kind, v in kinds}

    assert way(made("key_score", 0.5, 0.2, 0.6), "key_score", "audiolm") == 75
    assert way(made("level", 3.0, 5.0, 1.0), "level", "audiolm") == 50
    assert way(made("level", 3.0, 1.0, 5.0), "level", "audiolm") is None  # a floor that is nearer
    assert way({}, "level", "audiolm") is None


def test_the_sign_test_leaves_ties_out():
    from scipy.stats import binomtest

    assert sign_test([1.0, 2.0, -1.0, 0.0, 3.0]) == ("3 of 4", f"{binomtest(3, 4).pvalue:.2g}")
    assert sign_test([0.0]) == ("0 of 0", "nan")
