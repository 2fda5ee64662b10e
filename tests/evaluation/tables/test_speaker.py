"""Whose voice it is."""

import pytest
from asking import ask, utterance

from audiolm.audio.files import read
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import prompts_of
from audiolm.evaluation.tables import speaker
from audiolm.evaluation.tables import voices as voices_module
from audiolm.evaluation.tables.speaker import evaluate
from audiolm.evaluation.tables.voices import Voices, learn_voices, split
from audiolm.safety import classifier
from tiny import tiny_model


@pytest.fixture(scope="module")
def lm():
    return tiny_model()


class Ear:
    """Names the speaker of sound that it has heard before, and takes everything else for "x"."""

    classes = ("100", "101")

    def __init__(self, known):
        self.known = {read(u.recording.path).samples.tobytes(): u.speaker for u in known}
        self.heard = []

    def classify(self, audio):
        self.heard.append(audio)
        return self.known.get(audio.samples.tobytes(), "x")


@pytest.fixture
def corpus(corpus_folder):
    return corpus_folder(4, layout="librispeech", speakers=2, seconds=0.7)


@pytest.fixture
def ear(corpus, monkeypatch):
    everything = utterances(corpus)
    ear = Ear(everything)
    monkeypatch.setattr(speaker, "learn_voices", lambda request, progress: Voices(ear, everything))
    return ear


SHORT = {"prompt_seconds": 0.8, "seconds": 1.0, "samples": 2}


# ---- the table -----------------------------------------------------------------------------------


def test_all_kinds_of_sound_are_classified(lm, corpus, ear, tmp_path):
    shares = []
    request = ask(lm, corpus, tmp_path / "r" / "s", speaker=SHORT, progress=shares.append)
    result = evaluate(request)
    metrics = result.metrics
    assert metrics["original"].value == 100
    assert metrics["codec"].value == 0
    assert metrics["codec"].paper == 100
    assert metrics["acoustic_generation"].value == 0
    assert metrics["acoustic_generation"].count == 8
    # Three recordings last 0.8 s or more. Continuations are "x", and so are the prompts but one,
    # which is the whole of a recording that is known.
    assert metrics["continuation"].count == 6
    assert metrics["continuation"].value == 0
    assert metrics["continuation_like_prompt"].value == pytest.approx(200 / 3)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert result.conditions["chance"] == "50.0 %"
    assert [row[0] for row in result.tables[0].rows] == list(speaker.NAMES.values())


def test_continuations_are_heard_without_their_prompts(lm, corpus, ear, tmp_path):
    evaluate(ask(lm, corpus, tmp_path / "r" / "s", speaker=SHORT | {"samples": 1}))
    lasted = [audio.seconds for audio in ear.heard]
    assert lasted[-6:] == [1.0, 0.8] * 3  # continuation, prompt
    whole = lm.continuation(prompts_of(utterances(corpus)[1:], 0.8), 1.0)
    assert abs(ear.heard[-6].samples - whole[0].last(1.0).samples).max() < 1e-4


def test_the_limit_is_of_recordings(lm, corpus, ear, tmp_path):
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "s", speaker=SHORT, limit=2))
    assert result.metrics["original"].count == 2
    assert result.metrics["acoustic_generation"].count == 4


def test_a_model_without_stages_has_its_codec_measured(corpus, ear, tmp_path):
    result = evaluate(ask(tiny_model(kinds=()), corpus, tmp_path / "r" / "s", speaker=SHORT))
    assert set(result.metrics) == {"original", "codec"}
    assert "coarse, semantic" in result.conditions["not measured"]


# ---- learning the voices -------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_some_of_each_speaker_are_held_out(fraction):
    known = [utterance(f"{s}-{n}", s) for s, m in (("a", 20), ("b", 2), ("c", 1)) for n in range(m)]
    train, validation = split(known, fraction, seed=0)
    assert {u.recording.id for u in train} | {u.recording.id for u in validation} == {
        u.recording.id for u in known
    }
    assert len(train) + len(validation) == 23
    counts = [sum(u.speaker == s for u in validation) for s in "abc"]
    assert counts == [round(20 * fraction), 1, 0]
    assert split(known[::-1], fraction, seed=0)[1] == validation
    assert split(known, fraction, seed=1)[1] != validation


def test_recordings_that_the_model_learnt_from_are_never_judged_by():
    known = [utterance(f"t{n}", "a", split="train") for n in range(10)]
    known += [utterance(f"d{n}", "b", split="dev") for n in range(10)]
    _, validation = split(known, 0.2, seed=0)
    assert [u.speaker for u in validation] == ["b", "b"]
    _, validation = split(known[:10], 0.2, seed=0)  # a corpus of nothing else
    assert len(validation) == 2


def test_voices_are_learnt_once(lm, corpus_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "CHANNELS", (2, 4, 8, 8, 16, 16))
    root = corpus_folder(6, layout="librispeech", speakers=2, seconds=1.0)
    request = ask(lm, root, tmp_path / "r" / "speaker", speaker={"epochs": 1})
    voices = learn_voices(request)
    assert voices.classifier.classes == ["100", "101"]
    assert len(voices.validation) == 2
    kept = sorted(path.suffix for path in (tmp_path / "r" / "speaker-classifier").iterdir())
    assert kept == [".json", ".safetensors"]  # and no packed recordings

    def again(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(voices_module, "train_classifier", again)
    other_part = ask(lm, root, tmp_path / "r" / "continuation", speaker={"epochs": 1})
    assert learn_voices(other_part).validation == voices.validation
    with pytest.raises(AssertionError, match="trained again"):
        learn_voices(ask(lm, root, tmp_path / "r" / "speaker", speaker={"epochs": 2}))


def test_a_corpus_without_speakers_is_a_reason_to_skip(lm, corpus_folder, tmp_path):
    with pytest.raises(Skipped, match="does not say who speaks"):
        learn_voices(ask(lm, corpus_folder(2), tmp_path / "r" / "s"))


def test_one_speaker_is_an_error(lm, corpus_folder, tmp_path):
    root = corpus_folder(3, layout="librispeech", speakers=1)
    with pytest.raises(CorpusError, match=r"100 is its only speaker.*two or more"):
        learn_voices(ask(lm, root, tmp_path / "r" / "s"))


def test_one_recording_of_each_speaker_is_an_error(lm, corpus_folder, tmp_path):
    root = corpus_folder(3, layout="librispeech", speakers=3)
    with pytest.raises(CorpusError, match="one recording of each speaker"):
        learn_voices(ask(lm, root, tmp_path / "r" / "s"))
