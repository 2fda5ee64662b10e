"""The table of the mark: by condition and length, on recordings, and what it costs."""

import numpy as np
import pytest
from asking import add_transcripts, ask

from audiolm.errors import ConfigurationError
from audiolm.evaluation.metrics import quality
from audiolm.evaluation.metrics.statistics import clopper_pearson
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import watermark, watermark_costs
from audiolm.evaluation.tables.watermark import clips, evaluate, hop_for, wrong_bits
from audiolm.evaluation.tables.watermark_costs import Pair
from audiolm.safety.watermark import MarkReading, Payload
from tiny import tiny_model

SMALL = {
    "prompt_seconds": 0.64,
    "lengths": [0.5, 2.0],
    "conditions": ["clean", "gain -12 dB", "own codec"],
    "clips": 20,
}


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse"))


@pytest.fixture
def scripted(monkeypatch):
    """A ViSQOL that counts how many samples differ, and a recogniser that hears loudness."""

    class Scripted:
        def __init__(self, mode):
            self.mode, self.mapper = mode, "scripted"

        def score(self, made, real):
            return 4.0 - float(np.mean(made.samples != real.samples))

    monkeypatch.setattr(watermark, "Visqol", Scripted)
    monkeypatch.setattr(watermark_costs, "load_recogniser", lambda name, device: Listener())
    assert quality.Visqol is not Scripted


class Listener:
    """A recogniser to which single samples are words: quiet or loud."""

    name = "listener"

    def transcribe(self, audio):
        return " ".join("ab"[int(abs(x) > 0.01)] for x in audio.samples[1000:5000:100])


def test_found_read_and_paid_for(lm, corpus_folder, tmp_path, scripted):
    corpus = corpus_folder(4, layout="librispeech", speakers=2, seconds=2.5)
    shares = []
    request = ask(
        lm, corpus, tmp_path / "r" / "w", watermark=SMALL, limit=3, progress=shares.append
    )
    result = evaluate(request)
    metrics = result.metrics
    assert metrics["found.clean.2_s"].value == 100 and metrics["found.clean.2_s"].count == 3
    assert metrics["found.gain_-12_db.2_s"].value == 100
    assert metrics["read.clean.2_s"].value == 100
    assert set(metrics) >= {"found.own_codec.0.5_s", "read.own_codec.2_s"}
    assert metrics["false_alarms_at_0.0001.2_s"].value == 0
    assert metrics["visqol_unmarked.continuations"].value == 4
    assert metrics["visqol_cost.continuations"].value > 0.5
    assert metrics["visqol_cost.codec"].count == 3
    bits = [metrics[f"bits_{column}.continuations"].value for column in ("unmarked", "marked")]
    assert metrics["bits_cost.continuations"].value == pytest.approx(bits[1] - bits[0])
    assert min(bits) > 0
    assert 0 <= metrics["ids_changed.marked"].value <= 100
    assert "no transcripts" in result.conditions["not measured"]
    assert "cer_cost.codec" not in metrics
    assert [row[0] for row in result.tables[0].rows] == SMALL["conditions"]
    assert all(len(row) == len(table.columns) for table in result.tables for row in table.rows)
    assert shares == sorted(shares) and shares[-1] == 1
    again = evaluate(request).metrics  # nothing is made twice, nothing is drawn otherwise
    assert again == metrics


def test_words_with_the_mark_and_without(lm, corpus_folder, tmp_path, scripted):
    corpus = corpus_folder(3, layout="librispeech", speakers=3, seconds=2.5)
    add_transcripts(corpus)
    asked = {**SMALL, "conditions": ["clean"], "clips": 6}
    result = evaluate(ask(lm, corpus, tmp_path / "w", watermark=asked, limit=2))
    metrics = result.metrics
    columns = [metrics[f"cer_{column}.codec"].value for column in ("unmarked", "marked", "cost")]
    assert columns[2] == pytest.approx(columns[1] - columns[0]) and columns[0] > 0
    assert metrics["cer_cost.codec"].unit == "%"
    assert 0 < metrics["characters_changed.marked"].value < 100
    assert metrics["false_alarms_at_0.0001.2_s"].count == 3  # as set, not 100 for each item
    assert result.conditions["recogniser"] == "listener"
    assert [table.title for table in result.tables[2:]] == [
        "What the mark costs",
        "What is heard otherwise",
    ]
    silent = {**asked, "recogniser": ""}
    without = evaluate(ask(lm, corpus, tmp_path / "w", watermark=silent, limit=2)).metrics
    assert not [name for name in without if name.startswith(("cer", "characters"))]


