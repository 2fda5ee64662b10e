"""Files that are written whole or not at all, and are on the disk before they take their name."""

import os
import sys
from pathlib import Path

import pytest

from audiolm.atomic import replacing


def test_what_was_written_takes_the_place_of_what_was_there(tmp_path) -> None:
    path = tmp_path / "a.json"
    for text in ("one", "two"):
        with replacing(path) as draft:
            draft.write_text(text)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, error) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as draft:
        draft.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform != "linux", reason="names of descriptors are asked of Linux")
def test_file_and_name_are_on_the_disk_before_it_returns(tmp_path, monkeypatch) -> None:
    """Or a power cut would leave the new name with nothing behind it."""
    path, done = tmp_path / "a.json", []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        done.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with replacing(path) as draft:
        draft.write_text("new")
    assert done == [(str(draft), False), (str(tmp_path), True)]
