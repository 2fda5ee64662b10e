"""Looking for the mark piece by piece."""

import sys
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest

from audiolm.safety.mark_search import PIECE, SHARED, MarkSearch

RATE = 16_000


@dataclass(frozen=True)
class MarkReading:
    """As the real one."""

    found: bool
    p_value: float
    payload: str | None = None
    start: float | None = None
    end: float | None = None


@pytest.fixture
def lengths(monkeypatch):
    """A mark is samples of 1; a p-value says how many: the list of what was read."""
    read = []

    def read_mark(samples, sample_rate):
        assert sample_rate == RATE
        read.append(len(samples))
        places = np.flatnonzero(samples == 1)
        if not len(places):
            return MarkReading(False, 0.2)
        ends = places[0] / RATE, places[-1] / RATE
        return MarkReading(True, 10.0 ** -len(places), "us", *ends)

    module = ModuleType("audiolm.safety.watermark")
    module.read_mark, module.MarkReading = read_mark, MarkReading
    monkeypatch.setitem(sys.modules, "audiolm.safety.watermark", module)
    return read


def test_short_sound_is_one_piece(lengths) -> None:
    search = MarkSearch()
    samples = np.zeros(5 * RATE, dtype=np.float32)
    samples[RATE : RATE + 6] = 1
    for block in np.split(samples, 5):
        search.push(block)
    found = search.finish()
    assert lengths == [5 * RATE]
    assert found.found and found.payload == "us" and found.p_value == pytest.approx(1e-6)
    assert found.start == pytest.approx(1.0)


def test_long_sound_is_searched_piece_by_piece(lengths) -> None:
    search = MarkSearch()
    samples = np.zeros(200 * RATE, dtype=np.float32)
    for second in (100, 190):
        samples[second * RATE : second * RATE + 8] = 1
    for block in np.array_split(samples, 13):
        search.push(block)
    found = search.finish()
    assert max(lengths) <= PIECE + SHARED and len(lengths) == 4
    assert found.found and found.p_value == pytest.approx(4e-8)  # of four looks
    assert found.start == pytest.approx(100.0, abs=0.01)
    assert found.end == pytest.approx(190.0, abs=0.01)


def test_more_looks_ask_for_more(lengths) -> None:
    search = MarkSearch()
    samples = np.zeros(200 * RATE, dtype=np.float32)
    samples[30 * RATE : 30 * RATE + 4] = 1  # p = 1e-4 in its piece
    search.push(samples)
    found = search.finish()
    assert not found.found and found.p_value == pytest.approx(4e-4)


def test_nothing_gives_nothing(lengths) -> None:
    assert MarkSearch().finish() is None
    search = MarkSearch()
    search.push(np.zeros(3 * RATE, dtype=np.float32))
    assert search.finish().p_value == 0.2
