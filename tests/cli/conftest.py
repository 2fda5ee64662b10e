"""What the tests of the command line share: a model, a prompt, and `main` in this process."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from audiolm.cli.main import main
from tiny import noise, tiny_model


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def audiolm(capsys, monkeypatch):
    """`audiolm("continue", prompt, "-o", out)`: run a command in this process."""
    monkeypatch.delenv("AUDIOLM_TRACEBACK", raising=False)

    def run(*arguments) -> Answer:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """A folder with a tiny model; not to be changed."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model(kinds=("semantic", "coarse", "fine", "acoustic_only")).save(folder)
    return folder


@pytest.fixture(scope="session")
def parallel_model(tmp_path_factory) -> Path:
    """A folder with a tiny model that makes codes either way; not to be changed."""
    folder = tmp_path_factory.mktemp("models") / "parallel"
    tiny_model(kinds=("semantic", "coarse", "parallel")).save(folder)
    return folder


@pytest.fixture
def prompt(tmp_path) -> Path:
    """A recording of one second."""
    path = tmp_path / "prompt.wav"
    noise(1.0).write(path)
    return path
