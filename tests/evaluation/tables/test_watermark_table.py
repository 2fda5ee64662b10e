"""The table of the mark: by condition and length, on recordings, and what it costs."""

import numpy as np
import pytest
from asking import ask

from audiolm.errors import ConfigurationError
from audiolm.evaluation.metrics import quality
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import watermark
from audiolm.evaluation.tables.watermark import clips, evaluate, hop_for, wrong_bits
from audiolm.safety.watermark import MarkReading, Payload
from tiny import tiny_model

SMALL = {
    "prompt_seconds": 0.64,
    "lengths": [0.5, 2.0],
    "conditions": ["clean", "gain -12 dB", "own codec"],
}


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse"))


@pytest.fixture
def scripted(monkeypatch):
    """A ViSQOL that counts how many samples differ."""

    class Scripted:
        def __init__(self, mode):
            self.mode, self.mapper = mode, "scripted"

        def score(self, made, real):
            return 4.0 - float(np.mean(made.samples != real.samples))

    monkeypatch.setattr(watermark, "Visqol", Scripted)
    assert quality.Visqol is not Scripted


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
    assert [row[0] for row in result.tables[0].rows] == SMALL["conditions"]
    assert all(len(row) == len(table.columns) for table in result.tables for row in table.rows)
    assert shares == sorted(shares) and shares[-1] == 1
    again = evaluate(request).metrics  # nothing is made twice, nothing is drawn otherwise
    assert again == metrics


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
