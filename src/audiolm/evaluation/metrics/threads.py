"""Much work in small pieces, in_threads over the cores.

PyTorch shares one operation among its threads, which helps with large ones only. Here each thread
takes a whole piece of work and keeps its operations to itself.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def in_threads(work: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[Result]:
    """What the work makes of each piece, in order, by as many threads as PyTorch has.

    The work is done in inference mode. What it raises is raised here, and no more is begun.
    """

    @torch.inference_mode()  # each thread has its own mode
    def inferring(piece: Piece) -> Result:
        return work(piece)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that begin now take this over
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(inferring, pieces)
    finally:
        torch.set_num_threads(threads)
