"""A disk that is really full: one line says so, nothing is lost, and the same command goes on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm.cli.main import main
from audiolm.data.corpus import Recording
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import TokenFormat, TokenStore
from audiolm.errors import CorpusError


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of 16 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root on Linux")
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Write a file that leaves so many bytes free; returns it."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    ballast.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - leave)))
    return ballast


def test_a_checkpoint_that_does_not_fit(disk, training_corpus, capsys) -> None:
    model = disk / "model"
    place = "training.codec.optimization"

    def train(steps: int) -> tuple[int, list[str]]:
        command = ["train", training_corpus, "--out", model, "--preset", "tiny", "--only", "codec"]
        command += ["--quiet", "--set", f"{place}.steps={steps}"]
        command += ["--set", f"{place}.checkpoint_seconds=0.000001"]
        command += ["--set", f"{place}.validations=1"]  # whose recordings would not fit either
        capsys.readouterr()
        return main([str(word) for word in command]), capsys.readouterr().err.splitlines()

    assert train(3)[0] == 0
    checkpoint = model / "training" / "codec" / "checkpoint.pt"
    assert checkpoint.stat().st_size > 300_000
    for leave, says in (
        (200_000, f"{checkpoint}: checkpoint not written, the disk is full; the one before it is"),
        (0, f"{model}: the disk is full; what is there is kept: make room and give the same"),
    ):
        before = checkpoint.read_bytes()
        ballast = fill(disk, leave)
        code, said = train(6)
        assert code == 2
        assert len(said) == 1
        assert said[0].startswith(f"audiolm: {says}")
        assert checkpoint.read_bytes() == before
        assert torch.load(checkpoint, weights_only=True)["step"] == 3
        assert not list(model.rglob(".*.part"))
        ballast.unlink()

    assert train(6) == (0, [])
    assert torch.load(checkpoint, weights_only=True)["step"] == 6
    log = (model / "training" / "codec" / "log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["step"] == 6
    assert all(json.loads(line)["step"] <= 6 for line in log)


def test_tokens_that_do_not_fit(disk) -> None:
    count = 400_000
    rows = [Recording("a", Path("a.wav"), 0.04 * count)]
    format = TokenFormat(semantic_fingerprint="s", clusters=16)
    ids = np.arange(count) % 16
    ballast = fill(disk, 100_000)
    writer = TokenWriter(disk / "tokens", rows, format)
    with pytest.raises(CorpusError, match=r"tokens: cannot be written \(.*; make room") as error:
        writer.write(0, [ids])
    assert "\n" not in str(error.value)
    assert not list(disk.rglob("*.safetensors")) and not list(disk.rglob(".*.part"))
    ballast.unlink()
    writer.write(0, [ids])
    assert writer.finish()
    assert len(TokenStore(disk / "tokens").semantic(0)) == count
