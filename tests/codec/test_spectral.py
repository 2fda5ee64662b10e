import pytest
import torch

from audiolm.codec import QuantizerConfig, SpectralConfig
from audiolm.codec.causal import Memory
from audiolm.codec.spectral import CausalBlock, SpectralCodec


def codec(**settings_):
    torch.manual_seed(0)
    small = {"width": 16, "encoder_blocks": 1, "decoder_blocks": 1, "refine_width": 16, "dim": 8}
    quantizer = QuantizerConfig(levels=2, codebook_size=8)
    return SpectralCodec(SpectralConfig(**small | settings_, quantizer=quantizer)).eval()


def noise(samples, seed=1):
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("subframes", "look_ahead"), [(4, 240), (5, 256), (8, 280)])
def test_look_ahead_is_a_window_less_its_last_step(subframes, look_ahead):
    model = codec(subframes=subframes)
    assert model.look_ahead == look_ahead
    assert model.decode(model.encode(noise(1000))).shape == (1, 4 * 320)


@pytest.mark.parametrize("subframes", [4, 5])
def test_features_are_the_spectra_of_the_subframes(subframes):
    model = codec(subframes=subframes)
    x = noise(3 * 320 + model.look_ahead)
    features = model._spectra(x).unflatten(2, (subframes, 161, 3))  # (1, 3, subframes, bins, 3)
    for frame in range(3):
        for j in range(subframes):
            start = 320 * frame + 320 // subframes * j
            window = x[0, start : start + 320].double() * torch.hann_window(320).double()
            spectrum = torch.fft.fft(window)[:161] / 320**0.5
            small = spectrum * spectrum.abs() ** -0.7
            real, imaginary, level = features[0, frame, j].double().unbind(1)
            torch.testing.assert_close(real, small.real, atol=1e-3, rtol=1e-3)
            torch.testing.assert_close(imaginary, small.imag, atol=1e-3, rtol=1e-3)
            decibels = 20 * spectrum.abs().log10()
            torch.testing.assert_close(level, decibels / 50 + 1, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("subframes", [4, 5])
def test_the_true_spectra_give_the_waveform_back(subframes):
    """With the last layer handing on log-magnitude and phase, synthesis inverts analysis."""
    model = codec(subframes=subframes)
    model.write = torch.nn.Identity()
    x = noise(6 * 320 + model.look_ahead)
    windows = x.unfold(1, 320, 320 // subframes) * model.hann
    spectrum = torch.fft.rfft(windows, norm="ortho")  # (1, 6 · subframes, bins)
    polar = torch.cat([spectrum.abs().log(), spectrum.angle()], dim=2)
    made = model._samples(polar, Memory())
    assert made.shape == (1, 6 * 320)
    steady = slice(model.look_ahead, 6 * 320)  # before it, fewer windows overlap
    torch.testing.assert_close(made[:, steady], x[:, steady], atol=1e-4, rtol=1e-4)


def test_a_block_sees_its_kernel_and_no_more():
    torch.manual_seed(0)
    block = CausalBlock(4, SpectralConfig(kernel=3), scale=0.5)
    x = torch.randn(1, 10, 4)
    y = x.clone()
    y[:, 5] += 1
    changed = (block(x, Memory()) != block(y, Memory())).any(dim=2)[0]
    assert changed.tolist() == [False] * 5 + [True] * 3 + [False] * 2


def test_an_untrained_decoder_is_quiet():
    made = codec().decode(torch.zeros(1, 2, 20, dtype=torch.int64))
    assert made.square().mean().sqrt() < 0.1


def test_loud_predictions_stay_finite():
    model = codec()
    with torch.no_grad():
        model.write.bias[:161] = 1e4
    assert torch.isfinite(model.decode(torch.zeros(1, 2, 5, dtype=torch.int64))).all()
