import pytest
import torch

from audiolm.codec import QuantizerConfig, SpectralConfig
from audiolm.codec.causal import StreamingState
from audiolm.codec.spectral import CausalBlock, SpectralCodec
from audiolm.configuration import parse
from audiolm.errors import ConfigurationError


def codec(**settings_):
    torch.manual_seed(0)
    small = {"width": 16, "encoder_blocks": 1, "decoder_blocks": 1, "refine_width": 16, "dim": 8}
    quantizer = QuantizerConfig(levels=2, codebook_size=8)
    return SpectralCodec(SpectralConfig(**small | settings_, quantizer=quantizer)).eval()


def noise(samples, seed=1):
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


WINDOWS = [(4, None), (5, None), (4, 640), (5, 1024)]
"""Sub-frames and windows that are tried."""


@pytest.mark.parametrize(
    ("subframes", "window", "look_ahead"),
    [(4, None, 240), (5, None, 256), (8, None, 280), (4, 640, 560), (5, 1024, 960)],
)
def test_look_ahead_is_a_window_less_its_last_step(subframes, window, look_ahead):
    model = codec(subframes=subframes, window=window)
    assert model.look_ahead == look_ahead
    assert model.decode(model.encode(noise(1000))).shape == (1, 4 * 320)


@pytest.mark.parametrize(("subframes", "window"), WINDOWS)
def test_features_are_the_spectra_of_the_subframes(subframes, window):
    model = codec(subframes=subframes, window=window)
    size = window or 320
    bins = size // 2 + 1
    x = noise(3 * 320 + model.look_ahead)
    features = model._spectra(x).unflatten(2, (subframes, bins, 3))  # (1, 3, subframes, bins, 3)
    for frame in range(3):
        for j in range(subframes):
            start = 320 * frame + 320 // subframes * j
            samples = x[0, start : start + size].double() * torch.hann_window(size).double()
            spectrum = torch.fft.fft(samples)[:bins] / size**0.5
            small = spectrum * spectrum.abs() ** -0.7
            real, imaginary, level = features[0, frame, j].double().unbind(1)
            torch.testing.assert_close(real, small.real, atol=1e-3, rtol=1e-3)
            torch.testing.assert_close(imaginary, small.imag, atol=1e-3, rtol=1e-3)
            decibels = 20 * spectrum.abs().log10()
            torch.testing.assert_close(level, decibels / 50 + 1, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("subframes", "window"), WINDOWS)
def test_the_true_spectra_give_the_waveform_back(subframes, window):
    """With the last layer handing on log-magnitude and phase, synthesis inverts analysis."""
    model = codec(subframes=subframes, window=window)
    model.write = torch.nn.Identity()
    x = noise(6 * 320 + model.look_ahead)
    windows = x.unfold(1, window or 320, 320 // subframes) * model.hann
    spectrum = torch.fft.rfft(windows, norm="ortho")  # (1, 6 · subframes, bins)
    polar = torch.cat([spectrum.abs().log(), spectrum.angle()], dim=2)
    made = model._samples(polar, StreamingState())
    assert made.shape == (1, 6 * 320)
    steady = slice(model.look_ahead, 6 * 320)  # before it, fewer windows overlap
    torch.testing.assert_close(made[:, steady], x[:, steady], atol=1e-4, rtol=1e-4)


def test_the_window_of_today_is_that_of_before():
    """A setting that is not given changes neither the network nor its fingerprint."""
    plain, given = codec(), codec(window=320)
    x = noise(1000)
    assert torch.equal(plain.encode(x), given.encode(x))
    assert "window" not in SpectralConfig().model_dump(exclude_none=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": 700}, "window: 700 is no multiple of 320 / subframes = 80; set it to 640"),
        ({"window": 640, "harmonic": True}, "window: 640 cannot be with a harmonic decoder"),
    ],
)
def test_a_window_that_does_not_fit_is_refused(settings, said):
    with pytest.raises(ConfigurationError, match=said):
        parse(SpectralConfig, settings, "preset")


def test_a_block_sees_its_kernel_and_no_more():
    torch.manual_seed(0)
    block = CausalBlock(4, SpectralConfig(kernel=3), scale=0.5)
    x = torch.randn(1, 10, 4)
    y = x.clone()
    y[:, 5] += 1
    changed = (block(x, StreamingState()) != block(y, StreamingState())).any(dim=2)[0]
    assert changed.tolist() == [False] * 5 + [True] * 3 + [False] * 2


def test_an_untrained_decoder_is_quiet():
    made = codec().decode(torch.zeros(1, 2, 20, dtype=torch.int64))
    assert made.square().mean().sqrt() < 0.1


def test_loud_predictions_stay_finite():
    model = codec()
    with torch.no_grad():
        model.write.bias[:161] = 1e4
    assert torch.isfinite(model.decode(torch.zeros(1, 2, 5, dtype=torch.int64))).all()
