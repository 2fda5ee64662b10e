"""Recordings at other speeds: higher, shorter, cut like any; those as recorded untouched."""

from pathlib import Path

import numpy as np
import pytest

from audiolm.data.corpus import Recording
from audiolm.data.speed_perturbation import SpeedPerturbed, as_recorded
from audiolm.shapes import SAMPLE_RATE


class Sines:
    """Two recordings of one tone each, 400 Hz and 1000 Hz."""

    hertz = (400, 1000)
    lengths = np.array([16_000, 24_001])
    skipped: tuple[()] = ()
    contents = ("sound of a", "sound of b")
    recordings = (
        Recording("a", Path("a.wav"), 1.0, "one"),
        Recording("b", Path("b.wav"), 1.5, "two"),
    )

    def __len__(self) -> int:
        return 2

    def length(self, index: int) -> int:
        return int(self.lengths[index])

    def crop(self, index: int, start: int, samples: int) -> np.ndarray:
        seconds = np.arange(start, start + samples) / SAMPLE_RATE
        tone = np.sin(2 * np.pi * self.hertz[index] * seconds)
        return np.where(np.arange(start, start + samples) < self.length(index), tone, 0).astype(
            "f4"
        )


@pytest.fixture
def store() -> SpeedPerturbed:
    return SpeedPerturbed(Sines(), [0.8, 1.25])  # type: ignore[arg-type]


def pitch(samples: np.ndarray) -> float:
    """The strongest frequency, in Hz, of the middle of a recording."""
    middle = samples[2000:-2000] * np.hanning(len(samples) - 4000)
    return float(np.argmax(np.abs(np.fft.rfft(middle, 160_000))) / 10)


def test_other_speeds_follow_the_recordings(store) -> None:
    assert len(store) == 6
    ids = [recording.id for recording in store.recordings]
    assert ids == ["a", "b", "a at 0.8", "b at 0.8", "a at 1.25", "b at 1.25"]
    assert [r.speaker for r in store.recordings] == ["one", "two"] * 3
    assert [r.seconds for r in store.recordings] == [1.0, 1.5, 1.25, 1.875, 0.8, 1.2]
    assert store.lengths.tolist() == [16_000, 24_001, 20_000, 30_001, 12_800, 19_200]


def test_speed_is_data_whatever_the_names_are(store) -> None:
    assert [r.speed for r in store.recordings] == [1, 1, 0.8, 0.8, 1.25, 1.25]
    assert as_recorded(store.recordings).tolist() == [True, True, False, False, False, False]
    dusk = [Recording(id, Path(f"{id}.wav"), 1.0) for id in ("walk", "walk at dusk", "walk at 2")]
    assert as_recorded(dusk).all()


def test_ids_are_unique_even_beside_a_file_that_is_called_so() -> None:
    class Named(Sines):
        recordings = (
            Recording("walk", Path("walk.wav"), 1.0),
            Recording("walk at 2", Path("walk at 2.wav"), 1.0),
        )

    ids = [r.id for r in SpeedPerturbed(Named(), [2.0]).recordings]  # type: ignore[arg-type]
    assert len(set(ids)) == 4


def test_recordings_are_as_they_were(store) -> None:
    assert np.array_equal(store.crop(1, 500, 30_000), Sines().crop(1, 500, 30_000))


@pytest.mark.parametrize(("index", "hertz"), [(2, 320), (3, 800), (4, 500), (5, 1250)])
def test_a_faster_one_is_higher_and_shorter_and_a_slower_lower_and_longer(
    store, index: int, hertz: float
) -> None:
    whole = store.crop(index, 0, store.length(index))
    assert pitch(whole) == pytest.approx(hertz, abs=1)
    assert np.abs(whole[2000:-2000]).max() == pytest.approx(1, abs=0.01)


def test_a_crop_at_another_speed_is_a_part_of_the_whole_with_silence_behind(store) -> None:
    whole = store.crop(3, 0, store.length(3))
    assert np.array_equal(store.crop(3, 700, 900), whole[700:1600])
    beyond = store.crop(3, 30_000, 50)
    assert np.array_equal(beyond[:1], whole[30_000:])
    assert not beyond[1:].any()
    assert not store.crop(3, 40_000, 10).any()
