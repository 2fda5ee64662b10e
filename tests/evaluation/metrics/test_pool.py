"""Pairs measured by every measure, in this process or in others."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch

from audiolm.audio.waveform import Audio
from audiolm.errors import AudioLMError
from audiolm.evaluation.metrics import pool, quality
from audiolm.evaluation.metrics.pool import AHEAD, measured, processes
from audiolm.evaluation.metrics.quality import Visqol


def alike(made, real):
    """How alike the loudest samples are."""
    return {"alike": float(abs(made.samples - real.samples).max())}


@pytest.fixture
def pairs(speech_like):
    pytest.importorskip("pystoi")
    real = [Audio(speech_like(1.0 + 0.1 * n, seed=n), 16_000) for n in range(3)]
    return [(Audio(np.round(a.samples * 8) / np.float32(8), 16_000), a) for a in real]


def test_pairs_are_measured_in_order(pairs):
    assert list(measured(pairs, alike, 1)) == [alike(*pair) for pair in pairs]


@pytest.mark.slow
def test_other_processes_find_the_same(pairs):
    pytest.importorskip("visqol")
    pytest.importorskip("ai_edge_litert")
    metrics = partial(quality.evaluate, visqol=Visqol("speech"))
    here = list(measured(pairs, metrics, 1))
    assert list(measured(iter(pairs), metrics, 2)) == here
    assert len({one["visqol"] for one in here}) > 1


class Pool:
    """In place of processes: what is asked is done when the answer is wanted."""

    def __init__(self, workers, context, initializer, arguments):
        self.made = (workers, context.get_start_method(), arguments)
        self.closed = None
        Pool.last = self

    def submit(self, function, made, real):
        return self.Answer(made)

    def shutdown(self, cancel_futures):
        self.closed = cancel_futures

    class Answer:
        def __init__(self, made):
            self.made = made

        def result(self):
            if self.made is None:
                raise pool.BrokenProcessPool
            return {"visqol": self.made}


def test_only_a_few_are_made_in_advance(monkeypatch):
    monkeypatch.setattr(pool, "ProcessPoolExecutor", Pool)
    asked = []

    def pairs():
        for number in range(40):
            asked.append(number)
            yield number, number

    for number, found in enumerate(measured(pairs(), alike, 2)):
        assert found == {"visqol": number}
        assert len(asked) <= number + 2 * AHEAD
    assert number == 39
    assert Pool.last.made == (2, "spawn", (pickle.dumps(alike),))
    assert Pool.last.closed is True


def test_a_process_that_ends_is_an_error_and_the_others_end_too(monkeypatch):
    monkeypatch.setattr(pool, "ProcessPoolExecutor", Pool)
    with pytest.raises(AudioLMError, match="--threads 1"):
        list(measured([(None, None)], alike, 2))
    assert Pool.last.closed is True


def test_there_are_as_many_processes_as_threads(monkeypatch):
    for threads, wanted in ((1, 1), (2, 2), (64, pool.MOST_PROCESSES)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert processes() == wanted
