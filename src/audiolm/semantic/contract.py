"""What every semantic tokenizer answers to, whatever network is behind it."""

from abc import ABC, abstractmethod

from torch import Tensor

from audiolm.part import Part
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP, Features, Lengths, SemanticIds, Waveform


class SemanticTokenizer(Part, ABC):
    """16 kHz waveform to ids at 25 Hz that say what is said, not who says it (paper, III-A)."""

    sample_rate: int = SAMPLE_RATE
    hop: int = SEMANTIC_HOP
    clusters: int
    """K, how many ids there are."""
    layer: int
    """The layer whose activations are clustered, counted from 1 over all Conformer layers."""

    @property
    @abstractmethod
    def centroids(self) -> Tensor:
        """The k-means centroids (K, d), in the normalised feature space or its projection."""

    @abstractmethod
    def features(
        self, waveform: Waveform, lengths: Lengths | None = None, layer: int | None = None
    ) -> Features:
        """Activations (B, S, D) of one layer, S = ceil(T / hop).

        Args:
            waveform: samples in [-1, 1], padded at the end.
            lengths: samples of each row that are real; all when None.
            layer: which layer, counted from 1; the tokenizer's own when None.
        """

    @abstractmethod
    def quantize(self, features: Features) -> SemanticIds:
        """Ids (B, S) of activations (B, S, D) that `features` gave of the tokenizer's own layer."""

    @abstractmethod
    def encode(self, waveform: Waveform, lengths: Lengths | None = None) -> SemanticIds:
        """Semantic ids (B, S); padding never changes the ids of real samples."""
