"""Where and how a model computes: a name becomes a device, and the caller's settings stay outside.

Nothing here, or anywhere in the library, sets the number of threads: that is the program's choice
(the command line has `--threads`).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from audiolm.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")


def choose_device(device: torch.device | str) -> torch.device:
    """The device of a name: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1, mps.

    Raises:
        ConfigurationError: when this machine has no such device.
    """
    name = str(device)
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if have[kind])
    kind, _, index = name.partition(":")
    if kind not in have:
        raise ConfigurationError(f"device: {name} is not known; use auto, cpu, cuda or mps")
    beyond = kind == "cuda" and index.isdigit() and int(index) >= torch.cuda.device_count()
    if not have[kind] or beyond:
        raise ConfigurationError(f"device: this machine has no {name}; use auto or cpu")
    if kind == "cuda":
        # Else convolutions round to ten bits, and a recording's tokens depend on the machine.
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


@contextmanager
def torch_defaults(device: torch.device) -> Iterator[None]:
    """PyTorch's own defaults for a while: new tensors are float32 on the CPU, no autocast.

    A caller may have set another default type or device, or may call under autocast; with that, the
    same call would give other results, or none. The settings are the caller's again afterwards.
    Not to be held across a `yield`: what runs between two steps is the caller's.

    Args:
        device: where the model computes.
    """
    with ExitStack() as stack:
        stack.enter_context(_FLOAT32)
        # A device set as default slows down every call of PyTorch: only where it is needed.
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in {"cpu", device.type}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def under_torch_defaults(method: Callable[P, R]) -> Callable[P, R]:
    """A network's method that computes under `torch_defaults`, where the network is."""

    @wraps(method)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        network = arguments[0]
        assert isinstance(network, nn.Module)
        with torch_defaults(next(network.parameters()).device):
            return method(*arguments, **named)

    return call


class _Float32:
    """float32 as the default type. The type is one for all threads: the last to leave restores."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._callers = torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._callers = torch.get_default_dtype()
                torch.set_default_dtype(torch.float32)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                torch.set_default_dtype(self._callers)


_FLOAT32 = _Float32()
