"""Training the codec: the discriminators' turn, what is counted, and resuming with all of it."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from audiolm.codec import QuantizerConfig, SpectralConfig
from audiolm.codec.causal import PitchTrack
from audiolm.codec.discriminators import DiscriminatorConfig
from audiolm.codec.harmonic import octaves
from audiolm.codec.losses import MelLossConfig
from audiolm.training.tasks.codec import (
    CodecTask,
    CodecTraining,
    code_perplexity,
    pitch_losses,
    pitch_metrics,
    si_sdr,
)
from training.resuming import assert_resumed_equals_uninterrupted, optimization, run, watched

CODEC = SpectralConfig(
    width=16,
    encoder_blocks=1,
    decoder_blocks=1,
    refine_width=16,
    refine_blocks=0,
    dim=8,
    quantizer=QuantizerConfig(levels=3, codebook_size=16, dropout=0.5),
)


def task(recordings, steps: int = 6, codec: SpectralConfig = CODEC, **changes) -> CodecTask:
    settings = {
        "optimization": optimization(steps),
        "crop_seconds": 0.3,
        "mel": MelLossConfig(windows=(256, 1024)),
        "adversarial_from": 0.5,
        "discriminators": DiscriminatorConfig(windows=(256,), spectral_width=4, scales=1),
    }
    return CodecTask(codec, CodecTraining(**(settings | changes)), *recordings)


@pytest.mark.parametrize("dies_at", [2, 4])  # before the discriminators have begun, and after
def test_resumed_equals_uninterrupted(recordings, tmp_path, dies_at) -> None:
    losses = assert_resumed_equals_uninterrupted(lambda: task(recordings), tmp_path, dies_at)
    assert [name for name, _ in losses[:2]] == ["codec", "discriminators"]
    of_discriminators = [value for name, value in losses if name == "discriminators"]
    assert of_discriminators[:3] == [0.0, 0.0, 0.0]
    assert min(of_discriminators[3:]) > 0


def test_discriminators_are_trained_from_their_time_on(recordings, tmp_path) -> None:
    both = task(recordings)
    start = {name: p.clone() for name, p in both.networks["discriminators"].named_parameters()}
    seen = []
    loss_of = both.loss

    def loss(network, batch, progress):
        moved = any(
            not torch.equal(p, start[name])
            for name, p in both.networks["discriminators"].named_parameters()
        )
        result = loss_of(network, batch, progress)
        if network == "codec":
            seen.append((progress >= 0.5, moved, "adversarial" in result.metrics))
        return result

    both.loss = loss
    run(both, tmp_path, seed=0)
    # Fighting from step 3 on; their first update shows at step 4.
    assert seen == [(False, False, False)] * 3 + [(True, False, True)] + [(True, True, True)] * 2


def test_without_discriminators_there_are_none(recordings) -> None:
    assert list(task(recordings, adversarial_from=1.0).networks) == ["codec"]


def test_the_total_is_the_weighted_sum(recordings) -> None:
    weights = {
        "mel_weight": 2.0,
        "waveform_weight": 3.0,
        "commitment_weight": 5.0,
        "adversarial_weight": 7.0,
        "feature_weight": 11.0,
    }
    one = task(recordings, **weights)
    loss = one.loss("codec", one.batch(0, 0), progress=0.9)
    expected = sum(
        weights["feature_weight" if name == "features" else f"{name}_weight"] * value
        for name, value in loss.metrics.items()
    )
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert set(loss.metrics) == {"mel", "waveform", "commitment", "adversarial", "features"}
    before = one.loss("codec", one.batch(0, 0), progress=0.4)
    assert set(before.metrics) == {"mel", "waveform", "commitment"}


def test_the_discriminators_turn_leaves_the_codec_alone(recordings) -> None:
    one = task(recordings)
    batch = one.batch(0, 0)
    one.loss("codec", batch, 0.9)
    one.loss("discriminators", batch, 0.9).total.backward()
    assert all(p.grad is None for p in one.networks["codec"].parameters())
    assert all(p.grad is not None for p in one.networks["discriminators"].parameters())


def test_it_learns_and_is_exported_without_training_state(recordings, tmp_path) -> None:
    one = task(
        recordings,
        25,
        adversarial_from=1.0,
        optimization=optimization(25, learning_rate=1e-2, ema_decay=0.5),
    )
    losses = watched(one)
    outcome = run(one, tmp_path, seed=0)
    assert outcome.metrics["loss"] < 0.7 * losses[0][1]
    codec = one.export(outcome.averaged)
    assert not any("training_state" in name for name in codec.state_dict())
    waveform, _ = one.validation.fixed_batch(1.0, 2)
    assert torch.equal(codec.encode(waveform), outcome.averaged.encode(waveform))


def test_only_the_decoder_learns_where_that_is_asked(recordings, tmp_path) -> None:
    """With discriminators, averaged weights, checkpoint, validation: codes stay what they are."""

    def build() -> CodecTask:
        return task(recordings, decoder_only=True)

    torch.manual_seed(1)
    before = build().networks["codec"].eval()
    waveform, _ = recordings[1].fixed_batch(1.0, 2)
    codes = before.encode(waveform)
    assert_resumed_equals_uninterrupted(build, tmp_path, dies_at=4)
    torch.manual_seed(1)
    one = build()
    outcome = run(one, tmp_path / "again", seed=2)
    assert math.isfinite(outcome.metrics["loss"])
    exported = one.export(outcome.averaged)
    for after in (one.networks["codec"].eval(), outcome.averaged, exported):
        assert torch.equal(after.encode(waveform), codes)
        assert torch.equal(after.embed(codes), before.embed(codes))
        assert not torch.allclose(after.decode(codes), before.decode(codes), atol=1e-4)


@torch.no_grad()
def test_a_collapsed_codebook_is_told_with_a_remedy(recordings) -> None:
    one = task(recordings)
    one.networks["codec"].quantizer.codebooks.zero_()  # one vector, many times
    validation = one.validate(one.networks["codec"].eval())
    assert validation.metrics["perplexity 1"] == pytest.approx(1.0)
    assert len(validation.warnings) == 3
    assert validation.warnings[0].startswith(
        "level 1 uses few of its 16 codes (perplexity 1): raise"
    )
    assert "codec.quantizer.revive_below" in validation.warnings[0]


def test_a_codebook_in_use_is_no_alarm(recordings, tmp_path) -> None:
    one = task(recordings)
    validation = one.validate(run(one, tmp_path, seed=0).averaged)
    assert validation.metrics["perplexity min"] > 1.5
    assert validation.warnings == []
    assert {len(waveform) for waveform in validation.audio.values()} == {48_000}


def test_perplexity_does_not_count_the_silence_behind_short_recordings(recordings, tmp_path):
    one = task(recordings)
    codec = run(one, tmp_path, seed=0).averaged
    store = one.validation.store
    assert min(store.length(i) for i in range(len(store))) < 3 * 16_000
    found = one.validate(codec).metrics
    ids = []
    for index in range(len(store)):
        length = min(store.length(index), 48_000)
        start = max(0, store.length(index) - 48_000) // 2
        crop = torch.from_numpy(store.crop(index, start, 48_000))[None]
        ids.append(codec.encode(crop)[0, :, : -(-length // 320)])
    joined = torch.cat(ids, dim=1)
    for level in range(3):
        counts = np.array(list(Counter(joined[level].tolist()).values()))
        share = counts / counts.sum()
        expected = math.exp(-(share * np.log(share)).sum())
        assert found[f"perplexity {level + 1}"] == pytest.approx(expected, rel=1e-5)


def test_perplexity_of_known_uses() -> None:
    codes = torch.tensor([[0, 1, 2, 3], [5, 5, 5, 5], [0, 0, 7, 7]])
    assert code_perplexity(codes, 8).tolist() == pytest.approx([4.0, 1.0, 2.0])


def test_si_sdr_of_known_mixtures() -> None:
    time = torch.arange(16_000) / 16_000
    tone, other = torch.sin(440 * 2 * math.pi * time), torch.sin(1000 * 2 * math.pi * time)
    estimates = torch.stack([tone + 0.1 * other, 0.3 * (tone + other), -2 * tone + 0.02 * other])
    found = si_sdr(estimates, tone.expand(3, -1))
    assert found.tolist() == pytest.approx([20.0, 0.0, 40.0], abs=0.01)


HARMONIC = CODEC.model_copy(update={"harmonic": True})


@pytest.fixture
def voices(monkeypatch):
    """A tracker that hears 200 Hz everywhere but in the last quarter."""

    def track(waveform, centres, lengths=None):
        pitch = torch.full((len(waveform), len(centres)), 200.0)
        pitch[:, 3 * len(centres) // 4 :] = 0
        return pitch

    monkeypatch.setattr("audiolm.training.tasks.codec.track_pitch", track)


def test_a_harmonic_decoder_learns_pitch_and_voicing(recordings, voices) -> None:
    one = task(recordings, codec=HARMONIC, adversarial_from=1.0, spectrum_weight=0.5)
    batch = one.batch(0, 0)
    assert batch.pitch is not None
    assert batch.pitch.shape == (len(batch.waveform), 4 * -(-batch.waveform.shape[1] // 320))
    loss = one.loss("codec", batch, 0.0)
    assert {"pitch", "voicing", "spectrum"} <= set(loss.metrics)
    weights = one.training
    expected = (
        weights.mel_weight * loss.metrics["mel"]
        + weights.waveform_weight * loss.metrics["waveform"]
        + weights.commitment_weight * loss.metrics["commitment"]
        + 0.5 * loss.metrics["spectrum"]
        + weights.pitch_weight * loss.metrics["pitch"]
        + weights.voicing_weight * loss.metrics["voicing"]
    )
    assert loss.total.item() == pytest.approx(float(expected), rel=1e-5)
    loss.total.backward()
    head = one.networks["codec"].pitch_head.out
    assert head.weight.grad is not None and head.weight.grad.abs().sum() > 0


def test_pitch_is_asked_for_at_the_centres_of_the_windows(recordings, monkeypatch) -> None:
    asked = []

    def track(waveform, centres, lengths=None):
        asked.append(centres)
        return torch.zeros(len(waveform), len(centres))

    monkeypatch.setattr("audiolm.training.tasks.codec.track_pitch", track)
    task(recordings, codec=HARMONIC).batch(0, 0)
    assert asked[0][:3].tolist() == [160, 240, 320]


def test_its_own_pitch_is_used_from_its_time_on(recordings, voices, monkeypatch) -> None:
    one = task(recordings, codec=HARMONIC, own_pitch_from=0.5, own_pitch_share=1.0)
    heard = []
    pulses = one.networks["codec"].pulses
    forward = pulses.forward
    monkeypatch.setattr(
        pulses, "forward", lambda pitch, *rest: heard.append(pitch) or forward(pitch, *rest)
    )
    batch = one.batch(0, 0)
    one.loss("codec", batch, 0.4)
    one.loss("codec", batch, 0.6)
    before, after = heard
    n = 3 * before.shape[1] // 4
    torch.testing.assert_close(before[:, :n], torch.full_like(before[:, :n], 200.0))
    assert not torch.isclose(after[:, :n], torch.tensor(200.0)).all()


def test_validation_tells_how_well_pitch_is_known(recordings, voices) -> None:
    one = task(recordings, codec=HARMONIC)
    with torch.no_grad():
        metrics = one.validate(one.networks["codec"].eval()).metrics
    assert metrics["pitch error"] >= 0
    assert 0 <= metrics["voicing error"] <= 1


def test_pitch_losses_count_voiced_windows_alone() -> None:
    pitch = torch.tensor([[200.0, 0.0, 100.0]])
    exact = octaves(pitch)
    predicted = PitchTrack(exact + torch.tensor([[1.0, 9.0, 0.0]]), torch.zeros(1, 3))
    error, entropy = pitch_losses(predicted, pitch)
    assert float(error) == pytest.approx(0.5)
    assert float(entropy) == pytest.approx(math.log(2))
    certain = PitchTrack(exact + 0.25, torch.tensor([[5.0, -5.0, -5.0]]))
    metrics = pitch_metrics(certain, pitch)
    assert metrics["pitch error"] == pytest.approx(300, rel=1e-3)
    assert metrics["voicing error"] == pytest.approx(1 / 3)
