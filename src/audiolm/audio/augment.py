"""Random perturbations of a batch of waveforms that leave alone what is said, and when.

Each makes one thing of the voice, the room or the microphone unpredictable: pitch and formants
(another speaker), a filter and an echo (another microphone and room), a second voice, noise and the
level. A network that is shown the result and asked about the original learns not to hear them.
Nothing moves in time: what was said at a semantic step is still said at that step.
"""

import math
from typing import Self

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from audiolm.configuration import Configuration
from audiolm.shapes import SAMPLE_RATE, Waveform

Range = tuple[float, float]
Rows = Float[Tensor, "B"]

WINDOW = 512
"""Samples in a window of the phase vocoder: 32 ms resolve the harmonics of most voices."""
HOP = 128
"""Samples between its windows."""
CEPSTRA = 28
"""Cosines that make up a spectral envelope: up to 1.75 ms, shorter than any voice's period."""
CURVE_POINTS = 257
"""Points from 0 Hz to half the sample rate at which a filter's gain is given."""


class AugmentConfig(Configuration):
    """Probability per row, and range, of each perturbation."""

    voice: float = Field(default=0.6, ge=0, le=1)
    """Probability of another pitch and other formants."""
    formant_factor: Range = (0.85, 1.18)
    """By what the formants' frequencies are multiplied."""
    pitch_factor: Range = (0.75, 1.33)
    """By what the pitch is multiplied."""
    equaliser: float = Field(default=0.4, ge=0, le=1)
    """Probability of a random smooth filter."""
    equaliser_db: float = Field(default=12.0, ge=0)
    """Largest gain or loss of the filter."""
    band_limit: float = Field(default=0.2, ge=0, le=1)
    """Probability of a band limit below and above."""
    low_cut: Range = (50.0, 300.0)
    """Where the lower band limit may lie, in Hz."""
    high_cut: Range = (3000.0, 7500.0)
    """Where the upper band limit may lie, in Hz."""
    room: float = Field(default=0.3, ge=0, le=1)
    """Probability of an echo."""
    decay_seconds: Range = (0.1, 0.6)
    """Time in which the echo falls by 60 dB."""
    direct_db: Range = (0.0, 15.0)
    """Energy of the direct sound over that of the echo."""
    babble: float = Field(default=0.2, ge=0, le=1)
    """Probability that another row's speech is mixed in; never in a batch of one."""
    babble_db: Range = (5.0, 20.0)
    """Energy of the row over that of the mixed-in speech."""
    noise: float = Field(default=0.4, ge=0, le=1)
    """Probability of coloured noise."""
    noise_db: Range = (5.0, 35.0)
    """Energy of the row over that of the noise."""
    noise_colour: Range = (0.0, 2.0)
    """The noise's power falls with frequency to this power: 0 white, 1 pink, 2 brown."""
    gain: float = Field(default=0.8, ge=0, le=1)
    """Probability of another level."""
    gain_db: Range = (-15.0, 6.0)
    """Change of level; less where the peak would pass 1."""

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name, value in self:
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name}: {value[0]} > {value[1]}; write the lower end first")
        for name in ("formant_factor", "pitch_factor", "low_cut", "high_cut", "decay_seconds"):
            if getattr(self, name)[0] <= 0:
                raise ValueError(f"{name}: must be above 0")
        return self


class Augment:
    """Perturbs waveforms (B, T), each row in its own way."""

    def __init__(self, config: AugmentConfig | None = None) -> None:
        self.config = config or AugmentConfig()

    @torch.no_grad()
    def __call__(self, waveform: Waveform, generator: torch.Generator) -> Waveform:
        """Another waveform (B, T) in [-1, 1], float32, saying the same at the same time.

        Silence after the end of a row does not stay silent (echo and noise reach into it): give the
        rows' lengths to whatever reads the result.

        Args:
            waveform: 16 kHz samples in [-1, 1], on any device.
            generator: every draw comes from it; its device may be another than the waveform's.
        """
        config = self.config
        draw = _Draw(generator, waveform.device)
        out = waveform.float().clone()
        with torch.autocast(waveform.device.type, enabled=False):
            if len(rows := draw.rows(len(out), config.voice)):
                formants = draw.uniform(len(rows), config.formant_factor, log=True)
                pitch = draw.uniform(len(rows), config.pitch_factor, log=True)
                out[rows] = change_voice(out[rows], formants, pitch)
            voices = out.clone()
            if len(rows := draw.rows(len(out), config.equaliser)):
                out[rows] = equalise(out[rows], draw.curve(len(rows), config.equaliser_db))
            if len(rows := draw.rows(len(out), config.band_limit)):
                low = draw.uniform(len(rows), config.low_cut, log=True)
                high = draw.uniform(len(rows), config.high_cut, log=True)
                out[rows] = equalise(out[rows], band_curve(low, high))
            if len(rows := draw.rows(len(out), config.room)):
                decay = draw.uniform(len(rows), config.decay_seconds)
                direct = draw.uniform(len(rows), config.direct_db)
                noise = draw.normal(len(rows), int(SAMPLE_RATE * config.decay_seconds[1]))
                out[rows] = reverberate(out[rows], echo(noise, decay, direct))
            if len(out) > 1 and len(rows := draw.rows(len(out), config.babble)):
                other = voices[(rows + draw.integer(1, len(out))) % len(out)]
                out[rows] = mix(out[rows], other, draw.uniform(len(rows), config.babble_db))
            if len(rows := draw.rows(len(out), config.noise)):
                colour = draw.uniform(len(rows), config.noise_colour)
                noise = coloured(draw.normal(len(rows), out.shape[1]), colour)
                out[rows] = mix(out[rows], noise, draw.uniform(len(rows), config.noise_db))
            level = torch.ones(len(out), device=out.device)
            if len(rows := draw.rows(len(out), config.gain)):
                level[rows] = decibels(draw.uniform(len(rows), config.gain_db))
            peak = out.abs().amax(dim=1).clamp(min=1e-8)
            return out * torch.minimum(level, 1 / peak)[:, None]


