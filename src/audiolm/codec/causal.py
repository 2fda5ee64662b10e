"""Causal codecs: one network, run all at once or chunk by chunk.

A causal layer needs only its last few inputs again when more arrive. Each layer takes them from a
`StreamingState`, which starts with silence: a whole recording is one long chunk with a fresh state,
and a stream is many short chunks with a state that lives on. A chunk takes constant
work and memory.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm.codec.contract import Codec
from audiolm.codec.quantizer import QuantizerConfig, ResidualQuantizer
from audiolm.configuration import Configuration
from audiolm.device import torch_defaults, under_torch_defaults
from audiolm.errors import AudioError
from audiolm.part import fingerprint
from audiolm.shapes import Codes, Embeddings, Waveform


class StreamingState:
    """What a run remembers: for each causal layer, the last of its inputs."""

    def __init__(self) -> None:
        self._tails: dict[nn.Module, Tensor] = {}
        self._sums: dict[nn.Module, Tensor] = {}

    def extend(self, layer: nn.Module, x: Tensor, context: int, dim: int) -> Tensor:
        """Put the `context` inputs that came before `x` in front of it (at first zeros).

        Args:
            layer: whose inputs these are.
            x: its new inputs.
            context: how many past inputs its first output needs.
            dim: the axis of time.
        """
        if context == 0:
            return x
        tail = self._tails.get(layer)
        if tail is None:
            shape = list(x.shape)
            shape[dim] = context
            tail = x.new_zeros(shape)
        extended = torch.cat([tail, x], dim)
        start = extended.shape[dim] - context
        # A copy: a view would keep the whole chunk, and its gradients, alive.
        self._tails[layer] = extended.detach().narrow(dim, start, context).clone()
        return extended

    def accumulate(self, layer: nn.Module, x: Tensor, restart: Tensor) -> Tensor:
        """The sums (B, n) of `x` (B, n) since the last `restart` (B, n, bool), where x counts as 0.

        The first of all counts as a restart. Sums are carried modulo 1: these are phases in cycles.
        """
        start = self._sums.get(layer)
        if start is None:
            start = x.new_zeros(len(x), 1)
            restart = torch.cat([torch.ones_like(restart[:, :1]), restart[:, 1:]], dim=1)
        sums = start + x.cumsum(1)
        # What the sum was at the last restart, 0 before the first of this chunk.
        place = torch.arange(1, x.shape[1] + 1, device=x.device) * restart  # 0 where there is none
        last = place.cummax(1).values
        sums = sums - F.pad(sums, (1, 0)).gather(1, last)
        self._sums[layer] = sums[:, -1:] % 1
        return sums


@dataclass(frozen=True)
class PitchTrack:
    """Pitch of windows, at their centres (`audiolm.codec.harmonic`)."""

    octaves: Tensor
    """(B, n) octaves from `harmonic.MIDDLE`; anything where there is no voice."""
    voicing: Tensor
    """(B, n) above 0 where there is a voice; a logit, where it is predicted."""


@dataclass(frozen=True)
class CodecOutput:
    """What a codec in training makes of a waveform (B, T)."""

    waveform: Tensor
    """(B, T) float32: the reconstruction."""
    codes: Tensor
    """(B, Q, F) int64."""
    commitment: Tensor
    """(): the quantizer's commitment loss."""
    perplexity: Tensor
    """(Q,): how many codes each level uses."""
    pitch: PitchTrack | None = None
    """What a harmonic decoder takes for the pitch; None from any other."""


