"""From a folder of recordings to a model: the steps in order, each resumable, each done once.

    codec ──────────────────┐
                            ├─► tokens ─► semantic, coarse, fine, acoustic_only, parallel
    w2v_bert ─► clustering ─┘

The detector is made of a whole model, where it is asked for (`--only detector`).

A preset may have a second round between clustering and tokens: w2v-BERT goes on to name the first
clusters, and is clustered again.

The model folder receives each part as it is finished. Its `training/` folder holds what training
needs to go on: the resolved preset, packed recordings, checkpoints, logs, tokens. It can be deleted
when the model is done.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from audiolm.model_io.manifest import read_manifest
from audiolm.stages.kinds import KINDS
from audiolm.training import distributed
from audiolm.training.model_parts import lacking, made_by
from audiolm.training.plan import TrainingRequest, choose_steps, divide_minutes, make_context
from audiolm.training.step_folder import Done
from audiolm.training.steps.clustering import ClusteringStep
from audiolm.training.steps.codec import CodecStep
from audiolm.training.steps.detector import DetectorStep
from audiolm.training.steps.second_clustering import SecondClusteringStep
from audiolm.training.steps.second_round import SecondRoundStep
from audiolm.training.steps.stage import StageStep
from audiolm.training.steps.step import Context, Step
from audiolm.training.steps.tokens import TokensStep
from audiolm.training.steps.w2v_bert import W2vBertStep
from audiolm.training.training_folder import training_folder

__all__ = ["STEPS", "TrainingRequest", "train_model"]

STEPS: tuple[Step, ...] = (
    CodecStep(),
    W2vBertStep(),
    ClusteringStep(),
    SecondRoundStep(),
    SecondClusteringStep(),
    TokensStep(),
    *(StageStep(kind) for kind in KINDS),  # semantic, coarse, fine, ...
    DetectorStep(),
)
"""Every step there is, in the order in which they are taken; a preset's recipe names some."""


def train_model(request: TrainingRequest) -> dict[str, Any]:
    """Take the steps that are not done yet.

    Returns:
        The model folder, the metrics of each step, and what the folder still lacks to be heard.

    Raises:
        AudioLMError: for recordings, settings or a model folder that cannot be used; a full disk;
            another training in the same folder.
        KeyboardInterrupt: after a checkpoint was written; the same command goes on from there.
    """
    steps = choose_steps(STEPS, request.preset, request.only)
    divide_minutes(steps, request.preset, request.minutes)  # what cannot be is told first
    if request.start is not None:
        read_manifest(request.start)  # what is no model is told before anything is done
    world = distributed.join(request.device)
    with training_folder(request.out, request.preset, world) as folder:
        context = make_context(request, STEPS, steps, folder, world)
        if request.restart:
            set_aside(steps, context)
        for step in steps:
            if step.folder(context).done() is None:
                step.refuse_budget(context)  # before hours of training for the steps before it
        metrics = {step.name: take(step, context) for step in steps}
        context.parts.copy_stages()
        distributed.leave(world)
    return {"model": str(request.out), "steps": metrics, "lacks": lacking(request.out)}


def take(step: Step, context: Context) -> dict[str, float]:
    """Take one step, or say that it is done already. Returns its metrics."""
    world, preset = context.world, context.preset
    folder, settings = step.folder(context), step.settings(preset)
    folder.refuse_other(settings, step.keys())
    inputs, done = step.needs(context), folder.done()
    folder.refuse_other_inputs(inputs)
    if done is not None and not step.wants_more(context, done.metrics):
        note = f"done already ({done.seconds:.0f} s); --restart trains anew"
        context.reporter.say(f"{step.name}: {note}")
        return done.metrics
    distributed.wait(world)
    if world.writes:
        folder.begin(settings, inputs)
    torch.manual_seed(seed_of(step, preset.seed, world.rank))
    begun = time.monotonic()
    metrics = step.run(context)
    if world.writes:
        folder.finish(Done(inputs, metrics, round(time.monotonic() - begun, 1), made_by()))
    distributed.wait(world)
    return metrics


def seed_of(step: Step, seed: int, rank: int) -> int:
    """Each step begins with random numbers of its own: it depends on no step taken before it."""
    key = np.random.SeedSequence((seed, STEPS.index(step), rank))  # the same in every version
    return int(key.generate_state(1, np.uint64)[0])


def set_aside(steps: Sequence[Step], context: Context) -> None:
    """Begin these steps anew; what they had learnt is renamed.

    All of them before the first is taken: or those behind an interruption would look done.
    """
    if context.world.writes:
        for step in steps:
            step.folder(context).set_aside()
    distributed.wait(context.world)
