"""From a folder of recordings to a model: the steps in order, each resumable, each done once.

    codec ──────────────────┐
                            ├─► tokens ─► semantic, coarse, fine, acoustic_only
    w2v_bert ─► clustering ─┘

A preset may have a second round between clustering and tokens: w2v-BERT goes on to name the first
clusters, and is clustered again.

The model folder receives each part as it is finished. Its `training/` folder holds what training
needs to go on: the resolved preset, packed recordings, checkpoints, logs, tokens. It can be deleted
when the model is done.
"""

import errno
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiolm.errors import ConfigurationError, TrainingError
from audiolm.training import distributed
from audiolm.training.about import made_by
from audiolm.training.preset import (
    STEPS,
    Preset,
    StepName,
    is_stage,
    step_keys,
    step_settings,
)
from audiolm.training.step_folder import Done, StepFolder
from audiolm.training.workshop import Request, Workshop

__all__ = ["Request", "train_model"]

UNTIMED = ("clustering", "second_clustering", "tokens")
"""Steps that take the time they need."""
SECOND = ("second_round", "second_clustering")
"""Steps for which a preset must have a second round."""


def train_model(request: Request) -> dict[str, Any]:
    """Take the steps that are not done yet; returns what each came to.

    Raises:
        AudioLMError: for recordings, settings or a model folder that cannot be used; a full disk.
        KeyboardInterrupt: after a checkpoint was written; the same command goes on from there.
    """
    try:
        return _train_model(request)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TrainingError(
            f"{request.out}: the disk is full; what is there is kept: make room and give the same "
            "command again"
        ) from error


def _train_model(request: Request) -> dict[str, Any]:
    steps = _chosen_steps(request)
    minutes = {name: _minutes(request, name, steps) for name in steps}
    workshop = Workshop(request)
    workshop.recordings()  # whatever is wrong with them is said before hours of training
    if request.restart:
        _set_aside(workshop, steps)
    metrics = {name: _take(workshop, name, minutes[name]) for name in steps}
    workshop.parts.copy_stages()
    distributed.leave(workshop.world)
    return {"model": str(request.out), "steps": metrics}


def _chosen_steps(request: Request) -> list[StepName]:
    unknown = [name for name in request.only if name not in STEPS]
    if unknown:
        raise ConfigurationError(f"--only {unknown[0]}: not a step; use some of {', '.join(STEPS)}")
    chosen = [name for name in STEPS if name in (request.only or request.preset.recipe)]
    for name in chosen:
        if name in SECOND and request.preset.second_round is None:
            raise ConfigurationError(
                f"second_round: not in preset {request.preset.name}; add it, or choose other "
                "steps with --only"
            )
        if is_stage(name) and name not in request.preset.stages:
            raise ConfigurationError(
                f"stages.{name}: not in preset {request.preset.name}; add it, or choose other "
                "steps with --only"
            )
    return chosen


def _minutes(request: Request, name: StepName, steps: Sequence[StepName]) -> float | None:
    """The step's part of `--minutes`, by the preset's shares."""
    if request.minutes is None or name in UNTIMED:
        return None
    shares = {step: request.preset.shares.get(step, 1.0) for step in steps if step not in UNTIMED}
    if shares[name] == 0:
        raise ConfigurationError(
            f"shares.{name}: 0 leaves no time for it; raise it, or leave it out with --only"
        )
    return request.minutes * shares[name] / sum(shares.values())


def _set_aside(workshop: Workshop, steps: Sequence[StepName]) -> None:
    """Begin these steps anew; what they had learnt is renamed."""
    if workshop.world.writes:
        for name in steps:
            StepFolder(workshop.folder / name).set_aside()
    distributed.wait(workshop.world)


def _take(workshop: Workshop, name: StepName, minutes: float | None) -> dict[str, float]:
    """Take one step, or say that it is done already. Returns its figures."""
    workshop.minutes = minutes
    preset, world = workshop.preset, workshop.world
    folder, settings = StepFolder(workshop.folder / name), step_settings(preset, name)
    folder.refuse_other(settings, step_keys(name))
    inputs, done = workshop.inputs(name), folder.done()
    if folder.begun_on() not in (None, inputs):
        raise TrainingError(
            f"{folder.path}: was made from other parts than are there now; "
            f"give --only {name} --restart to make it anew"
        )
    if done is not None and not _wants_more(preset, name, minutes, done):
        workshop.messages.say(f"{name}: done already ({done.seconds:.0f} s); --restart trains anew")
        return done.metrics
    distributed.wait(world)
    if world.writes:
        folder.begin(settings, inputs)
    # Each step begins with random numbers of its own: it depends on no step taken before it.
    key = np.random.SeedSequence((preset.seed, STEPS.index(name), world.rank))
    torch.manual_seed(int(key.generate_state(1, np.uint64)[0]))
    begun = time.monotonic()
    method: Callable[[Path], dict[str, float]] = {
        "codec": workshop.codec,
        "w2v_bert": workshop.w2v_bert,
        "clustering": workshop.clustering,
        "second_round": workshop.second_round,
        "second_clustering": workshop.second_clustering,
        "tokens": workshop.tokens,
    }.get(name, lambda place: workshop.stage(name, place))
    metrics = method(folder.path)
    if world.writes:
        folder.finish(Done(inputs, metrics, round(time.monotonic() - begun, 1), made_by()))
    distributed.wait(world)
    return metrics


def _wants_more(preset: Preset, name: StepName, minutes: float | None, done: Done) -> bool:
    """Whether a finished training is asked to go on for longer than it did."""
    training = preset.training
    budgets = {stage: how.optimization for stage, how in training.stages.items()}
    budgets |= {
        "codec": training.codec.optimization,
        "w2v_bert": training.w2v_bert.optimization,
        "second_round": training.second_round.optimization,
    }
    if name not in budgets:
        return False
    asked = budgets[name].model_copy(update={"minutes": minutes or budgets[name].minutes})
    if asked.steps is None and asked.minutes is None:
        return False
    # A tenth more seconds is what the clock may be out by.
    return asked.progress(int(done.metrics["steps"]), 1.1 * done.metrics["seconds"]) < 1
