import pytest
import torch
from pydantic import ValidationError

from audiolm.codec.losses import (
    MelLoss,
    MelLossConfig,
    SpectrumLoss,
    SpectrumLossConfig,
    _Power,
    discriminator_loss,
    feature_loss,
    generator_loss,
    waveform_loss,
)


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_mel_loss_is_zero_for_equals_and_grows_with_the_difference(distance):
    loss = MelLoss(MelLossConfig(log_distance=distance))
    real = 0.1 * noise(2, 4000)
    values = [loss(real + size * noise(2, 4000, seed=2), real) for size in (0, 1e-3, 1e-2, 1e-1)]
    assert values[0] == 0
    assert values == sorted(values) and values[1] > 0


def test_mel_loss_hears_loudness_and_not_phase():
    loss = MelLoss(MelLossConfig())
    t = torch.arange(8000) / 16000
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * t)[None]
    shifted = 0.3 * torch.sin(2 * torch.pi * 440 * t + 1)[None]
    other = 0.3 * torch.sin(2 * torch.pi * 880 * t)[None]
    assert loss(shifted, tone) < 0.5 * loss(0.5 * tone, tone) < loss(other, tone)


def test_mel_loss_adds_magnitudes_and_logarithms_as_configured():
    made, real = 0.1 * noise(1, 2000), 0.1 * noise(1, 2000, seed=2)
    for distance in ("l1", "l2"):
        config = MelLossConfig(windows=(256,), log_distance=distance, log_weight=3.0)
        loss = MelLoss(config)
        a, b = loss.mel(made, 256), loss.mel(real, 256)
        logs = (a + config.floor).log() - (b + config.floor).log()
        if distance == "l1":
            apart = logs.abs().mean()
        else:
            apart = (torch.linalg.vector_norm(logs, dim=2) / 32**0.5).mean()
        expected = (a - b).abs().mean() + 3.0 * apart
        assert loss(made, real).item() == pytest.approx(expected.item(), rel=1e-4)


def test_mel_magnitudes_equal_those_of_torch_stft():
    loss, x = MelLoss(MelLossConfig(windows=(512,))), noise(2, 3000)
    spectrum = torch.stft(
        x,
        512,
        hop_length=128,
        window=torch.hann_window(512),
        pad_mode="constant",
        normalized=True,
        return_complex=True,
    )  # (B, bins, frames)
    expected = spectrum.abs().transpose(1, 2) @ loss.get_buffer("mel_512")
    torch.testing.assert_close(loss.mel(x, 512), expected, atol=1e-4, rtol=1e-4)


def test_every_band_weighs_some_bins_to_one():
    loss = MelLoss(MelLossConfig())
    for window in loss.config.windows:
        filters = loss.get_buffer(f"mel_{window}")  # (bins, bands)
        assert filters.shape == (window // 2 + 1, min(64, window // 8))
        torch.testing.assert_close(filters.sum(dim=0), torch.ones(filters.shape[1]))
        assert (filters >= 0).all()


def test_mel_loss_has_a_gradient_in_silence():
    made = torch.zeros(1, 2000, requires_grad=True)
    for distance in ("l1", "l2"):
        MelLoss(MelLossConfig(log_distance=distance))(made, torch.zeros(1, 2000)).backward()
        assert torch.isfinite(made.grad).all()


def test_power_has_the_gradient_that_finite_differences_find():
    frames = noise(3, 16).double().requires_grad_()
    assert torch.autograd.gradcheck(_Power.apply, (frames,))


def test_mel_loss_stays_in_float32_under_autocast():
    loss = MelLoss(MelLossConfig())
    made, real = 0.1 * noise(2, 4000), 0.1 * noise(2, 4000, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(made.bfloat16(), real)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(made.bfloat16().float(), real))


def test_mel_loss_stores_nothing():
    assert MelLoss(MelLossConfig()).state_dict() == {}


@pytest.mark.parametrize("windows", [(), (8,), (100,)])
def test_windows_that_cannot_be_are_refused(windows):
    with pytest.raises(ValidationError, match="powers of two"):
        MelLossConfig(windows=windows)


def test_waveform_loss_is_the_mean_difference():
    assert waveform_loss(torch.tensor([[0.5, -0.5]]), torch.tensor([[0.0, 0.5]])).item() == 0.75


def test_hinges():
    good, bad = torch.tensor([[2.0, 1.0]]), torch.tensor([[-2.0, -1.0]])
    unsure = torch.zeros(1, 2)
    assert discriminator_loss([good], [bad]) == 0
    assert discriminator_loss([unsure], [unsure]) == 2
    assert discriminator_loss([bad], [good]) == 5
    assert discriminator_loss([good, unsure], [bad, unsure]) == 1  # the mean over discriminators
    assert generator_loss([good]) == 0
    assert generator_loss([bad, unsure]) == pytest.approx(1.75)


def test_feature_loss_is_relative_and_teaches_only_what_is_made():
    real = [[torch.tensor([4.0, -4.0])], [torch.tensor([1.0, 1.0], requires_grad=True)]]
    made = [[torch.tensor([5.0, -4.0])], [torch.tensor([1.0, 0.0], requires_grad=True)]]
    loss = feature_loss(made, real)
    assert loss.item() == pytest.approx((0.125 + 0.5) / 2)
    loss.backward()
    assert made[1][0].grad is not None and real[1][0].grad is None
    louder = [[[2 * x for x in layers] for layers in side] for side in (made, real)]
    assert feature_loss(*louder).item() == pytest.approx(loss.item())
    assert feature_loss(real, real) == 0


def test_spectrum_loss_compares_stft_magnitudes_up_to_its_highest_frequency():
    config = SpectrumLossConfig(windows=(512,), highest=2000.0)
    made, real = 0.1 * noise(2, 3000), 0.1 * noise(2, 3000, seed=2)

    def magnitude(x):
        stft = torch.stft(
            x, 512, 128, window=torch.hann_window(512), pad_mode="constant", return_complex=True
        )
        return stft.abs()[:, :65] / 512**0.5  # 65 bins: up to 2 kHz

    a, b = magnitude(made), magnitude(real)
    logs = ((a + 1e-3).log() - (b + 1e-3).log()).abs().mean()
    expected = logs + 0.5 * (a - b).norm() / b.norm()
    assert SpectrumLoss(config)(made, real).item() == pytest.approx(expected.item(), rel=1e-3)
    assert SpectrumLoss(config)(real, real).item() == pytest.approx(0, abs=1e-6)


def test_spectrum_loss_tells_a_tone_between_two_others_that_mel_bands_do_not():
    t = torch.arange(16000) / 16000
    two = sum(torch.sin(2 * torch.pi * f * t) for f in (3000, 3100))[None] * 0.1
    three = two + 0.1 * torch.sin(2 * torch.pi * 3050 * t)[None]
    bins = SpectrumLoss(SpectrumLossConfig(windows=(2048,)))(three, two)
    bands = MelLoss(MelLossConfig(windows=(2048,), mels=64))(three, two)
    assert float(bins) > 5 * float(bands)
