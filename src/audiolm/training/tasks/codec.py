"""Training the codec: reconstruction first, then discriminators that tell it from recordings."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from audiolm.audio.pitch import track_pitch
from audiolm.codec import Codec, CodecConfig, build_codec, exported
from audiolm.codec.causal import PitchTrack
from audiolm.codec.discriminators import DiscriminatorConfig, Discriminators
from audiolm.codec.harmonic import octaves
from audiolm.codec.losses import (
    MelLoss,
    MelLossConfig,
    SpectrumLoss,
    SpectrumLossConfig,
    discriminator_loss,
    feature_loss,
    generator_loss,
    waveform_loss,
)
from audiolm.codec.spectral import SpectralCodec
from audiolm.shapes import CODEC_HOP, Waveform
from audiolm.training.optimizer import OptimizationConfig
from audiolm.training.recordings import Recordings
from audiolm.training.tasks.task import Loss, TaskTraining, Validation


class CodecTraining(TaskTraining):
    """How the codec is trained (SoundStream's losses; paper, section III-B)."""

    optimization: OptimizationConfig = OptimizationConfig(batch_size=32)
    """The optimizer, and how long."""
    crop_seconds: float = Field(default=1.0, gt=0)
    """Length of a training crop."""
    mel: MelLossConfig = MelLossConfig()
    """The multi-scale mel-spectral loss."""
    mel_weight: float = Field(default=1.0, ge=0)
    """Weight of the multi-scale mel-spectral loss."""
    waveform_weight: float = Field(default=1.0, ge=0)
    """Weight of the L1 distance of waveforms."""
    spectrum: SpectrumLossConfig = SpectrumLossConfig()
    """The distance of spectra in full resolution."""
    spectrum_weight: float = Field(default=0.0, ge=0)
    """Weight of that distance."""
    pitch_weight: float = Field(default=0.5, ge=0)
    """Weight of the error in octaves of a harmonic decoder's pitch, where there is a voice."""
    voicing_weight: float = Field(default=0.2, ge=0)
    """Weight of the cross-entropy of its voicing."""
    own_pitch_from: float = Field(default=0.25, ge=0, le=1)
    """Progress from which it works at the pitch that it predicts; before, at the recording's."""
    own_pitch_share: float = Field(default=0.7, ge=0, le=1)
    """Share of the crops in which it does, from then on."""
    commitment_weight: float = Field(default=0.25, ge=0)
    """Weight of the encoder's distance from the chosen vectors."""
    adversarial_weight: float = Field(default=1.0, ge=0)
    """Weight of what the discriminators say."""
    feature_weight: float = Field(default=2.0, ge=0)
    """Weight of the distance in the discriminators' features."""
    adversarial_from: float = Field(default=0.3, ge=0, le=1)
    """Progress at which the discriminators start, the spectrum being learnt; 1 leaves them out."""
    discriminators: DiscriminatorConfig = DiscriminatorConfig()
    """The discriminators."""
    decoder_only: bool = False
    """Leave the encoder and the codebooks as they are (`--from` says whose), so that codes keep
    their meaning."""


@dataclass(frozen=True)
class CodecBatch:
    """What a codec learns from in one step."""

    waveform: Waveform
    """(B, T) crops of recordings."""
    pitch: Tensor | None
    """(B, n) Hz at the centres of a harmonic decoder's windows, 0 without a voice; None for a codec
    without one."""


class CodecTask:
    """The codec and its discriminators."""

    name = "codec"

    def __init__(
        self,
        config: CodecConfig,
        training: CodecTraining,
        train: Recordings,
        validation: Recordings,
    ) -> None:
        self.optimization = training.optimization
        self.crops = training.optimization.crops_per_pass(train.world.size)
        self.training = training
        self.train = train
        self.validation = validation
        self.mel_loss = MelLoss(training.mel).to(train.device)
        self.spectrum_loss = SpectrumLoss(training.spectrum).to(train.device)
        codec = build_codec(config)
        self.harmonic = isinstance(codec, SpectralCodec) and bool(codec.config.harmonic)
        self.subframes = codec.config.subframes if isinstance(codec, SpectralCodec) else 0
        if training.decoder_only:
            codec.keep_codes()
        self.networks = nn.ModuleDict({"codec": codec})
        if training.adversarial_from < 1:
            self.networks["discriminators"] = Discriminators(training.discriminators)
        self._pair: tuple[Tensor, Tensor] | None = None

    def batch(self, step: int, rank: int, progress: float = 0.0) -> CodecBatch:
        """Crops, and their pitch where the decoder wants to know it."""
        waveform, _ = self.train.batch(step, rank, self.crops, self.training.crop_seconds)  # (B, T)
        return CodecBatch(waveform, self._pitch(waveform))

    def loss(self, network: str, batch: Any, progress: float) -> Loss:
        """The codec's turn reconstructs; the discriminators' turn judges that reconstruction."""
        adversarial = progress >= self.training.adversarial_from
        if network == "codec":
            return self._codec_loss(batch, progress, adversarial)
        if not adversarial or self._pair is None:
            return Loss(batch.waveform.new_zeros(()))
        real, fake = (self.networks[network](waveform) for waveform in self._pair)
        loss = discriminator_loss([d.logits for d in real], [d.logits for d in fake])
        return Loss(loss, {"discriminator": loss.detach()})

    def _pitch(self, waveform: Waveform) -> Tensor | None:
        """Pitch (B, n) at the centres of a harmonic decoder's windows."""
        if not self.harmonic:
            return None
        step = CODEC_HOP // self.subframes
        windows = -(-waveform.shape[1] // CODEC_HOP) * self.subframes
        return track_pitch(waveform, np.arange(windows) * step + CODEC_HOP // 2)

    def _codec_loss(self, batch: CodecBatch, progress: float, adversarial: bool) -> Loss:
        weights, waveform = self.training, batch.waveform
        if batch.pitch is None:
            output = self.networks["codec"](waveform)
        else:
            given = PitchTrack(octaves(batch.pitch), batch.pitch)
            share = weights.own_pitch_share if progress >= weights.own_pitch_from else 0.0
            own = torch.rand(len(waveform), device=waveform.device) < share
            output = self.networks["codec"](waveform, given, own)
        mel = self.mel_loss(output.waveform, waveform)
        direct = waveform_loss(output.waveform, waveform)
        total = (
            weights.mel_weight * mel
            + weights.waveform_weight * direct
            + weights.commitment_weight * output.commitment
        )
        metrics = {"mel": mel, "waveform": direct, "commitment": output.commitment}
        if weights.spectrum_weight:
            spectrum = self.spectrum_loss(output.waveform, waveform)
            total = total + weights.spectrum_weight * spectrum
            metrics["spectrum"] = spectrum
        if batch.pitch is not None:
            pitch, voicing = pitch_losses(output.pitch, batch.pitch)
            total = total + weights.pitch_weight * pitch + weights.voicing_weight * voicing
            metrics |= {"pitch": pitch, "voicing": voicing}
        if adversarial:
            with torch.no_grad():
                real = self.networks["discriminators"](waveform)
            fake = self.networks["discriminators"](output.waveform)
            fooled = generator_loss([d.logits for d in fake])
            features = feature_loss([d.features for d in fake], [d.features for d in real])
            total = total + weights.adversarial_weight * fooled + weights.feature_weight * features
            metrics |= {"adversarial": fooled, "features": features}
        self._pair = (waveform, output.waveform.detach())
        return Loss(total, {name: value.detach() for name, value in metrics.items()})

    def validate(self, averaged: nn.Module) -> Validation:
        """Reconstruct crops for validation with all levels; count the codes that are used."""
        assert isinstance(averaged, Codec)
        waveform, lengths = self.validation.fixed_batch(seconds=3.0, count=32)  # (B, T), (B,)
        codes = averaged.encode(waveform)  # (B, Q, F)
        frames = torch.arange(codes.shape[2], device=codes.device)
        # The silence behind the end of a short recording, all of one id, is not counted.
        real = frames * averaged.hop < lengths[:, None]  # (B, F)
        rebuilt = averaged.decode(codes)[:, : waveform.shape[1]].float()
        coarse = averaged.decode(codes[:, : max(1, averaged.levels // 3)])
        used = codes.transpose(0, 1)[:, real]  # (Q, n)
        perplexity = code_perplexity(used, averaged.codebook_size)  # (Q,)
        metrics = {
            "loss": float(self.mel_loss(rebuilt, waveform)),
            "si-sdr": float(si_sdr(rebuilt, waveform).mean()),
            "perplexity min": float(perplexity.min()),
        }
        metrics |= {f"perplexity {q + 1}": float(p) for q, p in enumerate(perplexity)}
        pitch = self._pitch(waveform)
        if pitch is not None:
            assert isinstance(averaged, SpectralCodec)
            metrics |= pitch_metrics(averaged.predict_pitch(codes), pitch)
        warnings = [
            f"level {q + 1} uses few of its {averaged.codebook_size} codes (perplexity {p:.0f}): "
            "raise codec.quantizer.revive_below or train with larger batches"
            for q, p in enumerate(perplexity)
            if p < max(1.5, 0.02 * averaged.codebook_size)
        ]
        audio = {"original": waveform[0], "all levels": rebuilt[0], "coarse levels": coarse[0]}
        return Validation(metrics, audio, warnings)

    def export(self, averaged: nn.Module) -> Codec:
        """The codec as it is stored and used."""
        assert isinstance(averaged, Codec)
        return exported(averaged)


def pitch_losses(predicted: PitchTrack, pitch: Tensor) -> tuple[Tensor, Tensor]:
    """Mean error in octaves where there is a voice, and cross-entropy of voicing in nats.

    Args:
        predicted: of (B, n) windows.
        pitch: (B, n) Hz, 0 without a voice.
    """
    voiced = (pitch > 0).float()
    error = (predicted.octaves - octaves(pitch)).abs() * voiced
    entropy = F.binary_cross_entropy_with_logits(predicted.voicing, voiced)
    return error.sum() / voiced.sum().clamp(min=1), entropy


def pitch_metrics(predicted: PitchTrack | None, pitch: Tensor) -> dict[str, float]:
    """Median pitch error in cents where both hear a voice; share of windows they differ in."""
    assert predicted is not None
    voiced, said = pitch > 0, predicted.voicing > 0
    cents = 1200 * (predicted.octaves - octaves(pitch)).abs()[voiced & said]
    return {
        "pitch error": float(cents.median()) if len(cents) else 0.0,
        "voicing error": float((voiced != said).float().mean()),
    }


def code_perplexity(codes: Tensor, codebook_size: int) -> Tensor:
    """exp of the entropy of each level's codes (Q, n), as (Q,): N when all are used alike."""
    share = torch.stack([level.bincount(minlength=codebook_size) for level in codes]).float()
    share = share / share.sum(1, keepdim=True)
    return torch.exp(-(share * share.clamp_min(1e-12).log()).sum(1))


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio (B,) in dB of waveforms (B, T)."""
    scale = (estimate * reference).sum(1, keepdim=True) / reference.square().sum(
        1, keepdim=True
    ).clamp_min(1e-8)
    target = scale * reference
    noise = estimate - target
    return 10 * torch.log10(
        target.square().sum(1).clamp_min(1e-8) / noise.square().sum(1).clamp_min(1e-8)
    )
