"""What model.json says about how a model was made."""

import os
import subprocess
from pathlib import Path

import pytest

from audiolm.errors import ConfigurationError
from audiolm.training.model_parts import about_model, made_by
from audiolm.training.preset import load_preset


def test_folders_are_told_by_name_and_not_where_they_lie(tmp_path) -> None:
    preset = load_preset("tiny", [f"data.validation={tmp_path / 'others'}"])
    about = about_model(preset, tmp_path / "mine", {"train hours": 9.0})
    assert about["data"] == {"folder": "mine", "recordings": {"train hours": 9.0}}
    assert about["made_by"] == made_by()
    assert (about["prompt_seconds"], about["seconds"]) == (3.0, 7.0)
    expected = preset.model_dump(mode="json")
    expected["data"]["validation"] = "others"
    assert about["preset"] == expected
    assert str(tmp_path) not in str(about)


def test_made_by_names_the_version_and_no_repository_around_an_installation(monkeypatch) -> None:
    from audiolm._version import __version__
    from audiolm.training import model_parts as module

    assert made_by().split()[:2] == ["audiolm", __version__]
    monkeypatch.setenv("PATH", os.devnull)  # no git
    assert made_by() == f"audiolm {__version__}"
    monkeypatch.undo()
    monkeypatch.setattr(module, "__file__", str(Path("/usr/lib/x.py")))
    assert made_by() == f"audiolm {__version__}"  # not in a repository


def test_made_by_sees_a_change_in_any_room_of_the_package(tmp_path, monkeypatch) -> None:
    from audiolm.training import model_parts as module

    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init")
    for number, room in enumerate(("training", "codec")):
        (tmp_path / "package" / room).mkdir(parents=True)
        (tmp_path / "package" / room / "file.py").write_text(str(number))
        git("add", ".")
        git("commit", "-m", room)
    monkeypatch.setattr(
        module, "__file__", str(tmp_path / "package" / "training" / "model_parts.py")
    )
    commit = git("log", "-1", "--format=%h", "--abbrev=12")
    assert made_by().split()[2:] == [commit]
    (tmp_path / "notes.txt").write_text("beside the package")
    assert made_by().split()[2:] == [commit]
    for change in ("codec/file.py", "codec/new.py"):  # in a file, and a file more
        path = tmp_path / "package" / change
        before = path.read_text() if path.exists() else None
        path.write_text("changed")
        assert made_by().endswith(f" {commit}-dirty (uncommitted changes)")
        path.unlink() if before is None else path.write_text(before)
    assert made_by().split()[2:] == [commit]


def test_how_the_model_is_to_be_used_is_told() -> None:
    about = about_model(load_preset("small", ["acoustic=parallel"]), Path("mine"), {})
    assert about["sampling"]["semantic"] == {"temperature": 1.0}
    assert about["sampling"]["parallel"] == {"temperature": 1.0, "guidance": 1.5}
    assert (about["levels"], about["acoustic"]) == (4, "parallel")


def test_sampling_of_no_stage_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"sampling\.corse: no such stage; .*coarse"):
        load_preset("small", ["sampling.corse.temperature=0.7"])
