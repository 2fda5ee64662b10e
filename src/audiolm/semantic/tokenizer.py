"""The semantic tokenizer: one layer of a trained w2v-BERT, normalised, and k-means (paper, III-B).

Between the two there may be a projection to the directions that a voice moves least (`invariance`).

It holds no more of the network than the layers up to the chosen one. A long recording is cut into
windows at fixed places, each heard with a little of what stands before and after it, so memory
does not grow with the square of the length, and the network meets nothing much longer than what it
was trained on.
"""

import math
from typing import Literal, Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from audiolm.configuration import Configuration
from audiolm.device import under_torch_defaults
from audiolm.errors import ConfigurationError
from audiolm.semantic.conformer import Conformer, ConformerConfig, full_lengths
from audiolm.semantic.contract import SemanticTokenizer
from audiolm.semantic.kmeans import nearest
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP, Features, Lengths, SemanticIds, Waveform

STEPS_PER_SECOND = SAMPLE_RATE // SEMANTIC_HOP


class W2vBertTokenizerConfig(Configuration):
    """A tokenizer cut from a w2v-BERT network."""

    kind: Literal["w2v_bert"] = "w2v_bert"
    """Which tokenizer this configures."""
    conformer: ConformerConfig = ConformerConfig()
    """The network as it was trained, with all its layers."""
    layer: int = Field(default=7, gt=0)
    """The layer whose activations are clustered, counted from 1; later layers are not kept."""
    clusters: int = Field(default=1024, gt=1)
    """K, how many ids there are."""
    dims: int | None = Field(default=None, gt=0)
    """Dimensions of the projection that is clustered; null for all of the layer, not projected."""
    window_seconds: int = Field(default=24, gt=0)
    """Longer recordings are heard in windows of this length."""
    context_seconds: int = Field(default=3, ge=0)
    """What is heard besides, before and after a window."""

    @model_validator(mode="after")
    def _layer_exists(self) -> Self:
        if self.layer > self.conformer.layers:
            raise ValueError(f"layer {self.layer} of {self.conformer.layers} layers; lower it")
        if self.dims is not None and self.dims > self.conformer.width:
            raise ValueError(f"dims {self.dims} of {self.conformer.width} dimensions; lower it")
        return self


class W2vBertTokenizer(SemanticTokenizer):
    """Waveform to ids at 25 Hz. Always in float32: the same recording gives the same ids."""

    config: W2vBertTokenizerConfig

    def __init__(self, config: W2vBertTokenizerConfig | None = None) -> None:
        super().__init__()
        self.config = config or W2vBertTokenizerConfig()
        self.clusters, self.layer = self.config.clusters, self.config.layer
        width = self.config.conformer.width
        kept = self.config.conformer.model_copy(update={"layers": self.layer, "dropout": 0.0})
        self.conformer = Conformer(kept)
        self.register_buffer("_mean", torch.zeros(width))
        self.register_buffer("_std", torch.ones(width))
        dims = self.config.dims
        self.register_buffer("_projection", None if dims is None else torch.zeros(width, dims))
        self.register_buffer("_centroids", torch.zeros(self.clusters, dims or width))
        self._mean: Tensor
        self._std: Tensor
        self._projection: Tensor | None
        self._centroids: Tensor

    @classmethod
    def from_network(
        cls,
        network: W2vBert,
        layer: int,
        mean: Tensor,
        std: Tensor,
        centroids: Tensor,
        projection: Tensor | None = None,
    ) -> Self:
        """Cut a tokenizer from a trained network.

        Args:
            network: left as it is; its weights are copied.
            layer: counted from 1 over all layers.
            mean: of each dimension of that layer's activations, (D,); zeros for no normalisation.
            std: their standard deviation, (D,); ones for no normalisation.
            centroids: k-means centroids (K, D) of the normalised activations, or (K, d) of their
                projection.
            projection: what normalised activations are multiplied with, (D, d); nothing when None.

        Raises:
            ConfigurationError: there is no such layer.
        """
        conformer = network.config.conformer
        if not 1 <= layer <= conformer.layers:
            raise ConfigurationError(
                f"layer {layer}: the network has layers 1 to {conformer.layers}; choose one"
            )
        config = W2vBertTokenizerConfig(
            conformer=conformer,
            layer=layer,
            clusters=len(centroids),
            dims=None if projection is None else projection.shape[1],
        )
        tokenizer = cls(config)
        weights = network.conformer.state_dict()
        kept = {name: weights[name] for name in tokenizer.conformer.state_dict()}
        tokenizer.conformer.load_state_dict(kept)
        tokenizer._mean.copy_(mean)
        tokenizer._std.copy_(std)
        if tokenizer._projection is not None and projection is not None:
            tokenizer._projection.copy_(projection)
        tokenizer._centroids.copy_(centroids)
        return tokenizer.to(centroids.device).eval()

    @property
    def centroids(self) -> Tensor:
        """The k-means centroids (K, d), in the normalised feature space or its projection."""
        return self._centroids

    def project(self, features: Features) -> Float[Tensor, "B S d"]:
        """Activations (B, S, D) as they are clustered: normalised, projected, (B, S, d)."""
        normalised = (features - self._mean) / self._std
        return normalised if self._projection is None else normalised @ self._projection

    @under_torch_defaults
    @torch.no_grad()
    def features(
        self, waveform: Waveform, lengths: Lengths | None = None, layer: int | None = None
    ) -> Features:
        """Activations (B, S, D) of one layer as they are, not normalised; zero at padded steps.

        Args:
            waveform: samples in [-1, 1], padded at the end.
            lengths: samples of each row that are real; all when None.
            layer: which layer, counted from 1, up to the tokenizer's own; that one when None.

        Raises:
            ConfigurationError: the tokenizer does not hold that layer.
        """
        lengths = full_lengths(waveform) if lengths is None else lengths
        window = self.config.window_seconds * STEPS_PER_SECOND
        context = self.config.context_seconds * STEPS_PER_SECOND
        steps = math.ceil(waveform.shape[1] / SEMANTIC_HOP)
        pieces = []
        for start in range(0, steps, window):
            first = max(0, start - context)
            heard = slice(first * SEMANTIC_HOP, (start + window + context) * SEMANTIC_HOP)
            left = (lengths - heard.start).clamp(min=0)
            piece = self.conformer(waveform[:, heard].float(), left, layer)
            pieces.append(piece[:, start - first : start - first + window])
        return torch.cat(pieces, dim=1)

    @under_torch_defaults
    @torch.no_grad()
    def quantize(self, features: Features) -> SemanticIds:
        """The centroid nearest to each projected activation (B, S, D) of its own layer: (B, S)."""
        points = self.project(features).flatten(0, 1)  # (B * S, d)
        return nearest(points, self._centroids)[0].view(features.shape[:2])

    @under_torch_defaults
    @torch.no_grad()
    def encode(self, waveform: Waveform, lengths: Lengths | None = None) -> SemanticIds:
        """Semantic ids (B, S): the centroid nearest to each projected activation; -1 at padding.

        Args:
            waveform: samples in [-1, 1], padded at the end.
            lengths: samples of each row that are real; all when None.
        """
        lengths = full_lengths(waveform) if lengths is None else lengths
        ids = self.quantize(self.features(waveform, lengths))  # (B, S)
        return ids.masked_fill(~self.conformer.real_steps(waveform, lengths), -1)
