"""Continuations of prompts and of the baseline."""

import math

import pytest
import torch
from asking import add_transcripts, ask, utterance

from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import continuation
from audiolm.evaluation.tables.continuation import conditional_bits, evaluate, words_by_speaker
from audiolm.evaluation.tables.voices import Voices
from audiolm.stages import Streams
from tiny import noise, tiny_model

SHORT = {"prompt_seconds": 0.64, "seconds": 1.0, "samples": 2}


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse", "fine", "acoustic_only"))


@pytest.fixture
def corpus(corpus_folder):
    root = corpus_folder(4, layout="librispeech", speakers=2, seconds=1.7)
    add_transcripts(root)
    return root


class Ear:
    classes = ("100", "101")

    def __init__(self):
        self.heard = []

    def classify(self, audio):
        self.heard.append(audio)
        return "100"

    def windows(self, audio, hop):
        count = 1 + max(0, len(audio.samples) - 16_000) // hop
        return torch.tensor([[0.9, 0.1]] * count), torch.tensor([[1.0, 2.0]] * count)


class Recogniser:
    name = "scripted"

    def transcribe(self, audio):
        return "Now is the zebra."


@pytest.fixture
def judged(corpus, monkeypatch):
    """Everything sounds like speaker 100 and says the same."""
    ear, everything = Ear(), utterances(corpus)
    monkeypatch.setattr(
        continuation, "learn_voices", lambda request, progress: Voices(ear, everything)
    )
    monkeypatch.setattr(continuation, "load_recogniser", lambda name, device: Recogniser())
    return ear


@pytest.mark.parametrize("remove_repeats", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_bits_are_those_of_the_whole_without_those_of_the_prompt(remove_repeats, seed):
    lm = tiny_model(kinds=("semantic",), remove_repeats=remove_repeats)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 3, (40,), generator=generator)  # few ids: many repeats
    stage = lm.stages["semantic"]
    whole, prompt = (stage.log_likelihood(Streams(part[None])) for part in (ids, ids[:16]))
    bits, tokens = conditional_bits(lm, ids, 16 * 0.04)
    wanted = float(prompt.total - whole.total) / math.log(2)
    assert bits == pytest.approx(wanted, rel=1e-4)
    assert tokens == int(whole.predicted.sum() - prompt.predicted.sum())
    assert tokens == (24 if not remove_repeats else int((ids[16:] != ids[15:-1]).sum()))


def test_everything_is_measured(lm, corpus, judged, tmp_path):
    shares = []
    request = ask(lm, corpus, tmp_path / "r" / "c", continuation=SHORT, progress=shares.append)
    result = evaluate(request)
    metrics = result.metrics
    for kind, count in (("original", 4), ("audiolm", 8), ("acoustic_only", 8)):
        assert metrics[f"voice.{kind}"].value == 50
        assert metrics[f"voice.{kind}"].count == count
        assert metrics[f"bits.{kind}"].value > 0
        assert 0 < metrics[f"known_words.{kind}"].value < 100
        assert metrics[f"words_per_second.{kind}"].unit == "words/s"
        assert 0 <= metrics[f"silence.{kind}"].value < 100
        assert metrics[f"silence.{kind}"].count == count
    assert metrics["words_per_second.audiolm"].value == 4
    assert metrics["voice.audiolm"].paper == 92.6
    assert metrics["bits.audiolm"].value != metrics["bits.acoustic_only"].value
    assert set(metrics) >= {"bits.shuffled"}
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(result.tables[0].rows) == 4
    assert all(len(row) == len(result.tables[0].columns) for row in result.tables[0].rows)


def test_what_is_heard_is_what_follows_the_prompt(lm, corpus, judged, tmp_path):
    evaluate(ask(lm, corpus, tmp_path / "r" / "c", continuation=SHORT | {"samples": 1}))
    seconds = [round(audio.seconds, 6) for audio in judged.heard]
    assert seconds == [1.0] * 12  # of the original no more than of a continuation


def test_the_voice_is_heard_second_by_second(lm, corpus, judged, tmp_path):
    section = SHORT | {"samples": 1, "seconds": 2.0}
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "c", continuation=section))
    metrics = result.metrics
    assert metrics["accuracy_second_1.audiolm"].value == 50  # everything sounds like speaker 100
    assert metrics["cosine_second_2.audiolm"].value == pytest.approx(1)
    assert metrics["accuracy_second_2.audiolm"].count == 4
    assert "accuracy_second_2.original" not in metrics  # the recordings end after the first
    assert metrics["cosine_second_1.stranger"].count == 4
    assert "accuracy_second_3.audiolm" not in metrics
    table = result.tables[1]
    assert table.columns == ["Continuation", "", "second 1", "second 2"]
    assert all(len(row) == 4 for row in table.rows)
    assert [path.name for path in result.plots] == ["voice.svg"]


def test_known_words_are_those_of_other_speakers(corpus, judged, tmp_path, lm):
    (corpus / "transcripts.txt").write_text("100-1-0000 NOW NOW IS\n101-1-0001 THE\n")
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "c", continuation=SHORT))
    # "now is the zebra": speaker 100 is given THE, speaker 101 NOW and IS.
    assert result.metrics["known_words.audiolm"].value == pytest.approx(100 * (1 + 2) / 8)


def test_words_are_listed_with_who_says_them():
    pool = [utterance("1", "a", text="One, TWO!"), utterance("2", "b", text="two")]
    pool.append(utterance("3", "c", text=None))
    assert words_by_speaker(pool) == {"one": {"a"}, "two": {"a", "b"}}


def test_without_a_baseline_the_rest_is_measured(corpus, judged, tmp_path):
    result = evaluate(ask(tiny_model(), corpus, tmp_path / "r" / "c", continuation=SHORT))
    assert "bits.audiolm" in result.metrics
    assert "bits.acoustic_only" not in result.metrics
    assert "no stage acoustic_only" in result.conditions["baseline"]


def test_the_baseline_may_be_left_out(lm, corpus, judged, tmp_path):
    section = SHORT | {"baseline": False}
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "c", continuation=section))
    assert "bits.acoustic_only" not in result.metrics


def test_without_voices_and_words_bits_and_silence_are_left(lm, corpus, tmp_path, monkeypatch):
    def one_speaker(request, progress):
        raise CorpusError("one speaker only")

    monkeypatch.setattr(continuation, "learn_voices", one_speaker)
    section = SHORT | {"recogniser": ""}
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "c", continuation=section))
    assert {name.partition(".")[0] for name in result.metrics} == {"bits", "silence"}
    assert "one speaker only" in result.conditions["voices"]
    assert "not measured" in result.conditions["words"]


def test_without_transcripts_there_are_no_words(lm, corpus, judged, tmp_path):
    (corpus / "transcripts.txt").unlink()
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "c", continuation=SHORT))
    assert "known_words.audiolm" not in result.metrics
    assert "no transcripts" in result.conditions["words"]


def test_a_model_that_cannot_continue_is_skipped(corpus, tmp_path):
    with pytest.raises(Skipped, match="no stage semantic"):
        evaluate(ask(tiny_model(kinds=("coarse",)), corpus, tmp_path / "r" / "c"))


def test_bits_of_a_prompt_alone_are_none(lm):
    ids = lm.tokenize(noise(1.0)).semantic
    assert conditional_bits(lm, ids, 1.0) == (0.0, 0)
