"""Threads that make sound, and the bounded queue before them.

PyTorch computes in threads of their own, one at a time unless more are asked for, so that the event
loop answers everybody at once. A job hands on what it makes piece by piece and never waits for its
reader: a slow one keeps no thread. What it may have made ahead is bounded by the longest answer.
"""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

from audiolm.server.refusals import RefusedError, busy

LONGEST_WAIT = 120.0
"""Seconds that a job may be expected to wait before it begins."""

Check = Callable[[], None]
"""Raises `Gone` where nobody waits for the work any longer; to be called now and then."""

Make = Callable[[Check], Generator[bytes, None, None]]
"""Does the work: the pieces of an answer, one after the other."""


class Gone(Exception):  # noqa: N818  (no error: the client has left)
    """Nobody waits for the work any longer."""


class Job:
    """One piece of work: made in a thread, read in the event loop."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._made: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._stopped = threading.Event()
        self.future: Future[None] | None = None

    def run(self) -> None:
        """Make everything; called in a worker's thread."""
        try:
            self._check()
            with closing(self._make(self._check)) as pieces:
                for piece in pieces:
                    self._check()
                    self._tell(piece)
            self._tell(None)
        except Gone:
            pass
        except Exception as error:
            self._tell(error)

    def stop(self) -> None:
        """Nobody waits any longer: what waits is not begun, what runs ends at its next piece."""
        self._stopped.set()
        if self.future is not None:
            self.future.cancel()

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is made, as it is made.

        Raises:
            Exception: what the work raised, in its place.
        """
        while (piece := await self._made.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Gone

    def _tell(self, piece: bytes | Exception | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the server has ended
            self._loop.call_soon_threadsafe(self._made.put_nowait, piece)


class Workers:
    """So many threads, and so many places to wait.

    Args:
        workers: jobs that are done at a time.
        queue: jobs that may wait.
    """

    def __init__(self, workers: int, queue: int) -> None:
        self._workers, self._places = workers, workers + queue
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="audiolm")
        self._lock = threading.Lock()
        self._jobs: set[Job] = set()
        self._seconds = 2.0  # that a job took, of late

    def require_place(self) -> None:
        """Refuse while the queue is full; to be asked before a recording is decoded for nothing.

        It is full when all places are taken, and sooner where jobs take so long that its end would
        wait for minutes: programs and proxies give up a connection on which nothing comes.

        Raises:
            RefusedError: 503, the queue is full.
        """
        jobs = len(self._jobs)
        wait = jobs / self._workers * self._seconds
        if jobs >= self._places or (jobs >= self._workers and wait > LONGEST_WAIT):
            raise busy(min(60, math.ceil(wait)))

    def start(self, make: Make) -> Job:
        """Put work into the queue.

        Raises:
            RefusedError: 503, the queue is full, or the server is being stopped.
        """
        job = Job(make)
        with self._lock:
            self.require_place()
            self._jobs.add(job)
        try:
            job.future = self._threads.submit(self._timed, job)
        except RuntimeError:
            self._done(job)
            raise RefusedError(503, "the server is being stopped", {"Retry-After": "10"}) from None
        job.future.add_done_callback(lambda _: self._done(job))
        return job

    def close(self) -> None:
        """Stop all work and wait for the threads to end."""
        with self._lock:
            jobs = list(self._jobs)
        for job in jobs:
            job.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _timed(self, job: Job) -> None:
        started = time.monotonic()
        job.run()
        self._seconds += 0.2 * (time.monotonic() - started - self._seconds)

    def _done(self, job: Job) -> None:
        with self._lock:
            self._jobs.discard(job)
