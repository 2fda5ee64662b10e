"""The mark: what it does to sound, and that it is found again, where it is and nowhere else."""

import numpy as np
import pytest

from audiolm.audio.resample import resample
from audiolm.safety import watermark_reading
from audiolm.safety.conditions import CONDITIONS, applied
from audiolm.safety.watermark import DEPTH_DB, MarkReader, MarkStream, Payload, mark, read_mark
from audiolm.safety.watermark_hearing import balanced, bandwidth, depths
from audiolm.safety.watermark_pattern import (
    BANDS,
    BINS,
    DIPOLES,
    EDGES,
    STEPS,
    code_words,
    payload_dipoles,
    signs_of,
    synchronisation,
)
from audiolm.safety.watermark_reading import PERIOD, Pattern, fits_of
from reference.watermark import marked

PAYLOAD = Payload("piano", "3a9")


def hiss(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * 16_000))).astype(
        np.float32
    )


def test_the_mark_is_what_is_written_out(speech_like):
    samples = speech_like(0.15, seed=2)
    expected = marked(samples.tolist(), signs_of(PAYLOAD).tolist(), DEPTH_DB)
    assert np.abs(mark(samples, PAYLOAD) - expected).max() < 1e-6


@pytest.mark.parametrize("length", [0, 1, 319, 320, 641, 5000])
def test_chunks_are_marked_as_the_whole(length):
    samples = hiss(length / 16_000)
    whole = mark(samples, PAYLOAD)
    assert len(whole) == length and whole.dtype == np.float32
    stream = MarkStream(PAYLOAD)
    chunks = [stream.push(chunk) for chunk in np.split(samples, range(0, length, 171))]
    assert length - sum(map(len, chunks)) < 640
    assert np.abs(np.concatenate([*chunks, stream.flush()]) - whole).max(initial=0) < 1e-6


def test_it_is_small_begins_gently_and_leaves_silence_silent():
    samples = hiss(2.0)
    change = mark(samples, PAYLOAD) - samples
    assert 10 * np.log10(np.mean(samples**2) / np.mean(change**2)) > 18
    assert np.abs(change[:16]).max() < 0.05 * np.abs(change).max()
    assert not mark(np.zeros(5000, np.float32), PAYLOAD).any()


@pytest.mark.parametrize("hertz", [440, 1010, 3000])
def test_a_pure_tone_keeps_its_level(hertz):
    tone = (0.3 * np.sin(2 * np.pi * hertz * np.arange(48_000) / 16_000)).astype(np.float32)
    levels = 10 * np.log10(np.mean(mark(tone, PAYLOAD).reshape(-1, 800) ** 2, axis=1) / 0.045)
    assert np.abs(levels).max() < 0.2


def test_what_is_heard_together_keeps_its_level():
    generator = np.random.default_rng(5)
    power = generator.exponential(size=(3, BINS))
    power[2] = 0  # silence
    factors = 10 ** (DEPTH_DB / 20 * depths() * generator.choice([-1, 1], (3, BINS)))
    made = balanced(power, factors)
    assert np.isfinite(made).all() and (made[:, : EDGES[0]] == 1).all()
    assert (made[:, EDGES[-1] :] == 1).all()
    changes = []
    for place in range(EDGES[0], EDGES[-1]):
        deviation = max(25, 0.35 * (24.7 + 0.107939 * 25 * place))
        bell = np.exp(-(((np.arange(BINS) - place) * 25 / deviation) ** 2) / 2)
        heard = (power * made**2)[:2] @ bell, (power * factors**2)[:2] @ bell
        changes.append([10 * np.log10(after / (power[:2] @ bell)) for after in heard])
    balance, careless = np.sqrt(np.mean(np.square(changes), axis=(0, 2)))  # dB
    assert balance < 0.4 * careless and careless > 0.3


def test_the_mark_is_shallow_where_the_ear_is_sharp():
    assert depths()[EDGES[0]] == pytest.approx((24.7 * 1.874) / 240)  # 200 Hz
    assert depths()[100] == 1 and depths()[0] == depths()[300] == 0
    assert float(bandwidth(np.float64(1000))) == pytest.approx(132.64, abs=0.01)


def test_each_louder_cell_has_a_softer_neighbour():
    signs = signs_of(PAYLOAD)
    assert signs.shape == (STEPS, BANDS) and set(np.unique(signs)) == {-1, 1}
    assert not (signs[:, 0::2] + signs[:, 1::2]).any()
    dipoles, bits = payload_dipoles()
    assert np.array_equal(synchronisation() == 0, dipoles != 0)
    counts = np.bincount(bits[dipoles != 0], minlength=64)
    assert counts.min() >= 12 and counts.max() - counts.min() <= 1


def test_code_words_differ_in_24_places():
    words = code_words()
    assert words.shape == (65536, 64)
    assert ((1 - words[1:]) / 2).sum(axis=1).min() == 24
    assert np.array_equal(words[0x1234] * words[0x00FF], words[0x1234 ^ 0x00FF])  # linear


