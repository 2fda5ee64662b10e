"""The whole chain as a user meets it: `audiolm train` on a folder, then every verb on its model."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiolm.audio.files import read
from audiolm.cli.main import main
from audiolm.model_io.manifest import read_manifest
from audiolm.training.step_folder import StepFolder

TRAINED = ("codec", "w2v_bert", "semantic", "coarse", "fine", "acoustic_only")
PATIENCE = 1200
"""Seconds after which a process is taken for stuck; on an idle machine it takes ten."""


@pytest.fixture(scope="module")
def prompt(speech_like, tmp_path_factory) -> Path:
    """Two seconds of a speaker that nobody was trained on."""
    path = tmp_path_factory.mktemp("prompt") / "prompt.wav"
    soundfile.write(path, speech_like(2.0, seed=77, speaker=900), 16_000)
    return path


@pytest.fixture
def audiolm(trained_model, capsys) -> Callable[..., dict]:
    """`audiolm("generate", ...)`: what the verb answers with --json, of the trained model."""

    def run(*arguments) -> dict:
        command = [*map(str, arguments), "--model", str(trained_model), "--json", "--threads", "1"]
        assert main(command) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return json.loads(said.out)

    return run


def process(*arguments) -> subprocess.Popen:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "audiolm", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(started: subprocess.Popen) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    try:
        out, err = started.communicate(timeout=PATIENCE)
    finally:
        started.kill()
    return started.returncode, out, err


def sound(path: Path, samples: int) -> np.ndarray:
    """The samples of a file that is as long as asked, and holds a sound."""
    written = soundfile.info(path)
    assert (written.frames, written.samplerate, written.channels) == (samples, 16_000, 1)
    audio = read(path).samples
    assert np.isfinite(audio).all()
    assert np.sqrt(np.mean(audio**2)) > 1e-3
    return audio


def test_info(audiolm, trained_model) -> None:
    report = audiolm("info", trained_model)
    assert report["preset"]["name"] == "tiny"
    assert set(report["parts"]) == {
        "codec",
        "semantic",
        "stage_semantic",
        "stage_coarse",
        "stage_fine",
        "stage_acoustic_only",
        "stage_parallel",
    }
    assert all(part["parameters"] > 1000 for part in report["parts"].values())
    assert report["data"]["recordings"]["train files"] == 8


def test_continue_as_a_process(trained_model, prompt, tmp_path) -> None:
    out = tmp_path / "out.wav"
    arguments = ("continue", prompt, "-o", out, "--seconds", 1, "--model", trained_model, "--json")
    code, said, err = finished(process(*arguments))
    assert (code, err) == (0, "")
    (made,) = json.loads(said)["outputs"]
    assert made["seconds"] == 3.0
    sound(out, 48_000)


def test_continue_and_the_baseline_differ_beyond_the_prompt_only(audiolm, prompt, tmp_path) -> None:
    ours, theirs = tmp_path / "ours.wav", tmp_path / "theirs.flac"
    audiolm("continue", prompt, "-o", ours, "--seconds", 0.7)
    audiolm("continue", prompt, "-o", theirs, "--seconds", 0.7, "--baseline", "acoustic-only")
    one, other = sound(ours, 43_200), sound(theirs, 43_200)
    assert not np.allclose(one[32_000:], other[32_000:], atol=1e-3)


def test_resynthesize(audiolm, prompt, tmp_path) -> None:
    audiolm("resynthesize", prompt, "-o", tmp_path / "out.wav")
    sound(tmp_path / "out.wav", 32_000)


def test_edit(audiolm, prompt, tmp_path) -> None:
    out, gap = tmp_path / "out.wav", ("--start", 0.8, "--end", 1.2)
    audiolm("edit", prompt, "-o", out, *gap, "--seconds", 0.6)
    made, own = sound(out, 35_200), read(prompt).samples
    assert np.array_equal(made[:12_400], own[:12_400])
    assert np.array_equal(made[22_800:], own[19_600:])
    audiolm("edit", prompt, "-o", out, *gap, "--keep-content")
    kept = sound(out, 32_000)
    assert np.array_equal(kept[:12_400], own[:12_400])
    assert not np.array_equal(kept[13_000:19_000], own[13_000:19_000])


def test_generate(audiolm, tmp_path) -> None:
    audiolm("generate", "-o", tmp_path / "a.wav", "--seconds", 1.1)
    audiolm("generate", "-o", tmp_path / "b.wav", "--seconds", 1.1, "--seed", 1)
    one, other = (sound(tmp_path / name, 17_600) for name in ("a.wav", "b.wav"))
    assert not np.array_equal(one, other)


def test_reconstruct_with_few_levels_and_with_all(audiolm, prompt, tmp_path, speech_like) -> None:
    odd = tmp_path / "odd.wav"
    soundfile.write(odd, speech_like(1.0, seed=5)[:12_345], 16_000)
    audiolm("reconstruct", odd, "-o", tmp_path / "one.wav", "--levels", 1)
    audiolm("reconstruct", odd, "-o", tmp_path / "all.wav")
    one, every = (sound(tmp_path / name, 12_345) for name in ("one.wav", "all.wav"))
    assert not np.array_equal(one, every)


def test_a_finished_training_answers_at_once(trained_model, training_corpus, capsys) -> None:
    arguments = ["train", str(training_corpus), "--out", str(trained_model), "--preset", "tiny"]
    assert main([*arguments, "--json"]) == 0
    said = capsys.readouterr()
    steps = json.loads(said.out)["steps"]
    assert steps["codec"]["steps"] == 30
    assert said.err.count("done already") == len(steps) == 9


def wait_for(path: Path, started: subprocess.Popen) -> None:
    """Until a file is there, while the process that is to write it runs."""
    until = time.monotonic() + PATIENCE
    while not path.exists():
        assert started.poll() is None, started.communicate()[1]
        assert time.monotonic() < until, f"{path} does not come"
        time.sleep(0.005)


def train_losses(model: Path, step: str) -> dict[int, set[float]]:
    """By number of updates, every loss that was ever logged there."""
    losses: dict[int, set[float]] = {}
    for line in (model / "training" / step / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["kind"] == "train":
            losses.setdefault(entry["step"], set()).add(entry["loss"])
    return losses


def test_killed_and_started_again_it_comes_to_the_same(
    trained_model, training_corpus, tmp_path
) -> None:
    model = tmp_path / "model"
    arguments = ["train", training_corpus, "--out", model, "--preset", "tiny", "--threads", 1]
    for step in ("codec", "w2v_bert"):
        arguments += ["--set", f"training.{step}.optimization.checkpoint_seconds=0.01"]
    for step in ("codec", "w2v_bert"):
        started = process(*arguments, "--quiet")
        wait_for(model / "training" / step / "checkpoint.pt", started)
        started.send_signal(signal.SIGKILL)
        assert finished(started)[0] == -signal.SIGKILL
        assert StepFolder(model / "training" / step).done() is None, "killed too late to tell"
    code, _, err = finished(process(*arguments))
    assert code == 0
    assert "codec: done already" in err
    assert "w2v_bert: resumed at step" in err
    for step in TRAINED:
        losses = train_losses(model, step)
        assert set(losses) == {20, 30}
        assert losses == train_losses(trained_model, step), step
    parts, expected = read_manifest(model).parts, read_manifest(trained_model).parts
    assert {n: p.fingerprint for n, p in parts.items()} == {
        n: p.fingerprint for n, p in expected.items()
    }
    assert not list(model.rglob(".*.part"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_interrupted_it_keeps_a_checkpoint_and_says_how_to_go_on(training_corpus, tmp_path) -> None:
    model = tmp_path / "my model"  # to be quoted in a shell
    arguments = ["train", training_corpus, "--out", model, "--preset", "tiny", "--only", "codec"]
    arguments += ["--set", "training.codec.optimization.checkpoint_seconds=0.01"]
    arguments += ["--set", "training.codec.optimization.steps=100000", "--threads", 1]
    started = process(*arguments, "--restart")
    checkpoint = model / "training" / "codec" / "checkpoint.pt"
    wait_for(checkpoint, started)
    started.send_signal(signal.SIGINT)
    code, out, err = finished(started)
    assert (code, out) == (130, "")
    *notes, how, last = (line for line in err.splitlines() if line)
    assert last == "audiolm: interrupted"
    assert shlex.split(how.removeprefix("audiolm: to go on: ")) == ["audiolm", *map(str, arguments)]
    assert any(f"checkpoint kept in {checkpoint}" in note for note in notes)
    assert checkpoint.exists()
    assert not list(model.rglob(".*.part"))
