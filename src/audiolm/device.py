"""Where a model computes: a name becomes a device."""

import torch

from audiolm.errors import ConfigurationError


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
