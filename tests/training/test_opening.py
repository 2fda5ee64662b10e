"""Which recordings are for training, which for validation, and what is left out."""

from pathlib import Path

import pytest
import torch

from audiolm.errors import CorpusError
from audiolm.training.distributed import World
from audiolm.training.opening import DataConfig, Opened, open_recordings


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
