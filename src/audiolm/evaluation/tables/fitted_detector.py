"""The paper's protocol (IV-H): a detector fitted on some speakers, judged on the others.

It says how easily a model's sound is told from recordings by whoever has samples of both, whatever
detector the model brings.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from audiolm.audio.waveform import Audio
from audiolm.data.corpus import Recording
from audiolm.evaluation.metrics import detection
from audiolm.evaluation.metrics.statistics import Metric
from audiolm.evaluation.options import DetectionConfig
from audiolm.evaluation.requirements import Skipped
from audiolm.safety.classifier import train_classifier
from audiolm.shapes import SAMPLE_RATE


class Clips:
    """Clips in memory, as the trainings of `safety` take recordings."""

    def __init__(self, clips: Sequence[Audio]) -> None:
        self.samples = [clip.resampled(SAMPLE_RATE).samples for clip in clips]
        self.lengths = np.array([len(samples) for samples in self.samples])
        self.recordings = [
            Recording(str(number), Path(f"{number}.wav"), len(samples) / SAMPLE_RATE)
            for number, samples in enumerate(self.samples)
        ]
        self.skipped: list[tuple[Path, str]] = []
        self.contents = [""] * len(clips)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.samples)

    def length(self, index: int) -> int:
        """Samples of one of them."""
        return len(self.samples[index])

    def crop(self, index: int, start: int, samples: int) -> np.ndarray:
        """(samples,) float32 from `start`, zeros after the end."""
        piece = self.samples[index][start : start + samples]
        return np.pad(piece, (0, samples - len(piece)))


def fitted(
    real: Sequence[Audio],
    made: Sequence[Audio],
    speakers: Sequence[str],
    options: DetectionConfig,
    device: torch.device,
    seed: int,
    progress: Callable[[float], None],
) -> dict[str, Metric]:
    """Metrics of a classifier that learnt every other speaker, on the rest.

    Args:
        real: originals through the codec.
        made: the continuation that stands in the place of each.
        speakers: of each pair.
        options: how long it is fitted, and its threshold.
        device: where.
        seed: of its first weights and crops.
        progress: is told which share is done.

    Raises:
        Skipped: there is one speaker only.
    """
    names = sorted(set(speakers))
    if len(names) < 2:
        raise Skipped("all recordings are of one speaker", "give recordings of several speakers")
    learnt = set(names[::2])
    inside = [pair for pair, who in enumerate(speakers) if who in learnt]
    outside = [pair for pair, who in enumerate(speakers) if who not in learnt]
    clips = Clips([real[pair] for pair in inside] + [made[pair] for pair in inside])
    labels = ["real"] * len(inside) + ["made"] * len(inside)
    classifier = train_classifier(
        clips, labels, options.fitted_epochs, options.fitted_minutes, device, seed, progress
    )
    place = classifier.classes.index("made")

    def said(audio: Audio) -> float:
        return min(1.0, max(0.0, float(classifier.probabilities(audio)[place])))

    return detection.evaluate(
        [said(real[pair]) for pair in outside],
        [said(made[pair]) for pair in outside],
        [speakers[pair] for pair in outside],
        options.threshold,
        seed,
    )
