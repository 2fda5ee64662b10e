"""Recordings beside themselves, played slower and faster: more voices than were recorded.

Played at another speed a voice has another pitch, other formants and another tempo, as other people
do, and nothing else that one could hear. A stage that is trained on few hours learns from such
copies what holds of any voice (Ko et al., 2015, do so for recognition).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from audiolm.audio.resample import resample
from audiolm.data.corpus import Recording
from audiolm.data.store import Waveforms
from audiolm.shapes import SAMPLE_RATE

_AT = " at "
"""Stands between the id of a recording and a copy's speed."""


class OtherSpeeds:
    """The recordings of a store, and after them all of them again at each of `speeds`.

    Args:
        store: R recordings; they keep their indices.
        speeds: factors; 1.1 is a tenth faster and higher. Copies have ids like `a/b at 1.1`.
    """

    def __init__(self, store: Waveforms, speeds: Sequence[float]) -> None:
        self.store = store
        self.speeds = [1.0, *speeds]
        self.skipped = store.skipped
        self.recordings = [
            recording if copy == 0 else _copy(recording, speed)
            for copy, speed in enumerate(self.speeds)
            for recording in store.recordings
        ]
        self.lengths = np.concatenate(
            [np.floor(store.lengths / speed).astype(np.int64) for speed in self.speeds]
        )  # (R * speeds,)

    def __len__(self) -> int:
        """How many recordings there are, copies included."""
        return len(self.recordings)

    def length(self, index: int) -> int:
        """Samples of one recording at 16 kHz, at its speed."""
        return int(self.lengths[index])

    def crop(self, index: int, start: int, samples: int) -> np.ndarray:
        """(samples,) float32 from `start`, zeros after the end of the recording.

        A copy is resampled as a whole for every crop: this is meant for whole recordings.
        """
        copy, original = divmod(index, len(self.store))
        if copy == 0:
            return self.store.crop(original, start, samples)
        whole = self.store.crop(original, 0, self.store.length(original))
        whole = resample(whole, round(self.speeds[copy] * SAMPLE_RATE), SAMPLE_RATE)
        part = whole[: self.length(index)][start : start + samples]
        return np.pad(part, (0, samples - len(part)))


def as_recorded(recordings: Sequence[Recording]) -> np.ndarray:
    """(R,) bool: which of the recordings are no copies at other speeds."""
    ids = {recording.id for recording in recordings}
    return np.array([r.id.rpartition(_AT)[0] not in ids for r in recordings], dtype=bool)


def _copy(recording: Recording, speed: float) -> Recording:
    id = f"{recording.id}{_AT}{speed:g}"
    return replace(recording, id=id, seconds=recording.seconds / speed)
