"""How near a reconstruction comes to its recording."""

import numpy as np
import pytest

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics import quality
from audiolm.evaluation.metrics.quality import Visqol, si_sdr, stoi
from audiolm.evaluation.metrics.spectral import mel_distance
from audiolm.evaluation.requirements import Skipped
from tiny import noise


def audio(samples):
    return Audio(np.asarray(samples, dtype=np.float32), 16_000)


@pytest.fixture
def speech(speech_like):
    return audio(speech_like(2.0))


@pytest.mark.parametrize("decibels", [-5.0, 0.0, 20.0])
def test_si_sdr_is_the_ratio_of_signal_and_what_is_orthogonal_to_it(decibels):
    t = np.arange(16_000) / 16_000
    signal, other = np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 300 * t)
    made = audio(0.1 * (signal + other * 10 ** (-decibels / 20)) + 0.05)  # scaled, with an offset
    assert si_sdr(made, audio(0.3 * signal)) == pytest.approx(decibels, abs=0.01)


def test_si_sdr_of_equal_sound_has_a_ceiling_and_of_silence_no_value():
    sound = noise(1.0)
    assert si_sdr(sound, sound) == quality.LARGEST_SI_SDR
    assert si_sdr(audio(0.5 * sound.samples), sound) > 90  # float32
    assert si_sdr(sound, audio(np.zeros(16_000))) is None
    assert si_sdr(audio(np.zeros(16_000)), sound) == -100


def test_only_samples_that_both_have_are_compared():
    sound = noise(1.0)
    longer = audio(np.concatenate([sound.samples, np.ones(500)]))
    assert si_sdr(longer, sound) == quality.LARGEST_SI_SDR
    assert mel_distance(sound, longer) == 0


def test_mel_distance_grows_with_the_difference(speech):
    assert mel_distance(speech, speech) == 0
    some, more = (
        mel_distance(audio(speech.samples + level * noise(2.0).samples), speech)
        for level in (0.01, 0.1)
    )
    assert 0 < some < more


def test_stoi_falls_with_noise_and_is_none_for_a_moment(speech):
    pytest.importorskip("pystoi")
    assert stoi(speech, speech) == pytest.approx(1, abs=1e-3)
    noisy = audio(speech.samples + 2 * noise(2.0).samples)
    assert stoi(noisy, speech) < 0.9
    assert stoi(speech.first(0.2), speech.first(0.2)) is None


def test_visqol_has_a_ceiling_below_5_and_falls_with_noise(speech):
    pytest.importorskip("visqol")
    pytest.importorskip("ai_edge_litert")
    visqol = Visqol("speech")
    assert visqol.mapper == "deep lattice"
    ceiling = visqol.score(speech, speech)
    assert 3.5 < ceiling < 5
    assert visqol.score(audio(speech.samples + 0.5 * noise(2.0).samples), speech) < ceiling - 0.5


def test_visqol_of_silence_has_no_score_or_the_worst(speech):
    pytest.importorskip("visqol")
    visqol = Visqol("audio")
    silence = audio(np.zeros(len(speech.samples)))
    assert visqol.score(speech, silence) is None
    assert visqol.score(silence, silence) is None
    assert visqol.score(silence, speech) == quality.WORST_VISQOL


@pytest.mark.parametrize("error", [IndexError, ValueError])
def test_visqol_that_finds_nothing_to_compare_has_no_score(speech, monkeypatch, error):
    pytest.importorskip("visqol")
    visqol = Visqol("audio")

    def measure(reference, degraded, rate):
        raise error("no patches")

    monkeypatch.setattr(visqol._api, "measure_from_arrays", measure)
    assert visqol.score(speech, speech) is None


def test_audio_mode_looks_at_48_khz(speech, monkeypatch):
    pytest.importorskip("visqol")
    visqol = Visqol("audio")
    assert visqol.mapper == "support vectors"
    seen = []

    class Result:
        moslqo = 3.0

    def measure(reference, degraded, rate):
        seen.append((len(reference), len(degraded), rate))
        return Result()

    monkeypatch.setattr(visqol._api, "measure_from_arrays", measure)
    assert visqol.score(speech.first(1.0), speech) == 3.0
    assert seen == [(96_000, 48_000, 48_000)]


def test_without_the_lattice_speech_mode_refuses(monkeypatch):
    visqol = pytest.importorskip("visqol")

    def create(self, mode, use_lattice_model):
        if use_lattice_model:  # as visqol-python does without its extra
            raise ImportError("No module named 'ai_edge_litert'")

    monkeypatch.setattr(visqol.VisqolApi, "create", create)
    with pytest.raises(Skipped, match=r"lattice.*visqol-python\[lattice,accel\]"):
        Visqol("speech")
    Visqol("audio")


@pytest.mark.parametrize(
    ("package", "call"),
    [("visqol", lambda: Visqol("speech")), ("pystoi", lambda: stoi(noise(1.0), noise(1.0)))],
)
def test_a_package_that_is_absent_is_named(package, call, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(Skipped, match=rf"{package}.*audiolm\[evaluate\]"):
        call()
