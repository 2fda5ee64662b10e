"""Word and character errors."""

import pytest
import torch
from asking import add_transcripts, ask, utterance

from audiolm.audio.files import read
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import content
from audiolm.evaluation.tables.content import (
    Recognised,
    by_chance,
    error_metrics,
    evaluate,
    id_metrics,
)
from tiny import tiny_model

pytest.importorskip("jiwer")
LENGTHS = {"shortest": 0.5, "longest": 10.0}


def test_rates_are_all_errors_over_all_words():
    long = utterance("1", "a", text="ONE TWO THREE FOUR FIVE SIX")
    short = utterance("2", "b", text="SEVEN EIGHT")
    heard = [
        Recognised("original", long, "one two three four five six"),
        Recognised("original", short, ""),
        Recognised("codec", short, "seven eight"),
    ]
    metrics = error_metrics(heard, seed=0)
    assert metrics["wer.original"].value == pytest.approx(25)  # not the mean of 0 and 100
    assert metrics["wer.original"].count == 2
    assert metrics["wer.original"].low == 0
    assert metrics["wer.original"].high == 100
    assert metrics["wer.codec"].value == 0
    assert (metrics["cer.original"].paper, metrics["wer.original"].paper) == (0.8, 2.5)


def test_chance_takes_the_words_of_another_speakers_utterance():
    pool = [utterance(f"{s}{n}", s, text=f"{s}{n}") for s in "abc" for n in range(3)]
    heard = [Recognised("acoustic_generation", u, u.text) for u in pool for _ in range(2)]
    heard += [Recognised("codec", u, "no") for u in pool]
    chance = by_chance(heard)
    assert {one.kind for one in chance} == {"chance"}
    assert len(chance) == 18
    assert all(one.text[0] != one.utterance.speaker for one in chance)
    assert len({one.utterance.recording.id for one in chance}) == 9  # each is asked for once


def test_chance_prefers_another_speaker_to_half_way_round():
    pool = [
        utterance(f"{s}{n}", s, text=f"{s}{n}") for s, m in (("a", 6), ("b", 2)) for n in range(m)
    ]
    chance = by_chance([Recognised("acoustic_generation", u, u.text) for u in pool])
    assert all(one.text[0] != one.utterance.speaker for one in chance)


def test_chance_where_there_is_little_to_choose_from():
    one, two = utterance("1", "a"), utterance("2", "a")
    assert by_chance([Recognised("acoustic_generation", one, "x")]) == []
    (first, second) = by_chance(
        [Recognised("acoustic_generation", one, "x"), Recognised("acoustic_generation", two, "y")]
    )
    assert (first.utterance, first.text) == (two, "x")
    assert (second.utterance, second.text) == (one, "y")


def test_same_ids_are_counted_at_the_same_steps():
    one, two = utterance("1", "a"), utterance("2", "b")
    ids = torch.tensor
    heard = [
        Recognised("original", one, "", ids([1, 2, 3, 4])),
        Recognised("original", two, "", ids([5, 6])),
        Recognised("codec", one, "", ids([1, 2, 4, 4])),
        Recognised("codec", two, "", ids([6, 6, 7])),  # a step too long
        Recognised("acoustic_generation", one, "", ids([4, 1, 2])),
    ]
    metrics = id_metrics(heard, seed=0)
    assert set(metrics) == {"ids.codec", "ids.acoustic_generation"}
    assert metrics["ids.codec"].value == pytest.approx(100 * 4 / 6)
    assert metrics["ids.codec"].count == 2
    assert metrics["ids.acoustic_generation"].value == 0


class Listener:
    """Knows the originals by heart, and hears nothing in anything else."""

    name = "listener"

    def __init__(self, root, texts):
        audios = {path.stem: read(path) for path in root.rglob("*.wav")}
        self.texts = {audio.samples.tobytes(): texts[stem] for stem, audio in audios.items()}
        self.heard = []

    def transcribe(self, audio):
        self.heard.append(audio)
        return self.texts.get(audio.samples.tobytes(), "").upper()


@pytest.fixture
def corpus(corpus_folder):
    root = corpus_folder(4, layout="librispeech", speakers=2, seconds=0.6)
    return root, add_transcripts(root)


@pytest.fixture
def listener(corpus, monkeypatch):
    listener = Listener(*corpus)
    monkeypatch.setattr(content, "load_recogniser", lambda name, device: listener)
    return listener


def test_everything_is_listened_to(corpus, listener, tmp_path):
    shares = []
    request = ask(
        tiny_model(),
        corpus[0],
        tmp_path / "out" / "content",
        content=LENGTHS | {"samples": 2},
        progress=shares.append,
    )
    result = evaluate(request)
    assert len(listener.heard) == 4 * (1 + 1 + 2)
    metrics = result.metrics
    assert metrics["wer.original"].value == 0
    for kind in ("codec", "acoustic_generation", "chance"):
        assert metrics[f"wer.{kind}"].value == 100
    assert metrics["wer.acoustic_generation"].count == 8
    assert len(result.tables[0].rows) == 4
    lm, pieces = tiny_model(), sorted(corpus[0].rglob("*.wav"))
    same = steps = 0
    for path in pieces:
        audio = read(path)
        was, now = (lm.tokenize(x).semantic for x in (audio, lm.reconstruction(audio)))
        same, steps = same + int((was == now).sum()), steps + len(was)
    assert metrics["ids.codec"].value == pytest.approx(100 * same / steps)
    assert "listener" in result.conditions["recogniser"]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0])
    rates = {audio.sample_rate for audio in listener.heard}
    assert rates == {16_000}


def test_only_utterances_of_the_right_length_and_number(corpus, listener, tmp_path):
    section = {"shortest": 0.65, "longest": 0.85, "samples": 1}
    result = evaluate(ask(tiny_model(), corpus[0], tmp_path / "a" / "c", content=section))
    assert result.metrics["wer.original"].count == 2  # 0.7 and 0.8 s
    result = evaluate(ask(tiny_model(), corpus[0], tmp_path / "a" / "c", content=section, limit=1))
    assert result.metrics["wer.original"].count == 1
    assert "wer.chance" not in result.metrics


def test_without_a_coarse_stage_the_rest_is_measured(corpus, listener, tmp_path):
    result = evaluate(ask(tiny_model(kinds=()), corpus[0], tmp_path / "a" / "c", content=LENGTHS))
    assert "wer.codec" in result.metrics
    assert "wer.acoustic_generation" not in result.metrics
    assert "no stage coarse" in result.conditions["not measured"]


def test_without_transcripts_it_says_what_it_needs(corpus_folder, tmp_path):
    root = corpus_folder(2, seconds=0.5)
    with pytest.raises(Skipped, match=r"no transcripts.*transcripts\.txt"):
        evaluate(ask(tiny_model(), root, tmp_path / "a" / "c"))


def test_without_utterances_of_the_length_it_says_so(corpus, tmp_path):
    with pytest.raises(Skipped, match="4 to 10 s"):
        evaluate(ask(tiny_model(), corpus[0], tmp_path / "a" / "c"))
