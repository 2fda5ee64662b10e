"""What ABX compares: recordings as frames, from a spectrum to the centroids of semantic tokens.

`mfcc` and `mel` are the floor that anything learnt has to beat; `layer:L` shows what a layer of
w2v-BERT knows before it is quantized, `semantic` what is left after, and `codec` what acoustic
tokens hold of it (paper, section III-B and Table I).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from audiolm.audio.mel import LogMel, MelConfig
from audiolm.errors import ConfigurationError
from audiolm.model import AudioLM
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP, Waveform

CEPSTRA = 13
MEL_BANDS = 80
MFCC_BANDS = 40
SPECTRA = (
    f"every 10 ms over 25 ms; power below {MelConfig().floor:g} is taken for that, which hides "
    f"what a lossy format leaves of silence; MFCC from {MFCC_BANDS} bands"
)
"""What the floors depend on; the floor of power alone moves them by some points."""
DELTA_SPAN = 2
"""Frames on either side that a slope is fitted through."""


@dataclass(frozen=True)
class Feature:
    """One kind of frames."""

    name: str
    """In the names of metrics."""
    title: str
    """In tables."""
    rate: float
    """Frames per second."""
    bits: float | None = None
    """Bits per second, where frames are tokens."""
    paper: tuple[float, float] | None = None
    """The paper's ABX error in percent, within and across speakers."""
    layer: int | None = None
    """Of w2v-BERT."""
    scaled: bool = False
    """Each dimension is to be scaled to zero mean and unit variance over all recordings."""


@dataclass(frozen=True)
class Extractor:
    """Gives one or several kinds of frames of a recording at once."""

    features: list[Feature]
    extract: Callable[[Waveform], list[Tensor]]
    """Waveform (1, T) on the model's device to frames (n, D), one tensor per feature."""


def extractors(names: Sequence[str], levels: Sequence[int], model: AudioLM) -> list[Extractor]:
    """Extractors of the named features, in that order; `semantic` and its layer share one.

    Args:
        names: `mfcc`, `mel`, `semantic`, `codec`, `layer` (the tokenizer's own), `layer:L`.
        levels: of the codec; those that it does not have are left out.
        model: whose codec and tokenizer.

    Raises:
        ConfigurationError: if there is no such feature.
    """
    makers: dict[str, Callable[[AudioLM], Extractor]] = {
        "mfcc": _mfcc,
        "mel": _mel,
        "codec": lambda model: _codec(model, levels),
    }
    names = list(dict.fromkeys(names))
    own = {"semantic", "layer", f"layer:{model.semantic.layer}"}
    of_own_layer = [name for name in names if name in own]
    chosen = []
    for name in names:
        kind, _, number = name.partition(":")
        if name in own:
            if name == of_own_layer[0]:
                chosen.append(_own_layer(model, of_own_layer))
        elif kind == "layer" and number.isdigit():
            layer = int(number)
            if not 1 <= layer <= model.semantic.layer:
                raise ConfigurationError(
                    f"abx.features: {name}: the tokenizer holds layers 1 to {model.semantic.layer}"
                )
            chosen.append(_layer(model, layer))
        elif name in makers:
            chosen.append(makers[name](model))
        else:
            raise ConfigurationError(
                f"abx.features: {name} is not known; choose of {', '.join(makers)}, semantic, "
                f"layer, layer:L"
            )
    return chosen


def _mel(model: AudioLM) -> Extractor:
    feature = Feature("mel", f"log-mel, {MEL_BANDS} bands", 100.0)
    log_mel = LogMel(MelConfig(bins=MEL_BANDS)).to(model.device)
    return Extractor([feature], lambda waveform: [log_mel(waveform)[0]])


def _mfcc(model: AudioLM) -> Extractor:
    title = f"MFCC, {CEPSTRA} and deltas, normalised per utterance"
    log_mel = LogMel(MelConfig(bins=MFCC_BANDS)).to(model.device)
    cosines = _cosines(MFCC_BANDS, CEPSTRA).to(model.device)
    return Extractor(
        [Feature("mfcc", title, 100.0)],
        lambda waveform: [standardised(with_deltas(log_mel(waveform)[0] @ cosines))],
    )