def test_payloads():
    assert PAYLOAD.number == 0x23A9
    assert Payload.of_number(0x23A9) == PAYLOAD
    assert Payload.of_number(0xF000).family == "family 15"
    assert Payload.of_model("speech", "abcdef") == Payload("speech", "abc")
    assert Payload.of_model("my own", "abcdef") == Payload("other", "abc")


@pytest.mark.parametrize("kind", ["hiss", "speech"])
def test_it_is_found_with_its_payload(kind, speech_like):
    sound = hiss(4.0) if kind == "hiss" else speech_like(6.0, seed=1) + 0.02 * hiss(6.0)
    reading = read_mark(mark(sound, PAYLOAD), 16_000)
    assert reading.found and reading.p_value < 1e-8 and reading.payload == PAYLOAD
    assert not read_mark(sound, 16_000).found


@pytest.mark.parametrize(
    "name", ["MP3 64 kbit/s", "Opus 32 kbit/s", "telephone", "noise 20 dB", "speed 105 %"]
)
def test_it_outlives(name):
    assert name in CONDITIONS
    changed = applied(name, mark(hiss(5.0), PAYLOAD), seed=0)
    assert read_mark(changed, 16_000).payload == PAYLOAD


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_at_any_sample_rate_from_any_sample_at_any_level(rate):
    changed = 0.05 * resample(mark(hiss(5.0), PAYLOAD)[7777:], 16_000, rate)
    reading = read_mark(changed, rate)
    assert reading.found and reading.payload == PAYLOAD


def test_where_it_is():
    sound = hiss(9.0)
    made = np.concatenate([sound[:48_000], mark(sound[48_000:96_000], PAYLOAD), sound[96_000:]])
    reading = read_mark(made, 16_000)
    assert reading.start == pytest.approx(3, abs=0.5)
    assert reading.end == pytest.approx(6, abs=0.5)
    assert read_mark(sound, 16_000).start is None


def test_in_a_long_recording_in_chunks(monkeypatch):
    monkeypatch.setattr(watermark_reading, "SPEEDS", (1.0,))
    sound = hiss(40.0)
    sound[320_000:448_000] = mark(sound[320_000:448_000], PAYLOAD)
    reader = MarkReader(16_000)
    for chunk in np.array_split(sound, 23):
        reader.push(chunk)
        assert len(reader._waiting) < 8 * 16_000  # bounded, however much was pushed
    reading = reader.reading()
    assert reading == read_mark(sound, 16_000)
    assert reading.payload == PAYLOAD
    assert reading.start == pytest.approx(20, abs=0.7)
    assert reading.end == pytest.approx(28, abs=0.7)


def test_more_windows_are_paid_for(monkeypatch):
    monkeypatch.setattr(
        watermark_reading, "best_fit", lambda samples: watermark_reading._Fit(6e-5, end=8.0)
    )
    assert read_mark(hiss(7.0), 16_000).found
    reading = read_mark(hiss(13.0), 16_000)
    assert reading.p_value == pytest.approx(1.8e-4) and not reading.found


def test_p_values_of_unmarked_sound_are_honest(speech_like):
    values = [read_mark(hiss(1.2, seed), 16_000).p_value for seed in range(12)]
    values += [read_mark(speech_like(1.2, seed), 16_000).p_value for seed in range(12)]
    assert min(values) > 1e-3
    assert np.mean(np.array(values) <= 0.5) <= 0.6


def test_fits_are_what_is_written_out():
    period = np.random.default_rng(3).standard_normal((PERIOD, DIPOLES))
    signs = synchronisation()
    for place in (0, 1, 77):
        fit = squares = 0.0
        for step in range(STEPS):
            row = period[(place + 4 * step) % PERIOD]
            fit += float((signs[step] * row).sum())
            squares += float((signs[step] ** 2 * row**2).sum())
        assert fits_of(period, Pattern.of(signs))[place] == pytest.approx(fit / squares**0.5)


def test_whatever_the_recording_the_fits_of_other_patterns_deviate_by_one():
    """A recording as bad as can be: a few cells say everything, and steadily."""
    generator = np.random.default_rng(4)
    period = generator.standard_normal((PERIOD, DIPOLES)) ** 3
    period[:, 5] += 20
    fits = []
    for _ in range(50):
        signs = generator.choice([-1, 1], (STEPS, DIPOLES)) * (synchronisation() != 0)
        fits.append(fits_of(period, Pattern.of(signs)))
    assert np.std(fits) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "samples",
    [np.zeros(0), np.zeros(20), np.zeros(40_000), hiss(0.05)],
    ids=["none", "20 samples", "silence", "50 ms"],
)
def test_nothing_is_found_in_next_to_nothing(samples):
    reading = read_mark(samples.astype(np.float32), 16_000)
    assert (reading.found, reading.payload, reading.start) == (False, None, None)
    assert reading.p_value == 1
