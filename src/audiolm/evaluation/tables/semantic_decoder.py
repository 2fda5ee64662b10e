"""A decoder from semantic tokens alone to sound: what they lose, one can then hear and measure.

The paper trains SoundStream's decoder on them (section III-B, Table I). Here too it is the model's
own codec's decoder, starting from its weights, with a vector per semantic token in place of the
quantizer's output; one token stands for two frames.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from audiolm.codec.causal import CausalCodec, StreamingState
from audiolm.codec.contract import Codec
from audiolm.codec.losses import MelLoss, MelLossConfig
from audiolm.data.batches import CropSampler, waveform_batch
from audiolm.data.store import Waveforms
from audiolm.errors import ConfigurationError
from audiolm.safety.fitting import Fitted, FittingConfig, fit
from audiolm.semantic.contract import SemanticTokenizer
from audiolm.shapes import FRAMES_PER_STEP, SAMPLE_RATE, SemanticIds, Waveform

CROP = 2 * SAMPLE_RATE
"""Samples of a training crop: 50 whole semantic steps."""
BATCH_SIZE = 8
"""Crops in one step of training."""
MANY_STEPS = 10**6
"""The clock ends the training, not the count."""


class SemanticDecoder(nn.Module):
    """Semantic ids to a waveform, by the networks of a codec's decoder.

    Args:
        codec: whose decoder it starts from; it is copied.
        clusters: K, how many semantic ids there are.

    Raises:
        ConfigurationError: the codec is of a kind whose decoder takes no vectors.
    """

    def __init__(self, codec: Codec, clusters: int) -> None:
        super().__init__()
        if not isinstance(codec, CausalCodec):
            raise ConfigurationError(
                f"codec: the decoder of a {type(codec).__name__} takes no vectors; "
                "set reconstruction.semantic_decoder_minutes to 0"
            )
        self.codec = copy.deepcopy(codec).requires_grad_(True)
        self.vectors = nn.Embedding(clusters, codec.dim)

    def forward(self, ids: SemanticIds) -> Waveform:
        """Ids (B, S) to samples (B, S * 640)."""
        vectors = self.vectors(ids).repeat_interleave(FRAMES_PER_STEP, dim=1)  # (B, F, D)
        return self.codec.synthesise(vectors, StreamingState())


def train_semantic_decoder(
    codec: Codec,
    tokenizer: SemanticTokenizer,
    store: Waveforms,
    minutes: float,
    seed: int,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[SemanticDecoder, Fitted]:
    """Train a decoder on the codec's reconstruction loss, without opponents.

    Args:
        codec: whose decoder it starts from.
        tokenizer: makes the ids.
        store: recordings to learn from.
        minutes: for how long.
        seed: of the first vectors and of the crops.
        progress: is told which share of the time is over.

    Returns:
        The decoder, in evaluation mode, and what its training came to.

    Raises:
        ConfigurationError: the codec is of a kind whose decoder takes no vectors.
    """
    device = tokenizer.centroids.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = SemanticDecoder(codec, tokenizer.clusters)
    decoder.to(device)
    mel = MelLoss(MelLossConfig()).to(device)
    lengths = [store.length(i) for i in range(len(store))]
    sampler = CropSampler(lengths, CROP, BATCH_SIZE, seed)

    def loss_of(step: int) -> Tensor:
        waveform, _ = waveform_batch(store, sampler.draw(step), CROP)  # (B, CROP)
        waveform = waveform.to(device)
        with torch.no_grad():
            ids = tokenizer.encode(waveform)  # (B, S)
        loss: Tensor = mel(decoder(ids), waveform)
        return loss

    fitted = fit(decoder, loss_of, FittingConfig(steps=MANY_STEPS, minutes=minutes), progress)
    return decoder, fitted
