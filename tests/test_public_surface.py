"""What `import audiolm` offers, and that it costs nothing until it is used."""

import statistics
import subprocess
import sys
import time

import pytest

import audiolm

PUBLIC = [
    "Audio",
    "AudioError",
    "AudioLM",
    "AudioLMError",
    "ConfigurationError",
    "CorpusError",
    "Detection",
    "ModelFolderError",
    "Sampling",
    "Tokens",
    "TrainingError",
    "__version__",
    "detect",
    "example_prompt",
    "load",
    "read",
    "write",
]


def test_the_public_names_are_exactly_these():
    assert audiolm.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(audiolm))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there(name):
    assert getattr(audiolm, name) is not None


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'loda'"):
        _ = audiolm.loda


def test_every_error_is_an_audiolm_error():
    errors = [name for name in PUBLIC if name.endswith("Error")]
    assert all(issubclass(getattr(audiolm, name), audiolm.AudioLMError) for name in errors)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_answer_at_once(option):
    code = f"import sys; from audiolm.cli.main import main; main([{option!r}])"
    code += "; sys.exit(bool({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    times = []
    for _ in range(3):
        started = time.perf_counter()
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        times.append(time.perf_counter() - started)
        assert answer.returncode == 0, answer.stderr
        assert "audiolm" in answer.stdout
    assert statistics.median(times) < 0.5


def test_importing_the_package_imports_nothing_heavy():
    code = "import audiolm, sys; print({'torch', 'numpy', 'click'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
