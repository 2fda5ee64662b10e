"""Opus beside our codec."""

import shutil
import struct
import subprocess

import numpy as np
import pytest

from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.opus import Opus, packet_sizes

needs_opus = pytest.mark.skipif(shutil.which("opusenc") is None, reason="opusenc is not installed")


def ogg_page(lacing):
    header = b"OggS" + struct.pack("<BBqIII", 0, 0, 0, 1, 0, 0) + bytes([len(lacing)])
    return header + bytes(lacing) + bytes(sum(lacing))


def test_packets_are_measured_across_segments_and_pages():
    # 19; 255 + 10; 255 + 255 + (next page) 5; an empty one; 255 + 0.
    stream = ogg_page([19, 255, 10, 255, 255]) + ogg_page([5, 0, 255, 0])
    assert packet_sizes(stream) == [19, 265, 515, 0, 255]


def test_what_is_no_ogg_is_an_error():
    with pytest.raises(AudioError, match="no Ogg page at byte 32"):
        packet_sizes(ogg_page([4]) + b"RIFFxxxxWAVE")


def test_without_opusenc_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Skipped, match="apt install opus-tools"):
        Opus()


@needs_opus
def test_opus_keeps_the_clock_and_reports_what_it_takes(speech_like):
    opus = Opus()
    assert "opus" in opus.version.lower()
    audio = Audio(speech_like(3.0), 16_000)
    low, high = opus(audio, 8), opus(audio, 24)
    for result in (low, high):
        assert result.audio.sample_rate == 16_000
        assert len(result.audio.samples) == len(audio.samples)
    assert 4 < low.kilobits < 10 < high.kilobits < 30
    lag = np.correlate(high.audio.samples[:16_000], audio.samples[100:15_900], mode="valid")
    assert int(lag.argmax()) == 100  # nothing is delayed


@needs_opus
def test_the_bitrate_is_the_one_that_opusenc_reports(speech_like, tmp_path):
    audio = Audio(speech_like(2.0), 16_000)
    audio.write(tmp_path / "a.wav")
    said = subprocess.run(
        ["opusenc", "--bitrate", "16", tmp_path / "a.wav", tmp_path / "a.opus"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    wanted = float(said.partition("Bitrate:")[2].split()[0])
    # opusenc divides by the length of its packets, which cover a little more than the recording.
    assert Opus()(audio, 16).kilobits == pytest.approx(wanted, rel=0.03)


@pytest.mark.skipif(shutil.which("false") is None, reason="there is no program that fails")
def test_an_encoder_that_fails_is_an_error(speech_like, monkeypatch):
    false = shutil.which("false")
    monkeypatch.setattr(shutil, "which", lambda name: false)
    with pytest.raises(AudioError, match="opusenc: exit code 1"):
        Opus()(Audio(speech_like(1.0), 16_000), 16)