class CausalCodec(Codec):
    """A codec of two causal networks with a residual quantizer between them.

    A kind of codec says what the networks are: `analyse` and `synthesise`.
    """

    encoder_modules: ClassVar[tuple[str, ...]]
    """The modules that `analyse` uses and `synthesise` does not."""
    decoder_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that concern `synthesise` alone."""

    def __init__(
        self, config: Configuration, quantizer: QuantizerConfig, dim: int, look_ahead: int
    ) -> None:
        super().__init__()
        self.config = config
        self.levels = quantizer.levels
        self.codebook_size = quantizer.codebook_size
        self.dim = dim
        self.look_ahead = look_ahead
        self.quantizer = ResidualQuantizer(quantizer, dim)

    @abstractmethod
    def analyse(self, samples: Waveform, state: StreamingState) -> Embeddings:
        """Samples (B, F * hop + look_ahead), F >= 1, to F vectors (B, F, D) for the quantizer."""

    @abstractmethod
    def synthesise(self, embeddings: Embeddings, state: StreamingState) -> Waveform:
        """Quantized vectors (B, F, D), F >= 1, to samples (B, F * hop), float32."""

    def keep_codes(self) -> None:
        """Leave only the decoder to learn: a recording's codes stay what they are."""
        self.quantizer.strip_training_state()
        for module in (self.quantizer, *(getattr(self, name) for name in self.encoder_modules)):
            module.requires_grad_(False)

    def codes_fingerprint(self) -> str:
        """SHA-256 over the configuration and what makes the codes: all weights but the decoder's.

        Codecs that have it in common understand each other's codes.
        """
        modules = ("quantizer", *self.encoder_modules)
        weights = self.state_dict()
        makes = {name for name in weights if name.partition(".")[0] in modules}
        settings = self.config.model_dump(mode="json", exclude={*self.decoder_settings})
        return fingerprint(settings, {name: weights[name] for name in makes})

    def forward(self, waveform: Waveform) -> CodecOutput:
        """Encode, quantize and decode a waveform (B, T >= 1), with gradients throughout."""
        quantized = self.quantizer(self.analyse(self._padded(waveform), StreamingState()))
        return CodecOutput(
            waveform=self.synthesise(quantized.embeddings, StreamingState())[
                :, : waveform.shape[1]
            ],
            codes=quantized.codes,
            commitment=quantized.commitment,
            perplexity=quantized.perplexity,
        )

    @under_torch_defaults
    @torch.no_grad()
    def encode(self, waveform: Waveform, levels: int | None = None) -> Codes:
        """Waveform (B, T) to codes (B, q, F), F = ceil(T / hop); the end is padded with silence.

        Args:
            waveform: samples in [-1, 1].
            levels: q, how many levels to compute, 1 to Q; all when None.

        Raises:
            ConfigurationError: if the codec has not that many levels.
        """
        return self._encode(self._padded(waveform.float()), StreamingState(), levels)

    @under_torch_defaults
    def decode(self, codes: Codes) -> Waveform:
        """Codes (B, q, F) to waveform (B, F * hop), float32, for any 1 <= q <= Q.

        Raises:
            ConfigurationError: if the codec has not that many levels.
        """
        return self._decode(codes, StreamingState())

    @under_torch_defaults
    def embed(self, codes: Codes) -> Embeddings:
        """Codes (B, q, F) to the sum (B, F, D) of the vectors chosen at each level."""
        return self.quantizer.decode(codes)

    def encoder_stream(self) -> "CausalEncoderStream":
        """Encode recordings chunk by chunk: the codes of `encode`, but for float ties."""
        return CausalEncoderStream(self)

    def decoder_stream(self) -> "CausalDecoderStream":
        """Decode codes chunk by chunk: the waveform of `decode`, to within 1e-4."""
        return CausalDecoderStream(self)

    def _padded(self, waveform: Tensor) -> Tensor:
        """Silence up to whole frames, and for the last look-ahead: (B, F·hop + look_ahead)."""
        return F.pad(waveform, (0, -waveform.shape[1] % self.hop + self.look_ahead))

    def _encode(self, samples: Tensor, state: StreamingState, levels: int | None = None) -> Codes:
        if samples.shape[1] < self.hop + self.look_ahead:  # not one frame
            embeddings = samples.new_zeros(len(samples), 0, self.dim)
        else:
            embeddings = self.analyse(samples, state)  # (B, F, D)
        return self.quantizer.encode(embeddings, levels)

    def _decode(self, codes: Tensor, state: StreamingState) -> Waveform:
        embeddings = self.embed(codes)  # (B, F, D)
        if embeddings.shape[1] == 0:
            return embeddings.new_zeros(len(embeddings), 0)
        return self.synthesise(embeddings, state)


class CausalEncoderStream:
    """Encodes one batch of recordings chunk by chunk; see `Codec.encoder_stream`."""

    def __init__(self, codec: CausalCodec) -> None:
        self._codec = codec
        self._state = StreamingState()
        self._pending: Tensor | None = None  # (B, n) samples whose frames are not yet certain
        self._ended = False

    @torch.no_grad()
    def push(self, chunk: Waveform) -> Codes:
        """Take the next samples (B, T), T >= 0; return the frames that became certain.

        Raises:
            AudioError: after `flush`.
        """
        _check_running(self._ended)
        codec = self._codec
        chunk = chunk.float()
        held = chunk if self._pending is None else torch.cat([self._pending, chunk], dim=1)
        frames = max(0, (held.shape[1] - codec.look_ahead) // codec.hop)
        self._pending = held[:, frames * codec.hop :].clone()
        with torch_defaults(held.device):
            return codec._encode(held[:, : frames * codec.hop + codec.look_ahead], self._state)

    @torch.no_grad()
    def flush(self) -> Codes:
        """End the recordings with silence, as `encode` does; return the frames that are left.

        Raises:
            AudioError: after an earlier `flush`.
        """
        _check_running(self._ended)
        self._ended = True
        held = self._pending
        device = self._codec.quantizer.codebooks.device
        with torch_defaults(device):
            if held is None:
                held = torch.zeros(1, 0, device=device)
            return self._codec._encode(self._codec._padded(held), self._state)


class CausalDecoderStream:
    """Decodes one batch of code sequences chunk by chunk; see `Codec.decoder_stream`.

    A frame's samples are certain as soon as the frame is there, so `flush` has none left to return.
    """

    def __init__(self, codec: CausalCodec) -> None:
        self._codec = codec
        self._state = StreamingState()
        self._rows = 1
        self._ended = False

    @torch.no_grad()
    def push(self, codes: Codes) -> Waveform:
        """Take the next frames (B, q, F), F >= 0; return their samples (B, F * hop).

        Raises:
            AudioError: after `flush`.
        """
        _check_running(self._ended)
        self._rows = len(codes)
        with torch_defaults(codes.device):
            return self._codec._decode(codes, self._state)

    @torch.no_grad()
    def flush(self) -> Waveform:
        """End the sequences; return what is left: (B, 0).

        Raises:
            AudioError: after an earlier `flush`.
        """
        _check_running(self._ended)
        self._ended = True
        device = self._codec.quantizer.codebooks.device
        return torch.zeros(self._rows, 0, dtype=torch.float32, device=device)


def _check_running(ended: bool) -> None:
    if ended:
        raise AudioError("stream: it was ended by flush(); open another one for more audio")
