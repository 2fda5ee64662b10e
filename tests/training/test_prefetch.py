"""Batches made ahead: the same in the same order, errors where they belong, no thread left."""

import threading
import time

import pytest

from audiolm.training import loop
from audiolm.training.prefetch import Prefetcher
from training.toy import Line, optimization


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_batches_come_in_order_each_with_what_was_expected_of_it(ahead) -> None:
    made = []

    def make(number, expected):
        made.append(number)
        return number, expected

    with Prefetcher(make, lambda number: 10 * number, first=5, count=7, ahead=ahead) as batches:
        assert [batches.take() for _ in range(7)] == [(n, 10 * n) for n in range(5, 12)]
    assert made == list(range(5, 12))  # none beyond the last
    assert threads() == []


def test_so_many_are_made_ahead_and_no_more() -> None:
    made = []
    with Prefetcher(lambda n, _: made.append(n) or n, lambda n: None, 0, ahead=2) as batches:
        assert batches.take() == 0
        until = time.monotonic() + 20
        while made != [0, 1, 2] and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.05)
        assert made == [0, 1, 2]


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_is_raised_in_place_of_its_batch_and_ends_it(ahead) -> None:
    made = []

    def make(number, _):
        made.append(number)
        if number == 3:
            raise ConnectionAbortedError("the disk is gone")
        return number

    with Prefetcher(make, lambda n: None, 0, ahead=ahead) as batches:
        assert [batches.take() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ConnectionAbortedError, match="the disk is gone"):
            batches.take()
    assert made == [0, 1, 2, 3]
    assert threads() == []


def test_no_thread_is_left_by_an_interrupt() -> None:
    def slow(number, _):
        time.sleep(0.05)
        return number

    with (
        pytest.raises(KeyboardInterrupt),
        Prefetcher(slow, lambda n: None, 0, ahead=2) as batches,
    ):
        batches.take()
        raise KeyboardInterrupt
    assert threads() == []


def test_the_loop_trains_alike_with_batches_made_ahead(tmp_path, monkeypatch) -> None:
    """As on a GPU; in float32, whose kernels here do not mind another thread."""
    from training.test_loop import run

    plain = Line(optimization(accumulate=2))
    run(plain, tmp_path / "plain")
    made_by = set()

    class Ahead(Line):
        def batch(self, step, rank, progress=0.0):
            made_by.add(threading.current_thread().name.partition("_")[0])
            return super().batch(step, rank, progress)

    original = loop.Prefetcher
    monkeypatch.setattr(loop, "Prefetcher", lambda *arguments: original(*arguments[:4], 2))
    ahead = Ahead(optimization(accumulate=2, validations=1))
    run(ahead, tmp_path / "ahead")
    assert ahead.losses == plain.losses
    assert "prefetch" in made_by
    assert threads() == []
