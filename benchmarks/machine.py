"""The machine: what it is, how fast it reads memory and multiplies matrices, who else is on it."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

BUSY = 0.25
"""Of the cores, how many may be busy when a run begins before it says so."""
BYTES_READ = 512 * 2**20
"""Far more than any cache holds."""


@dataclass(frozen=True)
class Machine:
    """What is to be known of it to read the tables."""

    processor: str
    cores: int
    memory_bytes: int | None
    load: float | None
    """Processes that wanted a core, on average over the last minute."""

    @property
    def is_busy(self) -> bool:
        """Whether others compute on it too, so that the tables are of no use."""
        return self.load is not None and self.load > BUSY * self.cores


def describe() -> Machine:
    """This machine, now."""
    names = [
        line.split(":", 1)[1].strip()
        for line in _read(Path("/proc/cpuinfo")).splitlines()
        if line.startswith("model name")
    ]
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        memory = None
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    processor = names[0] if names else platform.processor() or platform.machine()
    return Machine(processor, os.cpu_count() or 1, memory, load)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def bandwidth(repeats: int, size: int = BYTES_READ) -> float:
    """Bytes a second that PyTorch, with its present threads, moves: the better of sum and copy."""
    numbers, other = torch.ones(size // 4), torch.ones(size // 4)
    read = size / _typical(numbers.sum, repeats)
    copied = 2 * size / _typical(lambda: other.copy_(numbers), repeats)
    return max(read, copied)


def matrix_rate(dtype: torch.dtype, repeats: int, size: int = 1024) -> float:
    """Floating-point operations a second of a product of square matrices, present threads."""
    one, other = torch.randn(2, size, size).to(dtype).unbind()
    return 2 * size**3 / _typical(lambda: one @ other, repeats)


def _typical(action: Callable[[], object], repeats: int) -> float:
    """Median seconds of an action, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return median(times[1:])


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_NEIGHBOUR = """
import os, torch
beside = os.getppid()
torch.set_num_threads(1)
one = torch.randn(1024, 1024)
print("begun", flush=True)
while os.getppid() == beside:  # never left behind
    one @ one
"""


@contextmanager
def busy_process() -> "Iterator[subprocess.Popen[bytes]]":
    """Beside what is within, a process multiplies matrices on one thread, on any core."""
    with subprocess.Popen([sys.executable, "-c", _NEIGHBOUR], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()
