"""What is installed is whole: a wheel, built here, in an environment with nothing else of ours."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built of a copy, so that nothing of an earlier build gets in."""
    pytest.importorskip("setuptools", minversion="77")
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--no-index", "--wheel-dir", str(place), str(source)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    (built,) = place.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """`installed(*arguments)`: the command `audiolm` of an environment with the wheel in it.

    What it depends on is that of this environment, found through a .pth file; our own code is not:
    an editable install of it here is switched off by the order of the paths.
    """
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False, symlinks=True)
    paths = {"base": str(place), "platbase": str(place)}
    packages = Path(sysconfig.get_path("purelib", "venv", paths))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    programs = Path(sysconfig.get_path("scripts", "venv", paths))
    python = programs / Path(sys.executable).name
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += ["--no-deps", "--no-index", str(wheel)]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [str(programs / "audiolm"), *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, env=environment, cwd=place)

    run.packages = packages
    return run


def test_every_file_of_the_package_is_in_the_wheel(wheel) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    source = ROOT / "src"
    for path in (source / "audiolm").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(source).as_posix() in packed
    assert not any(name.startswith("tests") for name in packed)
    assert any(name.endswith("licenses/LICENSE") for name in packed)


def test_it_runs_with_the_bundled_model(installed, tmp_path) -> None:
    version = installed("--version")
    assert version.stdout.startswith("audiolm "), version.stderr
    about = installed("info", "--json")
    assert about.returncode == 0, about.stderr
    folder = Path(json.loads(about.stdout)["folder"])
    assert folder == installed.packages / "audiolm" / "models" / "speech"
    out = tmp_path / "out.wav"
    made = installed("continue", folder / "prompt.flac", "-o", out, "--seconds", 0.5, "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["outputs"][0]["seconds"] == pytest.approx(3.5, abs=0.05)
    assert out.stat().st_size > 100_000


def test_the_versions_of_python() -> None:
    listed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert listed == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == f">={listed[0]}"


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_version_of_python_can_read_the_source(version) -> None:
    """Of those on this machine: a file that a younger one alone can read is soon written."""
    python = [f"python{version}", "-c"]
    known_to_pyenv = os.environ | {"PYENV_VERSION": version}
    try:
        subprocess.run([*python, "pass"], check=True, capture_output=True, env=known_to_pyenv)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"there is no python{version} on this machine")
    reads = "import ast, sys; [ast.parse(open(path, 'rb').read()) for path in sys.argv[1:]]"
    source = sorted(map(str, (ROOT / "src" / "audiolm").rglob("*.py")))
    answer = subprocess.run(
        [*python, reads, *source], capture_output=True, text=True, env=known_to_pyenv
    )
    assert answer.returncode == 0, answer.stderr


def test_the_container_is_built_of_what_is_there() -> None:
    """It cannot be built in a test: its lines are held against the project instead."""
    lines = (ROOT / "Dockerfile").read_text("utf-8")
    version = re.search(r"^FROM python:(3\.\d+)-slim$", lines, re.MULTILINE)[1]
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE)
    for words in re.findall(r"^COPY (.+)$", lines, re.MULTILINE):
        for name in words.split()[:-1]:
            assert (ROOT / name).exists()
            assert name in let_in
    for extra in re.findall(r'"/src\[(\w+)\]"', lines):
        assert extra in PROJECT["optional-dependencies"]
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", lines, re.MULTILINE)
    assert json.loads(entry)[0] in PROJECT["scripts"]
