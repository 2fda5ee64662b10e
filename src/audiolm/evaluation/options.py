"""What may be chosen about the evaluation: one section per part, published choices as defaults.

`audiolm evaluate --set content.recogniser=FOLDER` sets one of them. A part's section goes into its
results, and a part is run again when its section has changed.
"""

from typing import Literal

from pydantic import Field

from audiolm.configuration import Configuration


class AbxConfig(Configuration):
    """Phonetic ABX (Table I, Fig. 3)."""

    items: str = ""
    """An item file; every `*.item` below the data folder when empty."""
    features: tuple[str, ...] = ("mfcc", "mel", "semantic", "codec")
    """What is compared: `semantic` (centroids), `layer:L` (w2v-BERT, not quantized), `codec` (at
    each of `levels`), `mel`, `mfcc`."""
    levels: tuple[int, ...] = (1, 3, 4, 12)
    """Levels of the codec at which its quantizer's output is compared."""
    context: Literal["within", "any"] = "within"
    """Whether A, B and X share the phones before and after; `any` lets them differ."""
    max_size_group: int = Field(default=10, ge=2)
    """Tokens of one phone, context and speaker that are used at most, drawn by the seed."""
    max_x_across: int = Field(default=5, ge=1)
    """Other speakers that X is drawn from at most, for a speaker's A and B."""
    drop_last_frame: bool = True
    """Leave out the last frame of a token, as published figures do; fastabx by default does not."""


class ReconstructionConfig(Configuration):
    """Quality of the codec (Table I)."""


class ContentConfig(Configuration):
    """Word and character errors (Table II)."""


class SpeakerConfig(Configuration):
    """Speaker classification (Table III)."""


class ProbesConfig(Configuration):
    """sWUGGY, sBLIMP and bits per token (Table IV, Fig. 3)."""

    split: str = "dev"
    """Folder below `lexical/` and `syntactic/`."""
    batch_seconds: float = Field(default=120.0, gt=0)
    """Sound that is scored at once."""


class ContinuationConfig(Configuration):
    """Continuations of prompts (IV-F, IV-B)."""


class DetectionConfig(Configuration):
    """Detection of synthetic speech (IV-H)."""


class ListeningConfig(Configuration):
    """Listening tests (IV-G, IV-I)."""


class EvaluationConfig(Configuration):
    """All sections."""

    abx: AbxConfig = AbxConfig()
    """Phonetic ABX."""
    reconstruction: ReconstructionConfig = ReconstructionConfig()
    """Quality of the codec."""
    content: ContentConfig = ContentConfig()
    """Word and character errors."""
    speaker: SpeakerConfig = SpeakerConfig()
    """Speaker classification."""
    probes: ProbesConfig = ProbesConfig()
    """Words and sentences."""
    continuation: ContinuationConfig = ContinuationConfig()
    """Continuations of prompts."""
    detection: DetectionConfig = DetectionConfig()
    """Detection of synthetic speech."""
    listening: ListeningConfig = ListeningConfig()
    """Listening tests."""
