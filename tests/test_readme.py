"""Every command and every line of Python in the README does what it says, on a tiny model."""

import re
import shlex
from pathlib import Path

import pytest

from audiolm import pretrained
from audiolm.cli.main import main
from tiny import noise, tiny_model

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    line.split("#")[0].strip()
    for block in blocks("bash")
    for line in block.splitlines()
    if line.startswith("audiolm ")
]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with what the README speaks of, and a bundled model called speech."""
    folder = tmp_path_factory.mktemp("readme")
    tiny_model().save(folder / "models" / "speech")
    for name in ("prompt.wav", "speech.wav", "models/speech/prompt.wav"):
        noise(1.0).write(folder / name)
    (folder / "RECORDINGS").mkdir()
    for number in range(5):
        noise(2.5, number).write(folder / "RECORDINGS" / f"{number}.wav")
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(pretrained, "BUNDLED", place / "models")


def test_there_are_commands_of_every_verb() -> None:
    verbs = {shlex.split(command)[1] for command in COMMANDS}
    assert verbs >= {
        "continue", "resynthesize", "generate", "reconstruct", "info", "benchmark", "train",
        "serve",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(command: str, place: Path, capsys) -> None:
    words = shlex.split(command)[1:]
    if words[0] == "train":  # as written it takes 90 minutes
        at = words.index("--minutes")
        words[at : at + 2] = ["--preset", "tiny", "--set", "training.codec.adversarial_from=1"]
        words = ["my-model" if word == "speech" else word for word in words]  # a tiny one as well
    if words[0] == "continue" and "my-model" in words:
        words[words.index("my-model")] = "models/speech"
    if words[0] == "serve":  # it goes on until Ctrl-C; tests/cli/test_serve.py starts one
        words.append("--help")
    assert main(words) == 0, capsys.readouterr().err
    for number, word in enumerate(words):
        if word in ("-o", "--out"):
            out = Path(words[number + 1])
            several = out.with_name(f"{out.stem}-1{out.suffix}")
            assert out.exists() or several.exists()


@pytest.mark.parametrize("block", blocks("python"))
def test_python(block: str) -> None:
    exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("target", ["demo", "test", "check", "format"])
def test_targets_of_make(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_files_that_are_named_exist() -> None:
    for name in re.findall(r"\]\((?!http|#)([^)]+)\)|`((?:src|docs|tests)/[\w./]+)`", README):
        assert (ROOT / (name[0] or name[1])).exists(), name
