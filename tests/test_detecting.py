"""Which detector answers, for what, and every channel."""

import numpy as np
import pytest
import soundfile

import audiolm
from audiolm import pretrained
from audiolm.detecting import choose_detector, detect_file, own_detector
from audiolm.errors import AudioError, ConfigurationError, ModelFolderError
from audiolm.model_io.folder import save_part
from audiolm.model_io.manifest import model_fingerprint, read_manifest
from audiolm.safety.detector import Detector
from audiolm.safety.watermark import MarkReader, MarkReading, Payload, mark
from safety.made_up import CONFIG, audio, hears_noise, hiss, tone
from tiny import tiny_model


@pytest.fixture
def marks(monkeypatch):
    """No mark anywhere; what was searched, in samples."""
    searched = []

    def read_mark(self):
        searched.append(self._first + len(self._waiting))
        return MarkReading(False, 0.5)

    monkeypatch.setattr(MarkReader, "push", heard_only)
    monkeypatch.setattr(MarkReader, "reading", read_mark)
    return searched


def heard_only(self, samples):
    """In place of `MarkReader.push`: counts, and does not look."""
    self._first += len(samples)


@pytest.fixture
def models(tmp_path, monkeypatch, marks):
    """Bundled: none with a detector. `noisy` has one that hears noise; `plain` has none."""
    monkeypatch.setattr(Detector, "forward", hears_noise)
    monkeypatch.setattr(pretrained, "BUNDLED", tmp_path / "bundled")
    lm = tiny_model()
    lm.save(tmp_path / "plain", "float32")
    lm.save(tmp_path / "noisy", "float32")
    save_part(tmp_path / "noisy", "detector", Detector(CONFIG))
    return tmp_path


def test_noise_is_made_and_a_tone_is_not(models, marks) -> None:
    made = audiolm.detect(audio(hiss(3.0)), models / "noisy")
    assert isinstance(made, audiolm.Detection)
    assert (made.verdict, made.detector, made.note) == ("made", "noisy", "")
    assert made.mark == MarkReading(False, 0.5) and marks == [48_000]
    assert audiolm.detect(audio(tone(3.0)), models / "noisy").verdict == "not detected"
    both = audiolm.detect(audio(tone(3.0), hiss(4.0)), models / "noisy", false_alarms=0.001)
    assert both.verdict == "partly made"
    assert both.joints == (pytest.approx(3.0, abs=0.3),)


def test_other_rates_are_resampled(models) -> None:
    for rate in (8000, 48_000, 192_000):
        wav = audiolm.Audio(tone(2.0, rate), rate)
        assert audiolm.detect(wav, models / "noisy").seconds == pytest.approx(2.0, abs=0.001)


def test_each_channel_is_looked_at(models, marks) -> None:
    path = models / "stereo.wav"
    soundfile.write(path, np.stack([tone(4.0, 44_100), hiss(4.0, 44_100)], axis=1), 44_100)
    answer = detect_file(path, choose_detector(models / "noisy"))
    assert (answer.verdict, answer.channel) == ("made", 2)
    assert answer.channels[0] < 0.1 < 0.9 < answer.channels[1]
    assert len(marks) == 2


def test_a_model_without_detector_is_answered_for_by_the_bundled_one(models) -> None:
    with pytest.raises(ModelFolderError, match=r"plain: .*no detector; train one with: audiolm tr"):
        choose_detector(models / "plain")
    tiny_model().save(models / "bundled" / "speech", "float32")
    with pytest.raises(ModelFolderError, match=r"neither has the bundled speech; train one with"):
        choose_detector(models / "plain")
    with pytest.raises(ModelFolderError, match=r"the model has no detector; train one .* --from s"):
        choose_detector("speech")
    save_part(models / "bundled" / "speech", "detector", Detector(CONFIG))
    chosen = choose_detector(models / "plain")
    assert "has no detector of its own" in chosen.note and "trained for speech" in chosen.note
    assert choose_detector("speech").note == ""
    assert own_detector(models / "plain") is None
    assert own_detector("speech") is not None


def test_a_detector_does_not_change_which_model_it_is(models) -> None:
    prints = [
        model_fingerprint({n: e.fingerprint for n, e in read_manifest(models / m).parts.items()})
        for m in ("plain", "noisy")
    ]
    assert prints[0] == prints[1]
    lm = audiolm.load(models / "noisy")
    assert lm.fingerprint == prints[0]
    lm.save(models / "noisy", "float32")  # where it came from
    assert own_detector(models / "noisy") is not None


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ("some.wav", AudioError, "need an Audio"),
        (audio(np.zeros(0, np.float32)), AudioError, "no samples"),
    ],
)
def test_what_is_no_recording_is_refused(models, given, error, says) -> None:
    with pytest.raises(error, match=says):
        audiolm.detect(given, models / "noisy")


def test_a_rate_that_cannot_be_is_told_before_anything_is_loaded(models) -> None:
    with pytest.raises(ConfigurationError, match="false_alarms"):
        audiolm.detect(audio(tone(1.0)), "no such model", false_alarms=2)


def test_the_mark_is_read_beside(models, monkeypatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(Detector, "forward", hears_noise)
    marked = mark(hiss(6.0, level=0.05), Payload("speech", "1a2"))
    answer = audiolm.detect(audio(marked), models / "noisy")
    assert answer.mark.found and answer.mark.payload == Payload("speech", "1a2")
    assert not audiolm.detect(audio(hiss(6.0)), models / "noisy").mark.found