class _Draw:
    """Random numbers from one generator, put on one device."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self.generator, self.device = generator, device

    def _rand(self, *shape: int) -> Tensor:
        drawn = torch.rand(shape, generator=self.generator, device=self.generator.device)
        return drawn.to(self.device)

    def rows(self, batch: int, probability: float) -> Tensor:
        """Indices of the rows that are chosen."""
        return (self._rand(batch) < probability).nonzero()[:, 0]

    def uniform(self, count: int, between: Range, log: bool = False) -> Tensor:
        """Numbers (count,) of a range, evenly spread (over their logarithms, with `log`)."""
        low, high = (math.log(end) if log else end for end in between)
        drawn = low + (high - low) * self._rand(count)
        return drawn.exp() if log else drawn

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high` - 1."""
        device = self.generator.device
        return int(torch.randint(low, high, (), generator=self.generator, device=device))

    def normal(self, *shape: int) -> Tensor:
        """Normal numbers."""
        drawn = torch.randn(shape, generator=self.generator, device=self.generator.device)
        return drawn.to(self.device)

    def curve(self, count: int, most_db: float) -> Tensor:
        """Smooth random gains in dB (count, CURVE_POINTS), 12 bends wide."""
        bends = (2 * self._rand(count, 1, 12) - 1) * most_db
        curve = F.interpolate(bends, CURVE_POINTS, mode="linear", align_corners=True)
        return curve[:, 0]


def change_voice(waveform: Waveform, formant_factor: Rows, pitch_factor: Rows) -> Waveform:
    """Multiply formant and pitch frequencies of each row (B, T), keeping its time.

    A phase vocoder whose frames stay where they are. Each frame's log spectrum is split into an
    envelope (its first cepstra) and the rest, the excitation; the envelope is read at 1 /
    formant_factor of each frequency, the excitation and its phases at 1 / pitch_factor.
    """
    bins = WINDOW // 2 + 1
    device = waveform.device
    window = torch.hann_window(WINDOW, device=device)
    spectrum = torch.stft(
        waveform, WINDOW, HOP, window=window, pad_mode="constant", return_complex=True
    ).transpose(1, 2)  # (B, frames, bins)
    loudness = spectrum.abs().clamp(min=1e-6).log()  # (B, frames, bins)

    order = torch.arange(CEPSTRA, device=device) * (math.pi / (bins - 1))  # (CEPSTRA,)
    bin_ = torch.arange(bins, device=device)
    cosines = torch.cos(order[:, None] * bin_)  # (CEPSTRA, bins)
    weights = torch.full_like(cosines, 2 / (bins - 1))
    weights[:, [0, -1]] /= 2
    weights[0] /= 2
    cepstra = loudness @ (cosines * weights).T  # (B, frames, CEPSTRA)
    excitation = loudness - cepstra @ cosines  # (B, frames, bins)
    heard_at = (bin_ / formant_factor[:, None]).clamp(max=bins - 1)  # (B, bins)
    envelope = cepstra @ torch.cos(order[:, None] * heard_at[:, None])  # (B, frames, bins)

    # Above what the lowered pitch leaves, the excitation is continued by its mirror image.
    source = bin_ / pitch_factor[:, None]
    source = torch.where(source > bins - 1, 2 * (bins - 1) - source, source)  # (B, bins)
    nearest = source.round().long()[:, None].expand(spectrum.shape)  # (B, frames, bins)
    phase = spectrum.angle() + math.pi * bin_  # counted from the middle of the window
    phase = phase + pitch_rotation(loudness, phase, pitch_factor)
    phase = phase.gather(2, nearest) - math.pi * bin_
    loudness = excitation.gather(2, nearest) + envelope
    voice = torch.polar(loudness.exp(), phase).transpose(1, 2)
    return torch.istft(voice, WINDOW, HOP, window=window, length=waveform.shape[1])


