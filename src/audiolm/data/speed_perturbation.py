"""Speed perturbation: recordings played slower and faster too, as voices that were not recorded.

Played at another speed a voice has another pitch, other formants and another tempo, as other people
do, and nothing else that one could hear. A stage that is trained on few hours learns from it what
is true of any voice (Ko et al., 2015, do so for recognition).
"""

from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from audiolm.audio.resample import resample
from audiolm.data.corpus import Recording
from audiolm.data.waveforms import Waveforms
from audiolm.shapes import SAMPLE_RATE


class SpeedPerturbed:
    """The recordings of a store, and after them all of them again at each of `speeds`.

    Args:
        store: R recordings; they keep their indices.
        speeds: factors; 1.1 is a tenth faster and higher. It stands in the recording's `speed`, and
            for people in its id, like `a/b at 1.1`.
    """

    def __init__(self, store: Waveforms, speeds: Sequence[float]) -> None:
        self.store = store
        self.speeds = [1.0, *speeds]
        self.skipped = store.skipped
        self.recordings = list(store.recordings)
        taken = {recording.id for recording in store.recordings}
        for speed in speeds:
            for recording in store.recordings:
                perturbed = _at_speed(recording, speed, taken)
                taken.add(perturbed.id)
                self.recordings.append(perturbed)
        self.lengths = np.concatenate(
            [np.floor(store.lengths / speed).astype(np.int64) for speed in self.speeds]
        )  # (R * speeds,)
        self.contents = list(store.contents) * len(self.speeds)

    def __len__(self) -> int:
        """How many recordings there are, those at other speeds included."""
        return len(self.recordings)

    def length(self, index: int) -> int:
        """Samples of one recording at 16 kHz, at its speed."""
        return int(self.lengths[index])

    def crop(self, index: int, start: int, samples: int) -> np.ndarray:
        """(samples,) float32 from `start`, zeros after the end of the recording.

        At another speed the whole recording is resampled for every crop: this is meant for whole
        recordings.
        """
        nth, original = divmod(index, len(self.store))
        if nth == 0:
            return self.store.crop(original, start, samples)
        whole = self.store.crop(original, 0, self.store.length(original))
        whole = resample(whole, round(self.speeds[nth] * SAMPLE_RATE), SAMPLE_RATE)
        part = whole[: self.length(index)][start : start + samples]
        return np.pad(part, (0, samples - len(part)))


def as_recorded(recordings: Sequence[Recording]) -> np.ndarray:
    """(R,) bool: which of the recordings are played at the speed at which they were recorded."""
    return np.array([recording.speed == 1.0 for recording in recordings], dtype=bool)


def _at_speed(recording: Recording, speed: float, taken: Container[str]) -> Recording:
    """The recording at another speed, under an id that no other has."""
    id = f"{recording.id} at {speed:g}"
    while id in taken:  # a file may be called so
        id = f"{id} times"
    return replace(recording, id=id, seconds=recording.seconds / speed, speed=speed)
