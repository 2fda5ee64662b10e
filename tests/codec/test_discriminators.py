import pytest
import torch
from pydantic import ValidationError

from audiolm.codec.discriminators import (
    DiscriminatorConfig,
    Discriminators,
    SpectralDiscriminator,
)
from audiolm.codec.losses import discriminator_loss, feature_loss, generator_loss

TINY = DiscriminatorConfig(
    windows=(256, 64), spectral_width=4, scales=2, waveform_width=4, waveform_width_limit=16
)


def discriminators(config=TINY):
    torch.manual_seed(0)
    return Discriminators(config)


def noise(*shape, seed=1):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_one_output_of_each():
    outputs = discriminators()(noise(3, 2048))
    assert len(outputs) == 4
    spectral, _, full, half = outputs
    assert spectral.logits.shape == (3, 1, 33, 17)  # a row per hop of 64, 129 bins / 8
    assert full.logits.shape == (3, 1, 8)  # 2048 / 256
    assert half.logits.shape[2] in (4, 5)
    assert all(len(output.features) >= 5 for output in outputs)


@pytest.mark.parametrize("samples", [1, 100, 999])
def test_any_length(samples):
    assert all(torch.isfinite(v.logits).all() for v in discriminators()(noise(1, samples)))


def test_the_spectrum_is_complex_and_level():
    white = noise(1, 16000)
    for window in (128, 1024):
        spectrum = SpectralDiscriminator(window, 4).spectrum(white)  # (1, 2, frames, bins)
        assert spectrum.shape[1] == 2 and spectrum.shape[3] == window // 2 + 1
        magnitude = spectrum.square().sum(dim=1).sqrt()
        power = magnitude.pow(2 / 0.3).mean().item()  # what was compressed, raised again
        assert power == pytest.approx(0.01 * 3 / 8, rel=0.1)  # of the noise, times Hann squared
    a, b = (SpectralDiscriminator(128, 4).spectrum(x) for x in (white, -white))
    torch.testing.assert_close(a, -b)  # the sign is seen, so it is no magnitude


def test_what_is_quiet_is_heard_too():
    """20 dB less is half the magnitude, not a tenth; silence has a finite slope."""
    loud = noise(1, 4096)
    heard = [SpectralDiscriminator(256, 4).spectrum(x).abs().mean() for x in (loud, 0.1 * loud)]
    assert heard[1] / heard[0] == pytest.approx(0.1**0.3, rel=0.1)
    silence = torch.zeros(1, 1024, requires_grad=True)
    SpectralDiscriminator(256, 4).spectrum(silence).sum().backward()
    assert silence.grad.isfinite().all() and silence.grad.abs().max() < 1e4


def test_they_learn_to_tell_noise_from_tone_and_the_codec_hears_it():
    model = discriminators()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    tone = 0.2 * torch.sin(torch.arange(2048) * 0.2)[None]
    losses = []
    for step in range(30):
        real, made = model(noise(1, 2048, seed=step)), model(tone)
        loss = discriminator_loss([v.logits for v in real], [v.logits for v in made])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(2, abs=0.3) and losses[-1] < 0.5 * losses[0]

    made = tone.clone().requires_grad_()
    outputs = model(made)
    assert generator_loss([v.logits for v in outputs]) > 1
    real = model(noise(1, 2048))
    features = feature_loss([v.features for v in outputs], [v.features for v in real])
    (gradient,) = torch.autograd.grad(features, made)
    assert gradient.abs().sum() > 0


def test_bfloat16():
    model = discriminators()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(noise(1, 2048))
    loss = discriminator_loss([v.logits for v in outputs], [v.logits for v in outputs])
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_none_of_a_family_is_a_choice_and_nonsense_is_not():
    assert len(discriminators(DiscriminatorConfig(windows=(64,), scales=0))(noise(1, 500))) == 1
    with pytest.raises(ValidationError, match="multiples of 4"):
        DiscriminatorConfig(windows=(30,))
    with pytest.raises(ValidationError):
        DiscriminatorConfig(waveform_width=6)
