"""A whole model with random weights, small enough to generate in milliseconds.

Its weights are larger than at the start of a training, so that what comes next depends strongly on
what was: a test can see whether a prompt conditions anything.
"""

from typing import Any

import numpy as np
import torch

from audiolm.audio.waveform import Audio
from audiolm.codec import SpectralConfig, build_codec, exported
from audiolm.codec.quantizer import QuantizerConfig
from audiolm.model import AudioLM
from audiolm.semantic import W2vBertTokenizer
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig
from audiolm.stages import LayoutConfig, Stage, TransformerConfig, build_stage, stage_kind

K, N, COARSE, LEVELS = 16, 32, 2, 4
WIDTH = 16
CONTEXT = {"semantic": 4.0, "coarse": 2.0, "fine": 1.0, "acoustic_only": 2.0, "parallel": 2.0}


def tiny_model(
    seed: int = 0, kinds: tuple[str, ...] = ("semantic", "coarse", "fine"), **layout: Any
) -> AudioLM:
    """A model with the stages of these kinds; `layout` changes the settings of their layouts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first = build_codec(
            SpectralConfig(
                width=16,
                encoder_blocks=1,
                decoder_blocks=1,
                refine_width=16,
                refine_blocks=1,
                dim=8,
                quantizer=QuantizerConfig(levels=LEVELS, codebook_size=N),
            )
        )
        codec = exported(first).rounded()
        semantic = tiny_tokenizer().rounded()
        stages = {kind: tiny_stage(kind, codec, semantic, **layout).rounded() for kind in kinds}
    return AudioLM(codec, semantic, stages, name="tiny")


def tiny_tokenizer() -> W2vBertTokenizer:
    """A tokenizer whose centroids are features of noise, so that its ids change with the sound."""
    conformer = ConformerConfig(width=WIDTH, layers=2, heads=2, feed_forward=32, kernel=3)
    network = W2vBert(W2vBertConfig(conformer=conformer, contrastive_layers=1)).eval()
    features = network.features(torch.from_numpy(noise(3.0).samples)[None], None, 2)[0]  # (S, D)
    mean, std = features.mean(0), features.std(0)
    return W2vBertTokenizer.from_network(network, 2, mean, std, ((features - mean) / std)[:K])


def tiny_stage(kind: str, codec: Any, semantic: Any, **layout: Any) -> Stage:
    """A stage with random weights that belongs to a codec and a tokenizer."""
    settings = {"clusters": K, "codebook_size": N, "coarse_levels": COARSE, "levels": LEVELS}
    reads_semantic = kind in ("semantic", "coarse", "parallel")
    network: dict[str, Any] = {}
    if kind == "parallel":
        layout = {"conditioning": "aligned", "remove_repeats": False}
        network = {"passes": (4,) + (1,) * (COARSE - 1)}
    stage = build_stage(
        kind,
        stage_kind(kind).config(
            layout=LayoutConfig(kind=kind, **(settings | layout)),
            transformer=TransformerConfig(
                layers=1, heads=2, width=WIDTH, feed_forward=32, dropout=0.1
            ),
            context_seconds=CONTEXT[kind],
            codec_fingerprint="" if kind == "semantic" else codec.fingerprint(),
            semantic_fingerprint=semantic.fingerprint() if reads_semantic else "",
            semantic_rate=18.0,
            **network,
        ),
    )
    with torch.no_grad():
        for weight in stage.parameters():
            weight.mul_(30 if weight.ndim > 1 else 1)
    return stage


def noise(seconds: float, seed: int = 0, sample_rate: int = 16_000) -> Audio:
    """Noise whose loudness comes and goes, (seconds * sample_rate,) samples."""
    generator = np.random.default_rng(seed)
    count = round(seconds * sample_rate)
    envelope = np.sin(np.arange(count) * generator.uniform(8, 12) / sample_rate) ** 2
    samples = 0.2 * envelope * generator.standard_normal(count)
    return Audio(samples.astype(np.float32), sample_rate)
