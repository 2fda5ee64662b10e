"""The detector, a part of a model: did this model make a sound, and has it been through its codec?

The paper's convolutional classifier (section IV-H), smaller, with two answers for each second. It
learns the traces of the language model and not those of the codec, because what it is shown beside
continuations are recordings *through the codec*; the codec's traces are the second question. Level
tells nothing: each second is brought to one loudness first.
"""

import hashlib
from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from audiolm.audio.mel import LogMel, MelConfig
from audiolm.configuration import Configuration
from audiolm.part import Part
from audiolm.safety.calibration import Calibration
from audiolm.safety.classifier import convolution_blocks, largest
from audiolm.shapes import Waveform

LEVEL = 0.1
"""Root mean square to which each second is brought (-20 dB)."""
QUIETEST = 1e-5
"""Root mean square below which a second is not amplified any further (-100 dB)."""
QUESTIONS = ("made", "codec")
"""What the two outputs answer: made by the model; been through the codec, made or not."""


class DetectorNetworkConfig(Configuration):
    """The detector's network."""

    mel: MelConfig = MelConfig(bins=64)
    """The spectrogram that it sees."""
    channels: tuple[int, ...] = Field(default=(16, 32, 64, 128, 128, 256), min_length=1)
    """Of its blocks; the paper's are 64 to 512, which is more than a part of 3 MB can hold, and
    more than a CPU can listen to for hours."""


class DetectorConfig(DetectorNetworkConfig):
    """A detector: its network, what it was trained for, and what its scores mean."""

    kind: Literal["detector"] = "detector"
    """Which network it is."""
    model: str = ""
    """Name of the model whose sound it was trained to find."""
    model_fingerprint: str = ""
    """Fingerprint of that model."""
    speakers: tuple[str, ...] = ()
    """Those it was trained or calibrated on, as `hidden` writes them: no evaluation takes them."""
    made: tuple[Calibration, ...] = ()
    """What scores for "made by the model" mean, for sound of several lengths."""
    codec: tuple[Calibration, ...] = ()
    """What scores for "been through the codec" mean, likewise."""


class Detector(Part):
    """Seconds of sound to the log-odds of two answers.

    Args:
        config: the network, and what was learnt of its scores.
    """

    config: DetectorConfig

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.mel)
        self.blocks = convolution_blocks(config.channels)
        self.head = nn.Linear(config.channels[-1], len(QUESTIONS))

    def forward(self, waveform: Waveform) -> Float[Tensor, "B 2"]:
        """Log-odds (B, 2), not calibrated, that (B, T) of about one second is made; is coded."""
        logits: Tensor = self.head(largest(self.blocks, self.mel(one_level(waveform))))
        return logits.float()

    @property
    def speakers(self) -> tuple[str, ...]:
        """Those it was trained or calibrated on, hidden."""
        return self.config.speakers


def one_level(waveform: Waveform) -> Waveform:
    """Each row (B, T) at the same root mean square; silence stays silence."""
    strength = waveform.square().mean(dim=1, keepdim=True).sqrt().clamp(min=QUIETEST)
    return waveform * (LEVEL / strength)


def hidden(speaker: str) -> str:
    """A speaker as a model folder tells of them: to be recognised by who knows the name, no more.

    Names of folders may be names of people, and a model is shared.
    """
    return hashlib.sha256(f"audiolm speaker {speaker}".encode()).hexdigest()[:10]
