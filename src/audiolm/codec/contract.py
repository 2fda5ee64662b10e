"""What every codec answers to, whatever network is behind it."""

from abc import ABC, abstractmethod
from typing import Protocol

from audiolm.part import Part
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, Codes, Embeddings, Waveform


class EncoderStream(Protocol):
    """Encodes one recording chunk by chunk; all together equal `Codec.encode` of the whole."""

    def push(self, chunk: Waveform) -> Codes:
        """Take the next samples, return the frames that became certain (possibly none, F = 0)."""

    def flush(self) -> Codes:
        """Say that the recording has ended; return the frames that are left."""


class DecoderStream(Protocol):
    """Decodes codes chunk by chunk; all chunks together equal `Codec.decode` of the whole."""

    def push(self, codes: Codes) -> Waveform:
        """Take the next frames, return the samples that became certain (possibly none, T = 0)."""

    def flush(self) -> Waveform:
        """Say that there are no more frames; return the samples that are left."""


class Codec(Part, ABC):
    """A neural codec: 16 kHz waveform to residual-quantizer ids and back (paper, section III-A)."""

    sample_rate: int = SAMPLE_RATE
    hop: int = CODEC_HOP
    levels: int
    """Q, quantizers of the residual quantizer."""
    codebook_size: int
    """N, ids per quantizer."""
    dim: int
    """D, width of the quantizer's output."""
    look_ahead: int
    """Future samples that a frame may depend on, beyond the frame's own 320 (SoundStream: 0)."""

    @abstractmethod
    def encode(self, waveform: Waveform, levels: int | None = None) -> Codes:
        """Waveform (B, T) to codes (B, q, F), F = ceil(T / hop); the end is padded with silence.

        Args:
            waveform: samples in [-1, 1].
            levels: q, how many levels to compute, 1 to Q; all when None.
        """

    @abstractmethod
    def decode(self, codes: Codes) -> Waveform:
        """Codes (B, q, F) to waveform (B, F * hop), for any 1 <= q <= Q."""

    @abstractmethod
    def embed(self, codes: Codes) -> Embeddings:
        """The quantizer's output (B, F, D): the sum of the chosen vectors of each level."""

    @abstractmethod
    def codes_fingerprint(self) -> str:
        """SHA-256 over the configuration and what makes the codes: all weights but the decoder's.

        Codecs that have it in common understand each other's codes.
        """

    @abstractmethod
    def encoder_stream(self) -> EncoderStream:
        """A stream that encodes one batch of recordings chunk by chunk."""

    @abstractmethod
    def decoder_stream(self) -> DecoderStream:
        """A stream that decodes one batch of code sequences chunk by chunk."""
