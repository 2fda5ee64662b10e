"""Reconstructions beside their recordings, by every measure, several of them at once.

Nearly all of the time goes to ViSQOL, which is Python: threads would wait for each other, so the
measuring is spread over processes, and what is measured next is made meanwhile. How many there are
changes no figure.
"""

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import torch

from audiolm.audio.waveform import Audio
from audiolm.errors import AudioLMError
from audiolm.evaluation.quality import Visqol, VisqolMode, mel_distance, si_sdr, stoi

MEASURES = {"visqol": "MOS", "stoi": "", "si_sdr": "dB", "mel_distance": ""}
"""Name of a measure, and its unit."""
AHEAD = 4
"""Pairs per process that are made before the first of them is measured: bounds the memory."""
MOST_PROCESSES = 8
"""Each holds a PyTorch of its own, about 0.4 GB."""

Measured = dict[str, float | None]
"""By measure; None where it has no answer."""


def processes() -> int:
    """How many processes to use: as many as PyTorch may use threads (`--threads`), at most 8."""
    return min(torch.get_num_threads(), MOST_PROCESSES)


def measured(
    pairs: Iterable[tuple[Audio, Audio]], visqol: Visqol, workers: int
) -> Iterator[Measured]:
    """The measures of each pair, in the order of the pairs.

    Processes are spawned: a script that comes here with several wants `if __name__ == "__main__":`.

    Args:
        pairs: reconstruction and recording; taken as they are needed, a few in advance.
        visqol: measures where there is one worker, and says in which mode others are to measure.
        workers: processes; with one, everything happens in this one.

    Raises:
        AudioLMError: if a process ends before its time.
    """
    if workers == 1:
        for made, real in pairs:
            yield _measure(visqol, made, real)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _prepare, (visqol.mode,))
    waiting: deque[Future[Measured]] = deque()
    try:
        for made, real in pairs:
            waiting.append(pool.submit(_measure_there, made, real))
            if len(waiting) == AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise AudioLMError(
            "reconstruction: a process that measures has ended before its time, perhaps for want "
            "of memory; measure in one process with --threads 1"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_visqol: Visqol | None = None
"""Of a worker, built once: it loads its mapper then."""


def _prepare(mode: VisqolMode) -> None:
    """Begin a worker: it computes in one thread, and leaves an interrupt to the first process."""
    global _visqol
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["NUMBA_NUM_THREADS"] = "1"  # read when ViSQOL imports numba, where that is there
    torch.set_num_threads(1)
    _visqol = Visqol(mode)


def _measure_there(made: Audio, real: Audio) -> Measured:
    assert _visqol is not None  # `_prepare` comes first
    return _measure(_visqol, made, real)


def _measure(visqol: Visqol, made: Audio, real: Audio) -> Measured:
    return {
        "visqol": visqol.score(made, real),
        "stoi": stoi(made, real),
        "si_sdr": si_sdr(made, real),
        "mel_distance": mel_distance(made, real),
    }
