import math

import pytest
import torch

from audiolm.codec import QuantizerConfig, SpectralConfig
from audiolm.codec.causal import PitchTrack, StreamingState
from audiolm.codec.harmonic import BINS, WINDOW, PulseSpectrum, hertz, octaves
from audiolm.codec.spectral import SpectralCodec


def codec(**changed):
    torch.manual_seed(0)
    small = {"width": 16, "encoder_blocks": 1, "decoder_blocks": 1, "refine_width": 16, "dim": 8}
    quantizer = QuantizerConfig(levels=2, codebook_size=8)
    return SpectralCodec(SpectralConfig(**small, **changed, quantizer=quantizer)).eval()


def harmonics(pitch, phase):
    """A window of equal harmonics, added up one by one; the phase is that at its centre."""
    n = torch.arange(WINDOW, dtype=torch.double) - WINDOW // 2
    count = math.floor(7900 / pitch)
    waves = sum(
        torch.cos(2 * math.pi * k * (phase + pitch / 16000 * n)) for k in range(1, count + 1)
    )
    return waves * math.sqrt(pitch / 4000) * torch.hann_window(WINDOW, dtype=torch.double)


@pytest.mark.parametrize("pitch", [60.0, 111.3, 250.0, 520.0])
def test_a_steady_pitch_gives_the_spectra_of_its_harmonics(pitch):
    spectra = PulseSpectrum(4)(torch.full((1, 6), pitch), torch.ones(1, 6).bool(), StreamingState())
    for window in range(6):
        phase = pitch * 80 * window / 16000
        expected = torch.fft.rfft(harmonics(pitch, phase), norm="ortho")
        torch.testing.assert_close(
            spectra[0, window].to(torch.complex128), expected, atol=2e-3, rtol=2e-3
        )


def test_where_there_is_no_voice_there_are_no_pulses_and_the_next_voice_begins_at_a_pulse():
    voiced = torch.tensor([[True, True, False, True, True]])
    pitch = torch.tensor([[100.0, 100.0, 333.0, 200.0, 200.0]])
    spectra = PulseSpectrum(4)(pitch, voiced, StreamingState())
    assert not spectra[0, 2].abs().any()
    expected = torch.fft.rfft(harmonics(200.0, 0.0), norm="ortho")
    torch.testing.assert_close(spectra[0, 3].to(torch.complex128), expected, atol=2e-3, rtol=2e-3)


def test_pulses_are_as_loud_as_white_noise_of_unit_variance():
    pitch = torch.full((1, 200), 130.0)
    power = (
        PulseSpectrum(4)(pitch, torch.ones(1, 200).bool(), StreamingState()).abs().square().mean()
    )
    noise = torch.randn(200, WINDOW, generator=torch.Generator().manual_seed(0))
    expected = torch.fft.rfft(noise * torch.hann_window(WINDOW), norm="ortho").abs().square().mean()
    assert float(power / expected) == pytest.approx(1, rel=0.1)


def test_octaves_and_hertz_are_inverse():
    pitch = torch.tensor([60.0, 160.0, 320.0, 520.0])
    torch.testing.assert_close(hertz(octaves(pitch)), pitch)
    assert float(hertz(torch.tensor(9.0))) == 520.0


def test_a_harmonic_decoder_leaves_the_codes_as_they_are():
    plain, harmonic = codec(), codec(harmonic=True)
    harmonic.load_state_dict(plain.state_dict(), strict=False)
    assert harmonic.codes_fingerprint() == plain.codes_fingerprint()
    assert harmonic.fingerprint() != plain.fingerprint()
    x = torch.randn(1, 3200, generator=torch.Generator().manual_seed(1))
    assert torch.equal(harmonic.encode(x), plain.encode(x))


def test_without_a_voice_a_decoder_that_gains_pulses_goes_on_as_it_was():
    plain, harmonic = codec(), codec(harmonic=True)
    harmonic.load_state_dict(plain.state_dict(), strict=False)
    embeddings = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(1))
    none = PitchTrack(torch.zeros(1, 20), -torch.ones(1, 20))
    made, predicted = harmonic._synthesised(embeddings, StreamingState(), none)
    assert torch.equal(made, plain.synthesise(embeddings, StreamingState()))
    assert predicted is not None and predicted.octaves.shape == (1, 20)


def test_the_pitch_that_is_given_is_heard():
    model = codec(harmonic=True)
    embeddings = torch.randn(1, 40, 8, generator=torch.Generator().manual_seed(1))

    def made(pitch):
        track = PitchTrack(octaves(torch.full((1, 160), pitch)), torch.ones(1, 160))
        return model._synthesised(embeddings, StreamingState(), track)[0][0, 3200:]

    @torch.no_grad()
    def period(samples, lag):
        return float(torch.cosine_similarity(samples[lag:], samples[:-lag], dim=0))

    assert period(made(200.0), 80) > period(made(125.0), 80)
    assert period(made(125.0), 128) > period(made(200.0), 128)
    assert BINS == 161


def test_within_a_window_pitch_glides_as_it_did_from_the_window_before():
    pitch = torch.tensor([[150.0, 150.5, 151.0]])
    made = PulseSpectrum(4)(pitch, torch.ones(1, 3).bool(), StreamingState())[0, 2]
    n = torch.arange(WINDOW, dtype=torch.double) - WINDOW // 2
    phase = (150.25 + 150.75) * 80 / 16000
    cycles = phase + 151.0 / 16000 * n + 0.5 / 80 / 16000 / 2 * n.square()
    waves = sum(torch.cos(2 * math.pi * k * cycles) for k in range(1, math.floor(7900 / 151) + 1))
    hann = torch.hann_window(WINDOW, dtype=torch.double)
    expected = torch.fft.rfft(waves * math.sqrt(151 / 4000) * hann, norm="ortho")
    torch.testing.assert_close(made.to(torch.complex128), expected, atol=2e-3, rtol=2e-3)


@torch.no_grad()
def test_the_decoder_reads_the_pulses():
    model = codec(harmonic=True)
    embeddings = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(1))
    voice = PitchTrack(torch.zeros(1, 20), torch.ones(1, 20))
    deaf = model._synthesised(embeddings, StreamingState(), voice)[0]
    torch.nn.init.normal_(model.read_pulses.weight, std=0.1)
    assert not torch.allclose(model._synthesised(embeddings, StreamingState(), voice)[0], deaf)


@torch.no_grad()
def test_where_pulses_are_hardly_there_so_is_what_follows_their_phases():
    model = codec(harmonic=True)
    x = torch.randn(1, 20, 16, generator=torch.Generator().manual_seed(1))
    ones = torch.ones(1, 20, BINS, dtype=torch.complex64)
    clear, faint = (model._samples(x, StreamingState(), size * ones) for size in (1.0, 1e-6))
    torch.testing.assert_close(clear, model._samples(x, StreamingState()), atol=1e-6, rtol=1e-4)
    assert faint.abs().max() < 0.01 * clear.abs().max()
