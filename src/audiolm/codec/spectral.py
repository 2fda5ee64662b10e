"""The spectral codec: SoundStream's contract with both networks working on short-time spectra.

The encoder reads a spectrum every 5 ms and works at the frame rate from the first layer on; the
decoder predicts log-magnitude and phase and an inverse Fourier transform makes the samples. No
layer ever runs at the sample rate, which makes it many times cheaper than transposed convolutions.
"""

import functools
from typing import Literal, Self

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from audiolm.codec.causal import CausalCodec, CodecOutput, PitchTrack, StreamingState
from audiolm.codec.harmonic import WINDOW, PitchHead, PulseSpectrum, hertz
from audiolm.codec.quantizer import QuantizerConfig
from audiolm.configuration import Configuration
from audiolm.shapes import CODEC_HOP, Codes, Embeddings, Waveform

_LARGEST_LOG_MAGNITUDE = 4.6
"""exp(4.6) = 100, ten times a full-scale tone: keeps exp() finite early in training."""
_FAINT_PULSES = 1e-3
"""Size of pulses, where white noise has 0.6, below which they count for less and less."""
_FIRST_LOG_MAGNITUDE = -4.0
"""Log-magnitude of an untrained decoder's output: that of quiet speech, not of full scale."""


HARMONIC_MODULES = ("pitch_head", "read_pulses")
"""What a harmonic decoder has and any other has not."""


class SpectralConfig(Configuration):
    """Settings of the spectral codec."""

    kind: Literal["spectral"] = "spectral"
    """Which codec this is."""
    width: int = Field(default=320, gt=0)
    """Width of the blocks at the frame rate, in the encoder and in the decoder."""
    encoder_blocks: int = Field(default=5, ge=0)
    """Blocks between the spectra and the quantizer."""
    decoder_blocks: int = Field(default=7, ge=0)
    """Blocks at the frame rate after the quantizer."""
    expansion: int = Field(default=3, gt=0)
    """How many times wider a block is inside."""
    kernel: int = Field(default=7, gt=0)
    """Frames (or sub-frames) a block sees: the current one and those before it."""
    subframes: int = Field(default=4, ge=3)
    """Spectra per frame, a divisor of 320; one every 320 / subframes samples."""
    window: int | None = Field(default=None, ge=WINDOW)
    """Samples under one spectrum, whole times 320 / subframes; null for 320. Longer ones tell apart
    notes that sound together, and look further ahead: window - 320 / subframes samples."""
    refine_width: int = Field(default=192, gt=0)
    """Width of the decoder's blocks at the sub-frame rate."""
    refine_blocks: int = Field(default=2, ge=0)
    """Decoder blocks at the sub-frame rate."""
    dim: int = Field(default=128, gt=0)
    """D, width of the quantizer's output."""
    harmonic: bool | None = None
    """Whether the decoder has a harmonic excitation (`audiolm.codec.harmonic`); null for none."""
    quantizer: QuantizerConfig = QuantizerConfig()
    """The residual quantizer."""

    @field_validator("subframes")
    @classmethod
    def _divides_the_hop(cls, subframes: int) -> int:
        if CODEC_HOP % subframes:
            raise ValueError(f"give a divisor of {CODEC_HOP}, e.g. 4")
        return subframes

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.samples % self.step:
            raise ValueError(
                f"window: {self.samples} is no multiple of {CODEC_HOP} / subframes = {self.step}; "
                f"set it to {self.samples // self.step * self.step}"
            )
        if self.harmonic and self.samples != WINDOW:
            raise ValueError(
                f"window: {self.samples} cannot be with a harmonic decoder, whose pulses lie in "
                f"windows of {WINDOW}; leave it out, or set harmonic to false"
            )
        return self

    @property
    def samples(self) -> int:
        """Samples under one spectrum."""
        return self.window or WINDOW

    @property
    def bins(self) -> int:
        """Frequencies of one spectrum."""
        return self.samples // 2 + 1

    @property
    def step(self) -> int:
        """Samples from one spectrum to the next."""
        return CODEC_HOP // self.subframes


class CausalBlock(nn.Module):
    """A ConvNeXt block over time that sees no later step: mix in time, then across channels.

    Args:
        width: channels W.
        config: expansion and kernel.
        scale: first value of the residual branch's weight.
    """

    def __init__(self, width: int, config: SpectralConfig, scale: float) -> None:
        super().__init__()
        self.context = config.kernel - 1
        # Two-dimensional with one row: the fast path for channels that lie last in memory.
        self.mix = nn.Conv2d(width, width, (1, config.kernel), groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, width * config.expansion)
        self.narrow = nn.Linear(width * config.expansion, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Float[Tensor, "B S W"], state: StreamingState) -> Float[Tensor, "B S W"]:
        """One step of the residual stream."""
        h = state.extend(self, x, self.context, dim=1)  # (B, context + S, W)
        h = self.mix(h.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)  # (B, S, W)
        h = self.narrow(F.gelu(self.widen(self.norm(h))))
        out: Tensor = x + self.scale * h
        return out


