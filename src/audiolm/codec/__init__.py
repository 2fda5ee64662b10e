"""Neural codecs: 16 kHz waveform to residual-quantizer ids and back (paper, section III-A)."""

from typing import Annotated

from pydantic import Field

from audiolm.codec.causal import CodecOutput
from audiolm.codec.contract import Codec, DecoderStream, EncoderStream
from audiolm.codec.quantizer import QuantizerConfig, exported
from audiolm.codec.soundstream import SoundStream, SoundStreamConfig
from audiolm.codec.spectral import SpectralCodec, SpectralConfig

CodecConfig = Annotated[SoundStreamConfig | SpectralConfig, Field(discriminator="kind")]
"""Settings of any codec; `kind` says which."""

__all__ = [
    "Codec",
    "CodecConfig",
    "CodecOutput",
    "DecoderStream",
    "EncoderStream",
    "QuantizerConfig",
    "SoundStream",
    "SoundStreamConfig",
    "SpectralCodec",
    "SpectralConfig",
    "build_codec",
    "exported",
]


def build_codec(config: CodecConfig) -> SoundStream | SpectralCodec:
    """The codec that `config` describes, with first weights, ready for training.

    Weights of an `exported` codec load into it strictly and make it one for inference.
    """
    if isinstance(config, SoundStreamConfig):
        return SoundStream(config)
    return SpectralCodec(config)
