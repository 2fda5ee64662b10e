"""Batches made ahead of the loop, by a thread of their own, so that it need not wait for them.

A batch is a function of its number, so what is made ahead is what would have been made in time: the
same batches in the same order, and an error in place of the batch that it belongs to.

Where the network computes on a GPU its thread only waits: the processor is free for batches.
On a CPU the network has every core: nothing is made ahead there, and there is no thread. (With one,
a resumed training no longer equalled an uninterrupted one in bfloat16, though its batches did; it
did where oneDNN was held to AVX2, so its bfloat16 kernels are the likely cause.)
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch

Batch = TypeVar("Batch")

AHEAD = 2
"""Batches that are ready or in the making while one is used."""


class Prefetcher(Generic[Batch]):
    """Makes batches ahead; a context, at whose end the thread is gone.

    Args:
        make: makes batch number `n`, given what `expect(n)` said when it was asked for.
        expect: what else a batch depends on; called in the caller's thread.
        first: number of the first batch.
        count: how many will be taken at most; None: no end is known.
        ahead: how many are made ahead; 0 makes each when it is taken, without a thread.
    """

    def __init__(
        self,
        make: Callable[[int, Any], Batch],
        expect: Callable[[int], Any],
        first: int,
        count: int | None = None,
        ahead: int = AHEAD,
    ) -> None:
        self._make, self._expect, self._ahead = make, expect, ahead
        self._next = first
        self._end = None if count is None else first + count
        self._waiting: deque[Future[Batch]] = deque()
        self._thread: ThreadPoolExecutor | None = None
        self._over = False

    def __enter__(self) -> Self:
        if not self._ahead:
            return self
        on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
        gpu = torch.cuda.current_device() if on_gpu else None

        def same_gpu() -> None:
            """Each thread has its own current GPU: "cuda" must mean there what it does here."""
            if gpu is not None:
                torch.cuda.set_device(gpu)

        self._thread = ThreadPoolExecutor(1, "prefetch", initializer=same_gpu)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        self._waiting.clear()
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def take(self) -> Batch:
        """The next batch.

        Raises:
            Exception: whatever making it raised.
        """
        if self._thread is None:
            self._next += 1
            return self._make(self._next - 1, self._expect(self._next - 1))
        while len(self._waiting) <= self._ahead and self._next != self._end:
            asked = self._thread.submit(self._one, self._next, self._expect(self._next))
            self._waiting.append(asked)
            self._next += 1
        return self._waiting.popleft().result()

    def _one(self, number: int, expected: Any) -> Batch:
        if self._over:  # nothing follows a batch that could not be made
            raise CancelledError
        try:
            return self._make(number, expected)
        except BaseException:
            self._over = True
            raise
