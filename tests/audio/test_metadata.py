"""What a container says of its sound: written with it, read back, and no sample changed."""

import numpy as np
import pytest
import soundfile

from audiolm.audio.files import read
from audiolm.audio.growing_wav import grow_wav, wav_pieces
from audiolm.audio.metadata import read_metadata
from audiolm.audio.origin import SYNTHETIC, Origin
from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError

ORIGIN = Origin("speech", "ab" * 32, "continuation", seed=2**62, prompt_seconds=3.0)
SAMPLES = np.linspace(-0.5, 0.5, 1001).astype(np.float32)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "growing.wav", "pipe.wav"])
def test_written_and_read_back(tmp_path, name):
    path = tmp_path / name
    blocks = np.array_split(SAMPLES, 3)
    if name == "growing.wav":
        grow_wav(path, blocks, 16_000, ORIGIN)
    elif name == "pipe.wav":
        path.write_bytes(b"".join(wav_pieces(blocks, 16_000, ORIGIN)))
    else:
        Audio(SAMPLES, 16_000, ORIGIN).write(path)
    found = read_metadata(path)
    assert found.origin == ORIGIN
    assert found.tags["title"].startswith("Made by a machine: audiolm ")
    assert found.tags["software"].startswith("audiolm ")
    assert found.tags["date"] == ORIGIN.made
    assert SYNTHETIC in found.tags["comment"]
    if name.endswith("wav"):
        assert found.tags["bext.description"] == ORIGIN.sentence
        assert found.tags["bext.originator_reference"] == "ab" * 16
        assert f"T={ORIGIN.sentence}" in found.tags["bext.coding_history"]
    assert np.allclose(read(path).samples, SAMPLES, atol=1 / 65536)


def test_metadata_come_before_the_sound_in_a_wav_of_even_chunks(tmp_path):
    path = tmp_path / "a.wav"
    Audio(SAMPLES, 16_000, ORIGIN).write(path)
    data = path.read_bytes()
    names, at = [], 12
    while at < len(data):
        names.append(data[at : at + 4])
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    assert names == [b"fmt ", b"LIST", b"bext", b"data"]
    assert at == len(data) == 8 + int.from_bytes(data[4:8], "little")


def test_a_growing_file_is_whole_after_every_block(tmp_path):
    path = tmp_path / "a.wav"
    seen = []

    def blocks():
        for block in np.array_split(SAMPLES, 4):
            if path.exists():
                seen.append((soundfile.info(path).frames, read_metadata(path).origin))
            yield block

    assert grow_wav(path, blocks(), 16_000, ORIGIN) == 1001
    assert seen == [(251, ORIGIN), (501, ORIGIN), (751, ORIGIN)]


def test_what_was_cut_or_resampled_was_still_made(tmp_path):
    audio = Audio(SAMPLES, 16_000, ORIGIN)
    for derived in (audio.first(0.01), audio.last(0.01), audio.resampled(8000)):
        assert derived.origin == ORIGIN


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_recordings_say_nothing(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Audio(SAMPLES, 16_000).write(path)
    found = read_metadata(path)
    assert found.origin is None and "comment" not in found.tags


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("comment", ["hello", "[1]", '{"digital_source_type": 3}', "{"])
def test_what_others_say_is_read_and_is_no_origin(tmp_path, suffix, comment):
    path = tmp_path / f"a.{suffix}"
    with soundfile.SoundFile(path, "w", 16_000, 1) as file:
        file.comment = comment
        file.write(SAMPLES)
    found = read_metadata(path)
    assert found.tags["comment"] == comment and found.origin is None


def test_a_forged_comment_is_no_origin():
    said = ORIGIN.to_comment()
    assert Origin.of_comment(said) == ORIGIN
    assert Origin.of_comment(said.replace("4611686018427387904", '"0"')) is None


def test_no_recording_is_an_error(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"a\.wav"):
        read_metadata(tmp_path / "a.wav")