def pitch_rotation(loudness: Tensor, phase: Tensor, pitch_factor: Rows) -> Tensor:
    """How far to turn each bin's phase (B, frames, bins) so that pitch_factor fits frame to frame.

    A sinusoid must turn (pitch_factor - 1) times its advance more than it does. All bins of its
    peak turn together (Laroche and Dolson's phase locking), or they would cancel each other: a bin
    takes the turn of the strongest bin near it.
    """
    expected = torch.arange(loudness.shape[2], device=phase.device) * (2 * math.pi * HOP / WINDOW)
    advance = phase.diff(dim=1, prepend=phase[:, :1]) - expected
    advance = expected + torch.remainder(advance + math.pi, 2 * math.pi) - math.pi
    more = torch.remainder((pitch_factor - 1)[:, None, None] * advance, 2 * math.pi)
    _, peak = F.max_pool1d(loudness, 5, stride=1, padding=2, return_indices=True)
    turned = [torch.zeros_like(more[:, 0])]
    for extra, peaks in zip(more.unbind(1)[1:], peak.unbind(1)[1:], strict=True):
        turned.append((turned[-1] + extra).gather(1, peaks))
    return torch.stack(turned, dim=1)


def equalise(waveform: Waveform, curve: Float[Tensor, "B points"]) -> Waveform:
    """Apply a gain in dB, given at even steps from 0 Hz to half the sample rate, without delay."""
    size = fast_size(waveform.shape[1])
    gain = decibels(curve)[:, None]
    gain = F.interpolate(gain, size // 2 + 1, mode="linear", align_corners=True)[:, 0]
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(waveform, size) * gain, size)
    return filtered[:, : waveform.shape[1]]


def band_curve(low: Rows, high: Rows) -> Float[Tensor, "B points"]:
    """The gain in dB (B, CURVE_POINTS) of a filter that falls by 24 dB an octave outside a band."""
    hertz = torch.linspace(1, SAMPLE_RATE / 2, CURVE_POINTS, device=low.device)
    below = (low[:, None] / hertz).log2().clamp(min=0)
    above = (hertz / high[:, None]).log2().clamp(min=0)
    return -24 * (below + above)


def echo(noise: Tensor, decay_seconds: Rows, direct_db: Rows) -> Tensor:
    """A room's impulse response (B, R): the direct sound at once, then noise (B, R) dying away."""
    seconds = torch.arange(noise.shape[1], device=noise.device) / SAMPLE_RATE
    tail: Tensor = noise * decibels(-60 * seconds / decay_seconds[:, None])
    tail[:, : SAMPLE_RATE // 500] = 0  # nothing comes back within 2 ms
    tail = tail / tail.norm(dim=1, keepdim=True) * decibels(-direct_db)[:, None]
    tail[:, 0] = 1
    return tail


def reverberate(waveform: Waveform, response: Tensor) -> Waveform:
    """Convolve each row (B, T) with its impulse response (B, R), keeping its length and energy."""
    size = fast_size(waveform.shape[1] + response.shape[1])
    spectrum = torch.fft.rfft(waveform, size) * torch.fft.rfft(response, size)
    wet: Tensor = torch.fft.irfft(spectrum, size)[:, : waveform.shape[1]]
    return wet * (_rms(waveform) / _rms(wet))


def coloured(noise: Waveform, colour: Rows) -> Waveform:
    """White noise (B, T) with its power made to fall as frequency to the power of `colour`."""
    size = fast_size(noise.shape[1])
    # Flat below 50 Hz, so that the energy is not all where nobody hears it.
    hertz = torch.linspace(0, SAMPLE_RATE / 2, size // 2 + 1, device=noise.device).clamp(min=50)
    spectrum = torch.fft.rfft(noise, size) * hertz ** (-colour[:, None] / 2)
    shaped: Tensor = torch.fft.irfft(spectrum, size)
    return shaped[:, : noise.shape[1]]


def mix(waveform: Waveform, other: Waveform, ratio_db: Rows) -> Waveform:
    """Add `other` with its energy `ratio_db` below that of the row."""
    level = _rms(waveform) / _rms(other) * decibels(-ratio_db)[:, None]
    return waveform + level * other


def decibels(x: Tensor) -> Tensor:
    """The amplitude factor of a gain in dB."""
    return torch.exp(x * (math.log(10) / 20))


def fast_size(least: int) -> int:
    """An even length of at least `least` whose Fourier transform is fast: 2^n, 3 * 2^n, 5 * 2^n."""
    return min(m << max(math.ceil(math.log2(least / m)), 1) for m in (1, 3, 5, 9, 15))


def _rms(waveform: Tensor) -> Tensor:
    """Root mean square (B, 1), never zero."""
    return waveform.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-8)
