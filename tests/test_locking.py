"""Several processes that write into one folder: they wait, and nothing that one saved is lost."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from audiolm import locking
from audiolm.locking import HeldError, locked
from audiolm.model_io.folder import LOCK, load_part, save_part
from audiolm.model_io.manifest import read_manifest
from tiny import tiny_model

SAVER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from audiolm.model_io import folder as module
from tiny import tiny_model
folder, name = Path(sys.argv[2]), sys.argv[3]
part = tiny_model().parts[name]
read = module.read_manifest
def slowly(path):  # without the lock, the other one would write between reading and writing
    manifest = read(path)
    time.sleep(0.2)
    return manifest
module.read_manifest = slowly
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    module.save_part(folder, name, part)
"""


def test_two_processes_save_parts_at_once_and_both_are_there(tmp_path):
    lm, folder = tiny_model(), tmp_path / "model"
    save_part(folder, "codec", lm.codec)
    tests = str(Path(__file__).parent)
    names = ["stage_coarse", "stage_fine"]
    savers = [
        subprocess.Popen(
            [sys.executable, "-c", SAVER, tests, str(folder), name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in names
    ]  # fmt: skip
    for saver in savers:
        assert saver.stdout.readline() == "ready\n"
    for saver in savers:
        saver.stdin.write("go\n")
        saver.stdin.flush()
    for saver in savers:
        saver.communicate(timeout=120)
        assert saver.returncode == 0
    assert set(read_manifest(folder).parts) == {"codec", *names}
    for name in names:
        assert load_part(folder, name).fingerprint() == lm.parts[name].fingerprint()
    assert not (folder / LOCK).exists()


def test_threads_wait_for_each_other(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(20):
            with locked(tmp_path / LOCK):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_a_process_left_behind_keeps_nobody_waiting(tmp_path):
    (tmp_path / LOCK).touch()
    with locked(tmp_path / LOCK):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_put_in_its_place_keeps_its_own_lock(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    with locked(folder / LOCK):
        folder.rename(tmp_path / "old")
        folder.mkdir()
        with locked(folder / LOCK):  # the new folder is nobody's yet
            pass
    assert list(folder.iterdir()) == []


def test_without_fcntl_writing_works_too(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "fcntl", None)
    save_part(tmp_path, "codec", tiny_model().codec)
    assert list(json.loads((tmp_path / "model.json").read_text())["parts"]) == ["codec"]


def test_who_does_not_wait_is_told_who_is_at_work(tmp_path):
    path = tmp_path / "lock"
    with locked(path), pytest.raises(HeldError, match=f"^{os.getpid()}$"), locked(path, wait=False):
        raise AssertionError("two are in")
    with locked(path, wait=False):
        pass


def test_a_lock_is_no_link_to_a_file_of_somebody_else(tmp_path):
    (tmp_path / "letter").write_text("dear")
    (tmp_path / "lock").symlink_to(tmp_path / "letter")
    with pytest.raises(OSError), locked(tmp_path / "lock"):
        raise AssertionError("locked")
    assert (tmp_path / "letter").read_text() == "dear"