def _own_layer(model: AudioLM, names: Sequence[str]) -> Extractor:
    """The tokenizer's own layer as `semantic` and as `layer`, from one run of the network."""
    rate = SAMPLE_RATE / SEMANTIC_HOP
    bits = rate * math.log2(model.semantic.clusters)
    title = f"semantic tokens, K = {model.semantic.clusters}"
    tokens = Feature("semantic", title, rate, bits, (6.7, 7.6))
    layer = _layer_feature(model.semantic.layer)

    def extract(waveform: Waveform) -> list[Tensor]:
        heard = model.semantic.features(waveform)  # (1, S, D)
        ids = model.semantic.quantize(heard)[0]  # (S,)
        return [model.semantic.centroids[ids] if name == "semantic" else heard[0] for name in names]

    return Extractor([tokens if name == "semantic" else layer for name in names], extract)


def _layer(model: AudioLM, layer: int) -> Extractor:
    return Extractor(
        [_layer_feature(layer)],
        lambda waveform: [model.semantic.features(waveform, layer=layer)[0]],
    )


def _layer_feature(layer: int) -> Feature:
    return Feature(
        f"layer_{layer}",
        f"w2v-BERT layer {layer}, not quantized",
        SAMPLE_RATE / SEMANTIC_HOP,
        layer=layer,
        scaled=True,
    )


def _codec(model: AudioLM, levels: Sequence[int]) -> Extractor:
    rate = SAMPLE_RATE / CODEC_HOP
    published = {2000: (22.4, 28.7), 6000: (17.8, 26.6)}
    kept = sorted({level for level in levels if 1 <= level <= model.codec.levels})
    if not kept:
        raise ConfigurationError(f"abx.levels: the codec has levels 1 to {model.codec.levels}")
    features = []
    for level in kept:
        bits = rate * level * math.log2(model.codec.codebook_size)
        title = f"acoustic tokens, {level} level{'s' if level > 1 else ''}"
        paper = published.get(round(bits))
        features.append(Feature(f"codec_{level}", title, rate, bits, paper))

    def extract(waveform: Waveform) -> list[Tensor]:
        codes = model.codec.encode(waveform, kept[-1])  # (1, q, F)
        return [model.codec.embed(codes[:, :level])[0] for level in kept]  # (F, D) each

    return Extractor(features, extract)


def _cosines(bands: int, count: int) -> Tensor:
    """The first cosines of the orthonormal discrete cosine transform: (bands, count)."""
    angle = (torch.arange(bands) + 0.5) * math.pi / bands
    cosines = torch.cos(angle[:, None] * torch.arange(count)) * math.sqrt(2 / bands)
    cosines[:, 0] /= math.sqrt(2)
    return cosines


def with_deltas(frames: Float[Tensor, "n D"]) -> Float[Tensor, "n D3"]:
    """Frames with their slopes, and the slopes of these: (n, 3 D)."""
    slopes = _slopes(frames)
    return torch.cat([frames, slopes, _slopes(slopes)], dim=1)


def _slopes(frames: Tensor) -> Tensor:
    """Slope per frame of the line through each frame (n, D) and its neighbours; ends repeated."""
    offsets = torch.arange(-DELTA_SPAN, DELTA_SPAN + 1.0, device=frames.device)
    padded = F.pad(frames.T[None], (DELTA_SPAN, DELTA_SPAN), mode="replicate")[0]
    windows = padded.unfold(1, len(offsets), 1)  # (D, n, 2 * span + 1)
    return (windows @ offsets / offsets.square().sum()).T


def standardised(frames: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
    """Frames with zero mean and unit variance in each dimension; constant ones become zero."""
    centred = frames - frames.mean(dim=0)
    return centred / frames.std(dim=0, correction=0).clamp(min=1e-5)
