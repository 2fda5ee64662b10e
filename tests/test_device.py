"""Devices by name, and PyTorch's own settings for a while."""

import threading

import pytest
import torch

from audiolm.device import choose_device, torch_defaults
from audiolm.errors import ConfigurationError

CPU = torch.device("cpu")


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu") == CPU
    for name in ("abacus", "cuda:99", ""):
        with pytest.raises(ConfigurationError, match=r"^device: "):
            choose_device(name)


def test_settings_are_the_callers_again_afterwards_even_after_an_error():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
            with pytest.raises(ZeroDivisionError), torch_defaults(CPU):
                made = torch.empty(2, 2)
                assert (made.dtype, made.device) == (torch.float32, CPU)
                assert (made @ made).dtype == torch.float32
                _ = 1 / 0
            made = torch.empty(2)
            assert made.dtype == torch.float64 and made.is_meta
            assert torch.is_autocast_enabled("cpu")
    finally:
        torch.set_default_dtype(torch.float32)


def test_threads_that_overlap_leave_the_callers_type_behind():
    """The default type is one for all threads: whoever leaves first must not change the others'."""
    first_is_in, second_is_in = threading.Event(), threading.Event()
    seen = []

    def second():
        first_is_in.wait(10)
        with torch_defaults(CPU):
            second_is_in.set()
            other.join(10)
            seen.append(torch.empty(1).dtype)

    def first():
        with torch_defaults(CPU):
            first_is_in.set()
            second_is_in.wait(10)

    torch.set_default_dtype(torch.float64)
    try:
        other, mine = threading.Thread(target=first), threading.Thread(target=second)
        other.start()
        mine.start()
        mine.join(20)
        assert seen == [torch.float32]
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
