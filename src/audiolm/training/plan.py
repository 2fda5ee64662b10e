"""What a training was asked: which steps that means, how long each may take, what all are given."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from audiolm.errors import ConfigurationError
from audiolm.training.distributed import World
from audiolm.training.model_parts import ModelParts, about_model
from audiolm.training.opening import open_recordings
from audiolm.training.reporting import Reporter
from audiolm.training.steps.step import Context, Step

if TYPE_CHECKING:  # a preset names steps
    from audiolm.training.preset import Preset


@dataclass(frozen=True)
class TrainingRequest:
    """What `audiolm train` was asked."""

    folder: Path
    """The recordings."""
    out: Path
    """The model folder."""
    preset: "Preset"
    minutes: float | None = None
    """Time for all steps that are trained; None: each step's own."""
    only: Sequence[str] = ()
    """Steps to take; all of the recipe when empty."""
    start: Path | None = None
    """A model folder whose weights to start from, and whose parts to copy where no step makes them;
    None: from nothing. A step that has a checkpoint goes on from that."""
    restart: bool = False
    """Forget what the chosen steps had learnt, and begin them again."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    quiet: bool = False


def choose_steps(steps: Sequence[Step], preset: "Preset", only: Sequence[str]) -> list[Step]:
    """Those of `steps` that were asked for, or else those of the preset's recipe, in their order.

    Raises:
        ConfigurationError: for a step that there is not, or that the preset has no settings for.
    """
    names = [step.name for step in steps]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ConfigurationError(f"--only {unknown[0]}: not a step; use some of {', '.join(names)}")
    chosen = [step for step in steps if step.name in (only or preset.recipe)]
    for step in chosen:
        step.refuse_preset(preset)
    return chosen


def _possible_steps(steps: Sequence[Step], preset: "Preset") -> list[Step]:
    """Those of `steps` that the preset has settings for."""
    possible = []
    for step in steps:
        try:
            step.refuse_preset(preset)
        except ConfigurationError:
            continue
        possible.append(step)
    return possible


def divide_minutes(
    steps: Sequence[Step], preset: "Preset", minutes: float | None
) -> dict[str, float]:
    """What each of the steps that train gets of `--minutes`, by name and the preset's shares.

    Empty where no time is set: each step then takes its own.

    Raises:
        ConfigurationError: for a time that cannot be, or a step that would get none.
    """
    if minutes is None:
        return {}
    if not (math.isfinite(minutes) and minutes > 0):
        raise ConfigurationError(f"--minutes {minutes:g}: not a time; give a number above 0")
    shares = {step.name: preset.shares.get(step.name, 1.0) for step in steps if step.timed}
    for name, share in shares.items():
        if share == 0:
            raise ConfigurationError(
                f"shares.{name}: 0 leaves no time for it; raise it, or leave it out with --only"
            )
    return {name: minutes * share / sum(shares.values()) for name, share in shares.items()}


def make_context(
    request: TrainingRequest,
    every: Sequence[Step],
    chosen: Sequence[Step],
    folder: Path,
    world: World,
) -> Context:
    """What every step is given. Recordings are opened here: what is wrong with them is told now.

    Args:
        request: what was asked.
        every: all steps that there are.
        chosen: those that are taken.
        folder: the training folder.
        world: the processes that train together.

    Raises:
        AudioLMError: for recordings, or a model to start from, that cannot be used.
    """
    minutes = divide_minutes(chosen, request.preset, request.minutes)
    preset, device = request.preset, request.device
    reporter = Reporter(quiet=request.quiet, writes=world.writes)
    place = folder / "recordings"
    opened = open_recordings(
        request.folder, preset.data, place, device, world, preset.seed, reporter.quiet
    )
    reporter.report_skipped(opened.skipped, folder / "skipped.txt", opened.left_out)

    def about() -> dict[str, Any]:
        return about_model(preset, request.folder, opened.summary())

    parts = ModelParts(request.out, request.start, about, world, device, reporter.say)
    wanted = {*preset.recipe, *(step.name for step in chosen)}
    possible = _possible_steps(every, preset)
    return Context(
        preset, folder, opened, parts, device, world, reporter, minutes, possible, wanted
    )
