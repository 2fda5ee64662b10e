"""Training on this machine: how many steps and tokens a second, and how much of what it can do."""

import importlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
import torch

from audiolm.data.corpus import open_corpus
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP
from audiolm.training.distributed import World
from audiolm.training.optimizer import build_optimizer, only
from audiolm.training.preset import Preset, load_preset
from audiolm.training.recordings import Recordings
from audiolm.training.tasks.codec import CodecTask
from audiolm.training.tasks.task import Task
from audiolm.training.tasks.w2v_bert import W2vBertTask
from document import Section, number, share
from machine import matrix_rate, threads
from timing import in_turns, timed

CPU = torch.device("cpu")
CROPS = 4
"""Crops of tokens in a stage's step."""
PROGRESS = 0.5
"""Of the training, as a task sees it: halfway."""
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def estimate_scale() -> ModuleType:
    """`scripts/estimate_scale.py`, which times the steps of stages and counts operations."""
    if str(SCRIPTS) not in sys.path:
        sys.path.append(str(SCRIPTS))
    return importlib.import_module("estimate_scale")


def measure(preset_name: str, cores: int, repeats: int) -> Section:
    """Steps of every task of a preset, on all cores."""
    preset = load_preset(preset_name)
    with threads(cores), tempfile.TemporaryDirectory() as folder:
        rates = {
            dtype: matrix_rate(getattr(torch, dtype), 5 * repeats)
            for dtype in ("float32", "bfloat16")
        }
        best = max(rates.values())
        rows = []
        for name, task, sound in _sound_tasks(preset, Path(folder)):
            took, reached = _steps(task, repeats)
            hop = CODEC_HOP if name == "codec" else SEMANTIC_HOP
            tokens = sound * SAMPLE_RATE / hop
            crops = f"{task.optimization.batch_size} x {sound / task.optimization.batch_size:g} s"
            rows.append(
                [name, crops, *map(number, (1 / took, tokens / took, reached / 1e9)),
                 share(reached / best)]
            )  # fmt: skip
        for name, told in estimate_scale().measure_stages(preset, CROPS).items():
            seconds = preset.training.stages[name].crop_seconds
            tokens = told["positions"] * CROPS * told["steps/s"]
            reached = told["GFLOP/s reached"]
            rows.append(
                [f"stage {name}", f"{CROPS} x {seconds:g} s",
                 *map(number, (told["steps/s"], tokens, reached)), share(1e9 * reached / best)]
            )  # fmt: skip
    return Section(
        "Training",
        f"Steps of the preset `{preset_name}` on {cores} thread{'s' * (cores > 1)}: forward, "
        "backward and update in the preset's precision, for codec and w2v-BERT with making the "
        f"batch; medians of {repeats}, of stages the least of two. Tokens are frames of the "
        "codec, semantic steps, or positions of a stage's sequence. Operations of matrix products "
        "and convolutions are counted by PyTorch; the "
        "share is that of the faster of the measured rates of a product of 1024 x 1024 matrices: "
        + ", ".join(f"{dtype} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in rates.items())
        + ".",
        ["task", "crops", "steps/s", "tokens/s", "GFLOP/s", "share of the rate"],
        rows,
        [
            "What 60,000 h would take on GPUs is computed in [SCALE.md](SCALE.md) "
            "(`python scripts/estimate_scale.py`)."
        ],
    )


def _sound_tasks(preset: Preset, folder: Path) -> Iterator[tuple[str, Task, float]]:
    """Codec and w2v-BERT on noise: name, task, and how much sound one step hears."""
    corpus = folder / "corpus"
    corpus.mkdir()
    for number_ in range(8):
        noise = 0.1 * np.random.default_rng(number_).standard_normal(8 * SAMPLE_RATE)
        soundfile.write(corpus / f"{number_}.wav", noise, SAMPLE_RATE, subtype="PCM_16")
    recordings = Recordings.open(
        open_corpus(corpus), folder / "packed", CPU, World(), seed=0, quiet=True
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        codec, w2v_bert = preset.training.codec, preset.training.w2v_bert
        yield (
            "codec",
            CodecTask(preset.codec, codec, recordings, recordings),
            codec.crop_seconds * codec.optimization.batch_size,
        )
        yield (
            "w2v-BERT",
            W2vBertTask(preset.w2v_bert, w2v_bert, recordings, recordings, seed=0),
            w2v_bert.crop_seconds * w2v_bert.optimization.batch_size,
        )


def _steps(task: Task, repeats: int) -> tuple[float, float]:
    """Seconds of a step, and operations a second."""
    networks = task.networks.train()
    optimizers = {name: build_optimizer(n, task.optimization) for name, n in networks.items()}

    def step() -> None:
        batch = task.batch(0, 0, PROGRESS)
        for name, network in networks.items():
            optimizers[name].zero_grad(set_to_none=True)
            with only(network, networks), _autocast(task):
                loss: Any = task.loss(name, batch, PROGRESS).total
            if loss.requires_grad:
                loss.backward()
            optimizers[name].step()

    took = median(in_turns({task.name: timed(step)}, repeats)[task.name])
    operations: list[float] = []
    with estimate_scale().counted(operations):
        step()
    return took, operations[0] / took


@contextmanager
def _autocast(task: Task) -> Iterator[None]:
    """The precision that a task is trained in."""
    enabled = task.optimization.precision == "bf16"
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        yield
