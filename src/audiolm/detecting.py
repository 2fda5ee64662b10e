"""`audiolm.detect`: whether a model made a sound, whether it was through its codec, and its mark.

Joins what knows nothing of each other: where models are found, the detector that one of them
brings, the mark, and files. A model without a detector is answered for by the bundled one, which
says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from audiolm.audio.blocks import read_channel_blocks
from audiolm.audio.waveform import Audio
from audiolm.device import choose_device
from audiolm.errors import AudioError, ModelFolderError
from audiolm.model_io.folder import load_part
from audiolm.model_io.manifest import read_manifest
from audiolm.parts import DETECTOR
from audiolm.pretrained import bundled_models, find
from audiolm.prompt import require_audio
from audiolm.safety.calibration import checked_false_alarms
from audiolm.safety.detection import Detection, judged, most_suspicious
from audiolm.safety.detector import Detector
from audiolm.safety.watermark import MarkReader
from audiolm.safety.windows import WindowScores
from audiolm.shapes import SAMPLE_RATE

FALLBACK = "speech"
"""The bundled model whose detector answers for models that have none."""


@dataclass(frozen=True)
class ChosenDetector:
    """The detector that answers."""

    detector: Detector
    trained_for: str
    """Name of the model whose sound it was trained to find."""
    note: str = ""
    """Where it is not the asked model's own."""


def choose_detector(
    model: str | Path = FALLBACK, device: torch.device | str = "auto"
) -> ChosenDetector:
    """The detector of a model, or the bundled one where it has none.

    Args:
        model: a bundled name, a folder, or owner/name on the hub.
        device: where it computes.

    Raises:
        ModelFolderError: there is no such model, or neither it nor the package has a detector, or
            one is damaged.
        ConfigurationError: this machine has no such device.
    """
    target, folder = choose_device(device), find(model)
    manifest = read_manifest(folder)
    if (own := own_detector(folder, target)) is not None:
        return own
    remedy = f"train one with: audiolm train FOLDER --out MODEL --only detector --from {model}"
    if FALLBACK not in bundled_models():
        raise ModelFolderError(f"{folder}: the model has no detector; {remedy}")
    bundled = find(FALLBACK)
    if DETECTOR.name not in read_manifest(bundled).parts:
        also = "" if bundled == folder else f", and neither has the bundled {FALLBACK}"
        raise ModelFolderError(f"{folder}: the model has no detector{also}; {remedy}")
    note = (
        f"{manifest.name} has no detector of its own: the bundled one answers, which was trained "
        f"for {FALLBACK}"
    )
    return _loaded(bundled, target, note)


def own_detector(model: str | Path, device: torch.device | str = "auto") -> ChosenDetector | None:
    """The detector that a model brings; None where it has none.

    Raises:
        ModelFolderError, ConfigurationError: as `choose_detector`.
    """
    folder = find(model)
    if DETECTOR.name not in read_manifest(folder).parts:
        return None
    return _loaded(folder, choose_device(device), "")


def detect(
    audio: Audio,
    model: str | Path = FALLBACK,
    false_alarms: float = 0.01,
    device: torch.device | str = "auto",
) -> Detection:
    """Whether a model made a recording, or a part of it, and what its mark says.

    Args:
        audio: a recording of any length and rate.
        model: whose sound is looked for: a bundled name, a folder, or owner/name on the hub.
        false_alarms: share of recordings that may be called made, 0.001 to 0.1.
        device: where the detector computes: auto, cpu, cuda or mps.

    Raises:
        AudioError: `audio` is no recording, or is empty.
        ConfigurationError: `false_alarms` or `device` cannot be.
        ModelFolderError: there is no such model, or no detector for it.
    """
    require_audio(audio, "audio")
    checked_false_alarms(false_alarms)
    samples = audio.resampled(SAMPLE_RATE).samples
    if not len(samples):
        raise AudioError("audio: there are no samples in it; read a recording that has some")
    chosen = choose_detector(model, device)
    return detect_channels([samples[:, None]], chosen, false_alarms)


def detect_file(path: str | Path, chosen: ChosenDetector, false_alarms: float = 0.01) -> Detection:
    """The same of a file, every channel of it, read in a stream: hours in the memory of seconds.

    Raises:
        AudioError: the file cannot be read.
        ConfigurationError: `false_alarms` cannot be.
    """
    return detect_channels(read_channel_blocks(path, SAMPLE_RATE), chosen, false_alarms)


def detect_channels(
    blocks: Iterable[NDArray[np.float32]], chosen: ChosenDetector, false_alarms: float = 0.01
) -> Detection:
    """The same of (n, channels) blocks at 16 kHz, of which there is one at least.

    The answer is that of the most suspicious channel; the mark is the surest of any channel.
    """
    scores: list[WindowScores] = []
    marks: list[MarkReader] = []
    for block in blocks:
        for channel in range(block.shape[1]):
            if channel == len(scores):
                scores.append(WindowScores(chosen.detector))
                marks.append(MarkReader(SAMPLE_RATE))
            samples = np.ascontiguousarray(block[:, channel])  # (n,)
            scores[channel].push(samples)
            marks[channel].push(samples)
    answers = [
        judged(one.finish(), chosen.detector.config, false_alarms, len(scores)) for one in scores
    ]
    answer = most_suspicious(answers)
    mark = min((mark.reading() for mark in marks), key=lambda reading: reading.p_value)
    note = "; ".join(filter(None, [answer.note, chosen.note]))
    return replace(answer, mark=mark, note=note, detector=chosen.trained_for)


def _loaded(folder: Path, device: torch.device, note: str) -> ChosenDetector:
    detector = load_part(folder, DETECTOR.name, device)
    assert isinstance(detector, Detector)
    return ChosenDetector(detector, detector.config.model or read_manifest(folder).name, note)
