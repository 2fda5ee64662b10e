"""Which recordings are for training, which for validation, and what is left out."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiolm.audio.files import read
from audiolm.errors import CorpusError
from audiolm.training.distributed import World
from audiolm.training.opening import DataConfig, Opened, open_recordings
from pretend_gpu import pretend_gpu


@pytest.fixture
def opened(tmp_path):
    def run(root: Path, **data) -> Opened:
        place, cpu = tmp_path / "place", torch.device("cpu")
        return open_recordings(root, DataConfig(**data), place, cpu, World(), seed=3, quiet=True)

    return run


def voices(recordings) -> set[str]:
    return {recording.speaker for recording in recordings.store.recordings}


def test_no_speaker_is_in_both_parts(opened, corpus_folder) -> None:
    root = corpus_folder(9, layout="librispeech", speakers=3)
    found = opened(root, validation_share=0.3)
    assert found.both == (found.train, found.validation)
    assert len(found.train) + len(found.validation) == 9
    assert not voices(found.train) & voices(found.validation)
    assert found.skipped == []
    assert found.summary() == {
        "train files": len(found.train),
        "train hours": pytest.approx(found.train.hours, abs=1e-3),
        "validation files": len(found.validation),
        "validation hours": pytest.approx(found.validation.hours, abs=1e-3),
    }


def test_a_folder_of_others_is_for_validation_instead(opened, corpus_folder) -> None:
    root = corpus_folder(4, layout="librispeech")
    other = corpus_folder(2, layout="librispeech", name="other", seconds=1.55)
    found = opened(root, validation=str(other))
    assert (len(found.train), len(found.validation)) == (4, 2)
    assert all(other in r.path.parents for r in found.validation.store.recordings)


@pytest.mark.parametrize("pack", [True, False])
def test_what_cannot_be_read_is_left_out_and_named(opened, corpus_folder, pack) -> None:
    root = corpus_folder(6)
    (root / "words.wav").write_text("these are no samples")
    found = opened(root, validation_share=0.3, pack=pack)
    assert len(found.train) + len(found.validation) == 6
    (reason,) = found.skipped
    assert "words.wav" in reason


def test_one_recording_leaves_none_for_validation(opened, corpus_folder) -> None:
    with pytest.raises(CorpusError, match=r"single speaker or recording.*--validation"):
        opened(corpus_folder(1))


def test_everything_that_is_left_out_is_counted_by_kind_and_named(opened, corpus_folder) -> None:
    root = corpus_folder(4, layout="librispeech", name="all/train-clean").parent
    corpus_folder(2, layout="librispeech", name="all/dev-clean", seconds=1.55)
    corpus_folder(3, layout="librispeech", name="all/test-clean", seconds=1.75)
    (root / "a.m4a").write_bytes(b"x")
    (root / "b.m4a").write_bytes(b"x")
    (root / "words.wav").write_text("these are no samples")
    found = opened(root)
    assert (len(found.train), len(found.validation)) == (4, 2)
    assert found.left_out == ("3 files are of the test split, 2 end in .m4a, 1 cannot be read")
    assert len(found.skipped) == 6
    for name in ("a.m4a", "b.m4a", "words.wav"):
        assert sum(name in reason for reason in found.skipped) == 1
    assert sum("test-clean" in reason for reason in found.skipped) == 3


@pytest.mark.parametrize("pack", [True, False])
def test_validation_recordings_are_not_trained_on(opened, corpus_folder, tmp_path, pack) -> None:
    """Neither the files themselves, nor links to them, nor copies under other names."""
    root = corpus_folder(7)
    other = tmp_path / "other"
    other.mkdir()
    (other / "same.wav").symlink_to(root / "001.wav")
    (other / "linked.wav").hardlink_to(root / "002.wav")
    samples, rate = soundfile.read(root / "004.wav", dtype="int16")
    soundfile.write(other / "copied.flac", samples, rate)
    found = opened(root, validation=str(other), pack=pack)
    assert [r.id for r in found.train.store.recordings] == ["000", "003", "005", "006"]
    assert len(found.validation) == 3
    assert found.left_out == "3 files are among the validation recordings too"
    assert "004.wav: is among the validation recordings too" in found.skipped[2]
    waveform, _ = found.train.whole([1])
    assert np.array_equal(waveform[0], read(root / "003.wav").samples)
    assert opened(root, validation=str(other), pack=pack).train.fingerprint == (
        found.train.fingerprint
    )


def test_a_part_of_the_corpus_may_be_for_validation(opened, corpus_folder) -> None:
    root = corpus_folder(4, layout="librispeech")
    found = opened(root, validation=str(root / "100"))
    assert voices(found.train) == {"101"} and voices(found.validation) == {"100"}


def test_a_validation_of_all_training_recordings_is_refused(opened, corpus_folder) -> None:
    root = corpus_folder(3)
    with pytest.raises(CorpusError, match=r"000\.wav: is, as all .* among those for validation"):
        opened(root, validation=str(root))


def test_the_test_split_is_not_trained_on_beside_a_folder_for_validation(
    opened, corpus_folder
) -> None:
    root = corpus_folder(4, layout="librispeech", name="all/train").parent
    corpus_folder(2, layout="librispeech", name="all/test", seconds=1.75)
    other = corpus_folder(1, name="other", seconds=1.55)
    assert len(opened(root, validation=str(other)).train) == 4


def test_what_headers_said_is_kept_beside_the_packs(opened, corpus_folder, tmp_path) -> None:
    root = corpus_folder(4)
    before = sorted(root.rglob("*"))
    opened(root, validation=str(corpus_folder(1, name="other", seconds=1.55)))
    assert (tmp_path / "place" / "headers.jsonl").exists()
    assert (tmp_path / "place" / "validation-headers.jsonl").exists()
    assert sorted(root.rglob("*")) == before


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
@pytest.mark.parametrize("pack", [True, False])
def test_names_that_are_no_utf8(opened, corpus_folder, tmp_path, pack) -> None:
    root = corpus_folder(3)
    (root / "001.wav").rename(root / os.fsdecode(b"caf\xe9.wav"))
    (root / os.fsdecode(b"gar\xe7on.wav")).write_text("no recording")
    (root / os.fsdecode(b"\xe0.m4a")).write_text("no recording")
    found = opened(root, pack=pack)
    assert len(found.train) + len(found.validation) == 3
    text = "\n".join(found.skipped)
    assert r"gar\xe7on.wav" in text and r"\xe0.m4a" in text
    text.encode("utf-8")
    for path in (tmp_path / "place").rglob("*.json*"):
        for line in path.read_bytes().decode("utf-8").splitlines():
            json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8")


CASES = Path(__file__).parents[3] / "shared" / "cases"


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("name", ["f3_flac_length_unknown.flac", "f4_gsm610.wav"])
def test_forms_that_only_a_stream_or_a_start_can_be_read_of(
    opened, corpus_folder, name, pack
) -> None:
    """A FLAC of unknown length, a coding without seeking: used like any other."""
    if not (CASES / name).exists():
        pytest.skip(f"{CASES / name} is not there")
    root = corpus_folder(2)
    shutil.copy(CASES / name, root)
    found = opened(root, pack=pack)
    stores = [part.store for part in found.both]
    (store,) = (s for s in stores if any(r.path.name == name for r in s.recordings))
    index = [r.path.name for r in store.recordings].index(name)
    whole = read(root / name, 16_000).samples
    assert store.length(index) == len(whole)
    assert np.allclose(store.crop(index, 8000, 4000), whole[8000:12_000], atol=1e-3)


def test_recordings_that_do_not_fit_into_the_gpu_stay_on_the_host_and_that_is_said_once(
    corpus_folder, tmp_path, monkeypatch, capsys
) -> None:
    root = corpus_folder(4)
    with pretend_gpu():
        for free, stays in ((10**9, False), (200_000, True)):
            monkeypatch.setitem(vars(torch.cuda), "mem_get_info", lambda d, free=free: (free, free))
            found = open_recordings(
                root,
                DataConfig(),
                tmp_path / "place",
                torch.device("cuda"),
                World(),
                seed=0,
                quiet=False,
            )
            said = [line for line in capsys.readouterr().err.splitlines() if "GPU" in line]
            assert found.train.stays_on_host == stays
            assert len(said) == stays
            waveform, lengths = found.train.batch(0, 0, 2, 0.5)
            assert waveform.device.type == lengths.device.type == "cuda"
