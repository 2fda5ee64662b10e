"""Work over threads: in order, at the same time, and PyTorch's own threads left as set."""

import threading
import time

import pytest
import torch

from audiolm.evaluation.metrics.threads import in_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_whoever_is_first(two_threads):
    def work(piece: int) -> int:
        time.sleep(0.05 if piece == 0 else 0)
        return piece**2

    assert list(in_threads(work, range(5))) == [0, 1, 4, 9, 16]
    assert list(in_threads(work, [])) == []


def test_two_pieces_are_worked_on_at_once(two_threads):
    both = threading.Barrier(2)
    # A piece waits until the other one has begun as well, and breaks the barrier after 10 s.
    assert sorted(in_threads(lambda piece: both.wait(10), "ab")) == [0, 1]


def test_a_thread_keeps_its_operations_to_itself_and_infers(two_threads):
    def work(piece: int) -> tuple[int, bool]:
        return torch.get_num_threads(), torch.is_inference_mode_enabled()

    assert set(in_threads(work, range(4))) == {(1, True)}
    assert torch.get_num_threads() == 2
    assert not torch.is_inference_mode_enabled()


def test_an_error_ends_it(two_threads):
    begun = []

    def work(piece: int) -> None:
        begun.append(piece)
        time.sleep(0.01)
        if piece == 1:
            raise ValueError("piece 1")

    with pytest.raises(ValueError, match="piece 1"):
        list(in_threads(work, range(200)))
    assert len(begun) < 100
    assert torch.get_num_threads() == 2
