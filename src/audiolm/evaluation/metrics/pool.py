"""Pairs of reconstruction and recording, measured several at once.

Nearly all of the time goes to metrics written in Python: threads would wait for each other, so the
measuring is spread over processes, and what is measured next is made meanwhile. How many there are
changes no metric.
"""

import os
import pickle
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Protocol

import torch

from audiolm.audio.waveform import Audio
from audiolm.errors import AudioLMError

AHEAD = 4
"""Pairs per process that are made before the first of them is measured: bounds the memory."""
MOST_PROCESSES = 8
"""Each holds a PyTorch of its own, about 0.4 GB."""

Values = dict[str, float | None]
"""By metric; None where it has no answer."""


class PairMetrics(Protocol):
    """The metrics of one pair: `evaluate` of a module of this folder. It can be pickled."""

    def __call__(self, made: Audio, real: Audio) -> Values: ...


def processes() -> int:
    """How many processes to use: as many as PyTorch may use threads (`--threads`), at most 8."""
    return min(torch.get_num_threads(), MOST_PROCESSES)


def measured(
    pairs: Iterable[tuple[Audio, Audio]], metrics: PairMetrics, workers: int
) -> Iterator[Values]:
    """The metrics of each pair, in the order of the pairs.

    Processes are spawned: a script that comes here with several wants `if __name__ == "__main__":`.

    Args:
        pairs: reconstruction and recording; taken as they are needed, a few in advance.
        metrics: measures a pair.
        workers: processes; with one, everything happens in this one.

    Raises:
        AudioLMError: if a process ends before its time.
    """
    if workers == 1:
        for made, real in pairs:
            yield metrics(made, real)
        return
    # As bytes: a worker limits its threads before it loads anything.
    arguments = (pickle.dumps(metrics),)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _prepare, arguments)
    waiting: deque[Future[Values]] = deque()
    try:
        for made, real in pairs:
            waiting.append(pool.submit(_measure, made, real))
            if len(waiting) == AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise AudioLMError(
            "evaluation: a process that measures has ended before its time, perhaps for want "
            "of memory; measure in one process with --threads 1"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_metrics: PairMetrics | None = None
"""Of a worker."""


def _prepare(metrics: bytes) -> None:
    """Begin a worker: it computes in one thread, and leaves an interrupt to the first process."""
    global _metrics
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["NUMBA_NUM_THREADS"] = "1"  # read when ViSQOL imports numba, where that is there
    torch.set_num_threads(1)
    _metrics = pickle.loads(metrics)


def _measure(made: Audio, real: Audio) -> Values:
    assert _metrics is not None  # `_prepare` comes first
    return _metrics(made, real)