class SpectralCodec(CausalCodec):
    """A causal codec in the spectral domain, with the look-ahead of one analysis window.

    Sub-frame j of frame t is the spectrum of samples [320 t + j h, 320 t + j h + window), h = 320 /
    subframes; the decoder puts it back at the same place. So frame t depends on samples before
    320 (t + 1) + look_ahead, and the samples before 320 (t + 1) on frames up to t.
    """

    encoder_modules = ("read", "read_norm", "encoder", "encoder_norm", "to_quantizer")
    decoder_settings = ("decoder_blocks", "refine_width", "refine_blocks", "harmonic")

    config: SpectralConfig
    hann: Tensor
    waves: Tensor

    def __init__(self, config: SpectralConfig) -> None:
        look_ahead = config.samples - config.step
        super().__init__(config, config.quantizer, config.dim, look_ahead)
        width, subframes, bins = config.width, config.subframes, config.bins
        scale = 1 / (config.encoder_blocks + config.decoder_blocks + config.refine_blocks + 1)
        hann = torch.hann_window(config.samples)
        self.register_buffer("hann", hann, persistent=False)
        # The inverse transform and its window as one matrix (2·bins, window): a row is what one
        # real or imaginary part of the spectrum adds to the samples.
        one = torch.eye(bins)
        parts = torch.cat([torch.complex(one, 0 * one), torch.complex(0 * one, one)])
        waves = torch.fft.irfft(parts, n=config.samples, norm="ortho") * hann
        self.register_buffer("waves", waves, persistent=False)

        self.read = nn.Linear(subframes * 3 * bins, width)
        self.read_norm = nn.LayerNorm(width)
        self.encoder = _blocks(config.encoder_blocks, width, config, scale)
        self.encoder_norm = nn.LayerNorm(width)
        self.to_quantizer = nn.Linear(width, config.dim)

        self.from_quantizer = nn.Linear(config.dim, width)
        self.decoder = _blocks(config.decoder_blocks, width, config, scale)
        self.split = nn.Linear(width, subframes * config.refine_width)
        self.refine = _blocks(config.refine_blocks, config.refine_width, config, scale)
        self.refine_norm = nn.LayerNorm(config.refine_width)
        if config.harmonic:
            self.pitch_head = PitchHead(width, subframes)
            self.pulses = PulseSpectrum(subframes)
            self.read_pulses = nn.Linear(3 * bins, config.refine_width, bias=False)
            nn.init.zeros_(self.read_pulses.weight)  # a decoder that had none goes on as it was
        self.write = nn.Linear(config.refine_width, 2 * bins)
        nn.init.constant_(self.write.bias[:bins], _FIRST_LOG_MAGNITUDE)

    def analyse(self, samples: Waveform, state: StreamingState) -> Embeddings:
        """Samples (B, F * 320 + look_ahead) to vectors (B, F, D)."""
        x = self.read_norm(self.read(self._spectra(samples)))  # (B, F, W)
        for block in self.encoder:
            x = block(x, state)
        vectors: Tensor = self.to_quantizer(self.encoder_norm(x))
        return vectors.float()

    def synthesise(self, embeddings: Embeddings, state: StreamingState) -> Waveform:
        """Quantized vectors (B, F, D) to samples (B, F * 320)."""
        return self._synthesised(embeddings, state)[0]

    def forward(
        self, waveform: Waveform, pitch: PitchTrack | None = None, own: Tensor | None = None
    ) -> CodecOutput:
        """As `CausalCodec.forward`; a harmonic decoder is given the pitch of the recording.

        Args:
            waveform: (B, T).
            pitch: of the recordings, (B, F * subframes).
            own: which rows (B,) are made at the pitch that the head predicts all the same.
        """
        quantized = self.quantizer(self.analyse(self._padded(waveform), StreamingState()))
        made, predicted = self._synthesised(quantized.embeddings, StreamingState(), pitch, own)
        return CodecOutput(
            waveform=made[:, : waveform.shape[1]],
            codes=quantized.codes,
            commitment=quantized.commitment,
            perplexity=quantized.perplexity,
            pitch=predicted,
        )

    def predict_pitch(self, codes: Codes) -> PitchTrack | None:
        """What the head takes for the pitch of codes (B, q, F); None without a head."""
        return self._synthesised(self.embed(codes), StreamingState())[1]

    def _synthesised(
        self,
        embeddings: Embeddings,
        state: StreamingState,
        given: PitchTrack | None = None,
        own: Tensor | None = None,
    ) -> tuple[Waveform, PitchTrack | None]:
        """Samples (B, F * 320), and the pitch that the head predicts; see `forward`."""
        x = self.from_quantizer(embeddings)  # (B, F, W)
        for block in self.decoder:
            x = block(x, state)
        fine = self.split(x)
        fine = fine.unflatten(2, (self.config.subframes, -1)).flatten(1, 2)  # (B, F·subframes, W')
        predicted: PitchTrack | None = None
        pulses: Tensor | None = None
        if self.config.harmonic:
            predicted = PitchTrack(*self.pitch_head(x))
            octaves, voicing = predicted.octaves, predicted.voicing
            if given is not None:
                use = torch.zeros_like(voicing[:, :1]) > 0 if own is None else own[:, None]
                octaves = torch.where(use, octaves, given.octaves)
                voicing = torch.where(use, voicing, given.voicing)
            pulses = self.pulses(hertz(octaves), voicing > 0, state)  # (B, F·subframes, bins)
            fine = fine + self.read_pulses(_features(pulses))
        for block in self.refine:
            fine = block(fine, state)
        return self._samples(self.refine_norm(fine), state, pulses), predicted

    def _spectra(self, samples: Tensor) -> Float[Tensor, "B F C"]:
        """The spectra of each frame's sub-frames as features: power-compressed, and in decibels."""
        with torch.autocast(samples.device.type, enabled=False):
            size, step = self.config.samples, self.config.step
            windows = samples.float().unfold(1, size, step)  # (B, F·subframes, window)
            spectrum = torch.fft.rfft(windows * self.hann, norm="ortho")  # (B, F·subframes, bins)
            features = _features(spectrum).unflatten(1, (-1, self.config.subframes))
            flat: Tensor = features.flatten(2)
            return flat

    def _samples(self, x: Tensor, state: StreamingState, pulses: Tensor | None = None) -> Waveform:
        """The sub-frames' vectors (B, F·subframes, W') as spectra, overlapped and added.

        Phases are relative to those of the pulses (B, F·subframes, bins), where there are any.
        """
        overlap = self.config.samples // self.config.step  # windows that a sample lies in
        # The last layer too in float32: a phase in bfloat16 is a noise 40 dB below the signal.
        with torch.autocast(x.device.type, enabled=False):
            log_magnitude, phase = self.write(x.float()).chunk(2, dim=2)  # (B, F·subframes, bins)
            magnitude = log_magnitude.clamp(max=_LARGEST_LOG_MAGNITUDE).exp()
            real, imaginary = magnitude * phase.cos(), magnitude * phase.sin()
            if pulses is not None:
                # The phase of what is hardly there is a rounding error, so that counts for little.
                turn = pulses / (pulses.abs().square() + _FAINT_PULSES**2).sqrt()
                silent = pulses == 0
                turn = torch.where(silent, torch.ones_like(turn), turn)
                real, imaginary = (
                    real * turn.real - imaginary * turn.imag,
                    real * turn.imag + imaginary * turn.real,
                )
            spectrum = torch.cat([real, imaginary], dim=2)
            windows = spectrum @ self.waves  # (B, F·subframes, window)
            windows = state.extend(self.write, windows, overlap - 1, dim=1)
            # The samples of a sub-frame's hop are the sum of the first part of its own window, the
            # second part of the window before it, and so on.
            n = x.shape[1]
            placed = (
                part[:, overlap - 1 - k :][:, :n]  # (B, n, 320 / subframes)
                for k, part in enumerate(windows.chunk(overlap, dim=2))
            )
            blocks: Tensor = functools.reduce(torch.add, placed)
            # Hann squared adds up to 3/8 per window, but in the first look_ahead samples.
            return blocks.flatten(1) / (overlap * 3 / 8)


def _blocks(count: int, width: int, config: SpectralConfig, scale: float) -> nn.ModuleList:
    return nn.ModuleList(CausalBlock(width, config, scale) for _ in range(count))


def _features(spectra: Tensor) -> Float[Tensor, "B n C"]:
    """Spectra (B, n, bins) as features: power-compressed, and in decibels."""
    parts = torch.view_as_real(spectra)
    power = parts.square().sum(dim=3, keepdim=True)
    features = torch.cat(
        [
            parts * (power + 1e-8) ** -0.35,  # X |X|^-0.7: quiet detail stays visible
            (power + 1e-10).log10() / 5 + 1,  # -100 dB is -1, 0 dB is 1
        ],
        dim=3,
    )  # (B, n, bins, 3)
    return features.flatten(2)
