"""The protocol by which detectors are judged."""

import pytest
from asking import ask, utterance

from audiolm.audio.files import read
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.detection import (
    detector_of,
    evaluate,
    strangers_to,
)
from tiny import LEVELS, tiny_model

SHORT = {"prompt_seconds": 0.64, "seconds": 1.0}


@pytest.fixture
def lm():
    return tiny_model()


@pytest.fixture
def corpus(corpus_folder):
    return corpus_folder(4, layout="librispeech", speakers=2, seconds=1.5)


class Detector:
    """Answers from a list, and remembers what it heard."""

    def __init__(self, answers, speakers=()):
        self.answers, self.speakers, self.heard = list(answers), speakers, []

    def __call__(self, audio):
        self.heard.append(audio)
        return self.answers[(len(self.heard) - 1) % len(self.answers)]


def test_pairs_of_equal_length_from_the_same_place_are_judged(lm, corpus, tmp_path):
    lm.detector = Detector([0.0, 1.0])
    shares = []
    request = ask(
        lm, corpus, tmp_path / "r" / "d", detection=SHORT, limit=2, progress=shares.append
    )
    result = evaluate(request)
    assert result.metrics["balanced_accuracy"].value == 100
    assert result.metrics["balanced_accuracy"].count == 2
    assert [audio.seconds for audio in lm.detector.heard] == [1.0] * 4
    assert shares[-1] == 1
    assert f"{LEVELS} levels" in result.conditions["originals"]


def test_originals_go_through_the_codec(lm, corpus, tmp_path):
    lm.detector = Detector([0.5])
    evaluate(ask(lm, corpus, tmp_path / "r" / "d", detection=SHORT))
    (first, *_) = sorted(p for p in corpus.rglob("*.wav") if read(p).seconds >= 1.64)
    wanted = lm.reconstruction(read(first).first(1.64)).last(1.0)
    assert abs(lm.detector.heard[0].samples - wanted.samples).max() < 1e-6


def test_speakers_of_the_training_are_left_out(lm, corpus, tmp_path):
    lm.detector = Detector([0.5], speakers={"101"})
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "d", detection=SHORT))
    assert result.metrics["balanced_accuracy"].count == 1  # the second of speaker 100
    lm.detector = Detector([0.5], speakers={"100", "101"})
    with pytest.raises(Skipped, match="trained on every speaker"):
        evaluate(ask(lm, corpus, tmp_path / "r" / "d", detection=SHORT))


def test_a_plain_function_is_a_detector_of_everyone():
    pool = [utterance("1", "a"), utterance("2", "b")]
    assert strangers_to(lambda audio: 0.5, pool) == pool


def test_a_model_without_detector_is_skipped(lm, corpus, tmp_path):
    with pytest.raises(Skipped, match="no detector; give a model that brings one"):
        evaluate(ask(lm, corpus, tmp_path / "r" / "d"))
    lm.detector = lambda audio: 0.5
    assert detector_of(lm) is lm.detector


def test_recordings_that_are_too_short_are_a_reason_to_skip(lm, corpus, tmp_path):
    lm.detector = Detector([0.5])
    with pytest.raises(Skipped, match="no recording lasts 10 s or more"):
        evaluate(ask(lm, corpus, tmp_path / "r" / "d"))
