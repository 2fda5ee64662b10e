"""A harmonic excitation for a decoder of spectra: pitch, and the spectrum of pulses at that pitch.

A decoder that predicts magnitudes and phases of short windows knows nothing of what ties the phases
of one window to those of the next, and a voice made so sounds hoarse. Here a head predicts pitch
and voicing from the codes; an accumulated phase turns them into pulses (all harmonics alike, up to
half the sample rate), whose spectrum the decoder reads and relative to which it predicts phases
(Wavehax, Yoneyama et al., 2024; the accumulated phase is that of SawSing, Wu et al., 2022). Codes
stay what they are: only what is made of them changes.

Windows are `WINDOW` samples long, one every `step` samples, as in the spectral codec. Everything is
causal in the windows: the pitch of a window is that at its centre.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from audiolm.codec.causal import StreamingState
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE

WINDOW = CODEC_HOP
"""Samples under one spectrum."""
BINS = WINDOW // 2 + 1
LOWEST, HIGHEST = 60.0, 520.0
"""Pitch in Hz that can be made: voices from the lowest men to children."""
MIDDLE = 160.0
"""Hz: what the head predicts is octaves from here."""
_HIGHEST_HARMONIC = 7900.0
"""Hz up to which there are harmonics, just below half the sample rate."""
_LARGEST_CHIRP = 2e-6
"""Cycles per sample squared (2.6 kHz a second): pitch that jumps is not a glide."""


class PitchHead(nn.Module):
    """Pitch and voicing of each sub-frame, from vectors at the frame rate.

    Args:
        width: of the vectors.
        subframes: how many pitches a vector stands for.
    """

    def __init__(self, width: int, subframes: int) -> None:
        super().__init__()
        self.subframes = subframes
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, 2 * subframes)

    def forward(
        self, x: Float[Tensor, "B F W"]
    ) -> tuple[Float[Tensor, "B n"], Float[Tensor, "B n"]]:
        """x (B, F, W) to octaves from `MIDDLE` and logits of being voiced, (B, F * subframes)."""
        octaves, voicing = self.out(self.norm(x)).float().chunk(2, dim=2)  # (B, F, subframes)
        return octaves.flatten(1), voicing.flatten(1)


def hertz(octaves: Tensor) -> Tensor:
    """Octaves from `MIDDLE` as Hz, within what can be made."""
    return (MIDDLE * octaves.exp2()).clamp(LOWEST, HIGHEST)


def octaves(pitch: Tensor) -> Tensor:
    """Hz as octaves from `MIDDLE`, the inverse of `hertz`."""
    return (pitch.clamp(LOWEST, HIGHEST) / MIDDLE).log2()


class PulseSpectrum(nn.Module):
    """Pitch to the spectra of pulses under a Hann window: as loud, bin by bin, as white noise."""

    hann: Tensor

    def __init__(self, subframes: int) -> None:
        super().__init__()
        self.step = CODEC_HOP // subframes
        self.register_buffer("hann", torch.hann_window(WINDOW), persistent=False)

    @torch.no_grad()
    def forward(
        self, pitch: Float[Tensor, "B n"], voiced: Bool[Tensor, "B n"], state: StreamingState
    ) -> Tensor:
        """Pitch in Hz (B, n) and where there is a voice, to spectra (B, n, BINS), complex64.

        The phase at the centre of a window goes on from that of the window before, and begins anew
        wherever a voice does: a rounding error lives no longer than a voiced stretch. Windows
        without a voice are silent.
        """
        pitch = pitch.float()
        before = state.extend(self, torch.stack([pitch, voiced.float()], 2), 1, dim=1)[:, :-1]
        was_voiced = before[..., 1] > 0
        previous = torch.where(was_voiced, before[..., 0], pitch)  # (B, n) Hz
        cycles = (pitch + previous).double() / 2 * self.step / SAMPLE_RATE  # from centre to centre
        phase = state.accumulate(self, cycles, restart=~was_voiced)  # (B, n) in cycles
        chirp = (pitch - previous) / self.step / SAMPLE_RATE
        chirp = chirp.clamp(-_LARGEST_CHIRP, _LARGEST_CHIRP)
        n = torch.arange(WINDOW, device=pitch.device) - WINDOW // 2
        cycles_at = (
            (phase % 1).float()[..., None]
            + pitch[..., None] / SAMPLE_RATE * n
            + chirp[..., None] / 2 * n.square()
        )  # (B, n, WINDOW) of the fundamental
        # Half its phase, counted from the nearest pulse: small where precision matters.
        angle = math.pi * (cycles_at - cycles_at.round())
        # The sum of cosines at k times the phase, k = 1 to K, in closed form (Dirichlet's kernel).
        K = (_HIGHEST_HARMONIC / pitch).floor()[..., None]
        sine = angle.sin()
        at_pulse = sine.abs() < 1e-4
        ratio = ((2 * K + 1) * angle).sin() / sine.masked_fill(at_pulse, 1)
        pulses = (torch.where(at_pulse, 2 * K + 1, ratio) - 1) / 2
        loudness = (pitch / (SAMPLE_RATE / 4)).sqrt() * voiced  # unit power density
        spectra: Tensor = torch.fft.rfft(pulses * loudness[..., None] * self.hann, norm="ortho")
        return spectra