def test_the_cost_is_what_is_worse():
    found = watermark_costs.Costs(
        {
            "visqol.codec": [Pair("a", 4.0, 3.5), Pair("b", 3.0, 3.5)],
            "cer.codec": [Pair("a", 1, 3, 10), Pair("b", 1, 1, 30)],
        },
        {"ids": [Pair("a", 1, 2, 8)], "characters": [Pair("a", 0, 0, 0)]},
    )
    metrics, tables = watermark_costs.metrics_and_tables(found, seed=0)
    assert metrics["visqol_cost.codec"].value == 0
    assert metrics["cer_unmarked.codec"].value == pytest.approx(5)
    assert metrics["cer_cost.codec"].value == pytest.approx(5)
    assert metrics["ids_changed.quieter"].value == 12.5
    assert metrics["ids_changed.marked"].value == 25
    assert [len(table.rows) for table in tables] == [2, 1]


def test_intervals_are_of_clips_side_by_side(lm, corpus_folder, tmp_path, monkeypatch):
    corpus = corpus_folder(2, layout="librispeech", speakers=2, seconds=2.5)
    values = iter([1e-5] + 999 * [1.0])
    monkeypatch.setattr(
        watermark, "read_mark", lambda samples, rate: MarkReading(False, next(values))
    )
    asked = {**SMALL, "lengths": [1.0], "clips": 20}
    request = ask(lm, corpus, tmp_path / "w", watermark=asked)
    metrics, table = watermark._false_alarms(request, request.utterances())
    metric = metrics["false_alarms_at_0.0001.1_s"]
    assert (metric.count, metric.value) == (20, 5)
    assert table.rows[0][2] == 4  # two of the seconds of each recording
    assert (metric.low, metric.high) == (0, pytest.approx(100 * clopper_pearson(1, 4)[1]))


def test_what_cannot_be_asked(lm, corpus_folder, tmp_path, scripted):
    corpus = corpus_folder(2, layout="librispeech", speakers=2, seconds=1.0)
    with pytest.raises(ConfigurationError, match=r"watermark\.conditions: loud is not known"):
        evaluate(ask(lm, corpus, tmp_path / "a", watermark={**SMALL, "conditions": ["loud"]}))
    with pytest.raises(Skipped, match=r"watermark\.prompt_seconds"):
        evaluate(ask(lm, corpus, tmp_path / "b"))
    with pytest.raises(Skipped, match="lasts 2 s"):
        evaluate(ask(lm, corpus, tmp_path / "c", watermark=SMALL, limit=1))


def test_clips_overlap_where_there_are_not_enough(lm, corpus_folder, tmp_path):
    corpus = corpus_folder(2, layout="librispeech", speakers=2, seconds=3.0)
    everything = ask(lm, corpus, tmp_path / "a").utterances()
    assert hop_for(everything, 1.0, 2) == 1.0
    hop = hop_for(everything, 1.0, 16)
    assert hop == pytest.approx(0.25, abs=0.01)
    made = list(clips(everything, 1.0, hop))
    assert 16 <= len(made) <= 18 and {len(clip) for _, clip in made} == {16_000}
    step = round(16_000 * hop)
    assert np.array_equal(made[0][1][step:], made[1][1][:-step])
    assert {speaker for speaker, _ in made} == {u.speaker for u in everything}


def test_wrong_bits():
    wanted = Payload("speech", "abc")
    assert wrong_bits(MarkReading(False, 1.0), wanted) is None
    assert wrong_bits(MarkReading(True, 0.0, wanted), wanted) == 0
    assert wrong_bits(MarkReading(True, 0.0, Payload("piano", "abd")), wanted) == 3
    assert wrong_bits(MarkReading(True, 0.0, Payload.of_number(0xFABC)), wanted) == 3
