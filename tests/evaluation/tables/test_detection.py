"""The protocol by which detectors are judged."""

import numpy as np
import pytest
from asking import ask, utterance

from audiolm.audio.files import read
from audiolm.evaluation.options import DetectionConfig
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import fitted_detector, other_generators
from audiolm.evaluation.tables.detection import evaluate, inputs
from audiolm.evaluation.tables.detection_pairs import continued_pairs, strangers_to
from audiolm.evaluation.tables.fitted_detector import Clips
from audiolm.model_io.folder import save_part
from audiolm.safety import classifier
from audiolm.safety.detector import Detector, hidden
from safety.made_up import CONFIG, hears_noise
from tiny import LEVELS, noise, tiny_model

SHORT = {"prompt_seconds": 0.64, "seconds": 1.0, "lengths": (1.0, 1.2), "fitted_epochs": 0}


@pytest.fixture
def lm():
    return tiny_model()


@pytest.fixture
def corpus(corpus_folder):
    return corpus_folder(4, layout="librispeech", speakers=2, seconds=1.5)


@pytest.fixture
def detector(tmp_path, monkeypatch):
    """`detector(speakers=())`: a folder with a detector that hears noise."""
    monkeypatch.setattr(Detector, "forward", hears_noise)

    def make(speakers=()):
        known = tuple(hidden(speaker) for speaker in speakers)
        part = Detector(CONFIG.model_copy(update={"speakers": known}))
        save_part(tmp_path / "detecting", "detector", part)
        return {"detector": str(tmp_path / "detecting")}

    return make


def test_everything_about_the_models_own_detector(lm, corpus, tmp_path, detector) -> None:
    shares = []
    options = {**SHORT, **detector(), "corpora": (str(corpus),), "clips": 2}
    request = ask(lm, corpus, tmp_path / "r" / "d", detection=options, progress=shares.append)
    result = evaluate(request)
    metrics = result.metrics
    assert metrics["balanced_accuracy"].count == 2  # of 1.64 s and more
    assert {"auc", "eer", "min_dcf", "cllr", "found.1", "false_alarms.0.1"} <= metrics.keys()
    assert {"length.1.accuracy", "condition.mp3_64_kbit/s.found.1"} <= metrics.keys()
    assert "condition.the_model's_codec.accuracy" in metrics
    assert "generator.temperatures_x_1.3.found.1" in metrics
    assert "corpus.corpus.raw.false_alarms.1" in metrics and "joint.found" in metrics
    assert metrics["condition.clean.found.1"].count == 2
    assert not any(name.startswith("fitted") for name in metrics)
    assert shares[-1] == 1
    assert f"{LEVELS} levels" in result.conditions["originals"]
    titles = [table.title for table in result.tables]
    assert titles[0] == "Detection of synthetic speech" and len(titles) == 6
    lacking = {row[0]: row[-1] for row in result.tables[3].rows}
    assert lacking["acoustic-only baseline"] == "the model has no such stage"
    assert "detector" in inputs(request)


def test_pairs_stand_in_the_same_place(lm, corpus, tmp_path) -> None:
    request = ask(lm, corpus, tmp_path / "r" / "d", detection=SHORT)
    pairs = continued_pairs(request, request.utterances(), 1.0)
    assert [clip.seconds for clip in (*pairs.raw, *pairs.coded, *pairs.made)] == [1.0] * 6
    (first, *_) = sorted(p for p in corpus.rglob("*.wav") if read(p).seconds >= 1.64)
    recording = read(first).first(1.64)
    assert np.array_equal(pairs.raw[0].samples, recording.last(1.0).samples)
    wanted = lm.reconstruction(recording).last(1.0)
    assert abs(pairs.coded[0].samples - wanted.samples).max() < 1e-6
    assert np.array_equal(pairs.made[0].samples, pairs.whole[0].last(1.0).samples)


def test_speakers_of_the_training_are_left_out(lm, corpus, tmp_path, detector) -> None:
    options = {**SHORT, **detector(["101"]), "conditions": False, "generators": False}
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "d", detection=options))
    assert result.metrics["balanced_accuracy"].count == 1  # the second of speaker 100
    options |= detector(["100", "101"])
    with pytest.raises(Skipped, match="trained on every speaker"):
        evaluate(ask(lm, corpus, tmp_path / "r" / "e", detection=options))
    pool = [utterance("1", "a"), utterance("2", "b")]
    assert strangers_to([], pool) == pool


def test_a_model_without_detector_has_the_fitted_one_only(
    lm, corpus, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(classifier, "CHANNELS", (4, 8))
    monkeypatch.setattr(classifier, "BATCH_SIZE", 4)
    lm.save(tmp_path / "plain", "float32")
    options = {**SHORT, "fitted_epochs": 2, "detector": str(tmp_path / "plain")}
    request = ask(lm, corpus, tmp_path / "r" / "d", detection=options)
    result = evaluate(request)
    assert set(result.metrics) == {
        f"fitted.{name}"
        for name in ("balanced_accuracy", "synthetic_found", "real_passed", "ranked")
    }
    assert result.metrics["fitted.balanced_accuracy"].paper == 98.6
    assert inputs(request) == {}


def test_neither_detector_is_a_reason_to_skip(lm, corpus, tmp_path) -> None:
    with pytest.raises(Skipped, match="no detector, and none is to be fitted"):
        evaluate(ask(lm, corpus, tmp_path / "r" / "d", detection=SHORT))


def test_recordings_that_are_too_short_are_a_reason_to_skip(lm, corpus, tmp_path) -> None:
    with pytest.raises(Skipped, match="no recording lasts 10 s or more"):
        evaluate(ask(lm, corpus, tmp_path / "r" / "d"))


def test_a_fitted_detector_is_judged_on_speakers_it_did_not_hear(monkeypatch) -> None:
    heard = []

    class Sure:
        classes = ("made", "real")

        def probabilities(self, audio):
            heard.append(audio)
            return (float(audio.samples[0]), 0.0)

    def train(clips, labels, *rest):
        assert len(clips) == 4 and labels == ["real", "real", "made", "made"]  # of a, a
        return Sure()

    monkeypatch.setattr(fitted_detector, "train_classifier", train)
    real, made = [noise(1.0, n) for n in range(3)], [noise(1.0, 9 + n) for n in range(3)]
    for clip, level in ((real[2], 0.2), (made[2], 0.9)):
        clip.samples[0] = level
    found = fitted_detector.fitted(
        real, made, ["a", "a", "b"], DetectionConfig(), None, 0, lambda share: None
    )
    assert heard == [real[2], made[2]]
    assert found["balanced_accuracy"].value == 100
    with pytest.raises(Skipped, match="of one speaker"):
        fitted_detector.fitted(real, made, ["a"] * 3, DetectionConfig(), None, 0, print)


def test_clips_in_memory_are_cropped_and_filled() -> None:
    clips = Clips([noise(0.5), noise(1.0)])
    assert len(clips) == 2 and clips.length(0) == 8000
    crop = clips.crop(0, 4000, 16_000)
    assert np.array_equal(crop[:4000], noise(0.5).samples[4000:]) and not crop[4000:].any()


def test_programs_that_are_not_there_are_told(monkeypatch) -> None:
    monkeypatch.setattr(other_generators.shutil, "which", lambda name: None)
    with pytest.raises(Skipped, match="espeak-ng is not installed"):
        other_generators.spoken_by("espeak-ng")
