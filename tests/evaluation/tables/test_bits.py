"""Bits per token: that they are the stage's, and whom the floors are fitted to."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from asking import ask
from layouts import record

from audiolm.audio.files import read
from audiolm.evaluation.metrics.ngrams import Counts, bigram_bits
from audiolm.evaluation.tables.bits import Spoken, _floors, bits_per_token
from audiolm.evaluation.tables.likelihood import as_predicted, semantic_stage
from audiolm.stages import Streams
from tiny import tiny_model

MODEL = tiny_model()


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Two held-out speakers and one in `train`."""
    root = tmp_path_factory.mktemp("speech")
    for split, speaker in (("dev", 1), ("dev", 2), ("train", 3)):
        for number in range(2):
            name = f"{speaker}-5-{number}.wav"
            record(root / split / str(speaker) / "5" / name, 1.0 + number, 10 * speaker + number)
    return root


def measured(speech, tmp_path, **about):
    return bits_per_token(ask(MODEL, speech, tmp_path, **about), [], lambda share: None)


def test_bits_are_the_stage_s_over_its_tokens(speech, tmp_path):
    stage, nats, tokens = semantic_stage(MODEL), 0.0, 0
    for path in (speech / "dev").rglob("*.wav"):
        ids = MODEL.semantic.encode(torch.from_numpy(read(path).samples)[None])
        nats -= stage.log_likelihood(Streams(semantic=ids)).total.item()
        tokens += len(as_predicted(stage, ids[0]))
    metrics = measured(speech, tmp_path).metrics
    bits = metrics["bits_per_token.semantic_stage"]
    assert bits.value == pytest.approx(nats / math.log(2) / tokens, rel=1e-4)
    assert bits.count == 4
    assert metrics["tokens_per_second"].value == pytest.approx(tokens / 6)
    per_second = metrics["bits_per_second.semantic_stage"].value
    assert per_second == pytest.approx(bits.value * tokens / 6)


def test_training_data_serves_the_floors_only(speech, tmp_path):
    conditions = measured(speech, tmp_path).conditions
    assert conditions["held-out recordings"].startswith("0.00 h, 2 speakers")
    with_training = measured(speech, tmp_path).metrics
    without = measured(speech, tmp_path, probes={"ngram_hours": 0}).metrics
    stage = "bits_per_token.semantic_stage"
    assert with_training[stage] == without[stage]
    assert with_training["bits_per_token.bigram"] != without["bits_per_token.bigram"]


def test_a_floor_has_not_heard_the_speaker():
    rows = {"a": [0, 1, 0, 1], "b": [2, 3, 2], "c": [1, 1]}
    spoken = [Spoken(name, 1.0, [np.array(row)], 0.0) for name, row in rows.items()]
    other = [np.array([3, 0])]
    counts = Counts(4)
    for row in ([2, 3, 2], [1, 1], [3, 0]):
        counts.add(np.array(row))
    floors = _floors(spoken, other, clusters=4)
    assert floors["bigram"][0] == pytest.approx(bigram_bits(counts, [np.array(rows["a"])]))


def test_one_speaker_alone_has_no_floors(tmp_path):
    record(tmp_path / "data" / "1" / "5" / "1-5-0.wav", 1.0, 0)
    metrics = measured(tmp_path / "data", tmp_path / "out").metrics
    assert "bits_per_token.semantic_stage" in metrics
    assert "bits_per_token.bigram" not in metrics


def test_without_recordings_there_is_nothing(tmp_path):
    assert measured(tmp_path, tmp_path / "out") is None


def test_a_limit_counts_recordings(speech, tmp_path):
    metrics = measured(speech, tmp_path, limit=3).metrics
    assert metrics["bits_per_token.semantic_stage"].count == 3


def test_many_speakers_take_no_more_memory_than_one():
    """A corpus that names no speakers has as many as recordings, and counts are K x K."""
    spoken = [
        Spoken(str(number), 1.0, [np.arange(number, number + 10) % 256], 1.0)
        for number in range(100)
    ]
    tracemalloc.start()
    _floors(spoken, [], 256)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * 256 * 256 * 8  # of 100
