"""What a step of the recipe is: its name, what it needs, what it makes, and how it runs."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from torch import device as Device
from torch import nn

from audiolm.codec import Codec
from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError
from audiolm.semantic import SemanticTokenizer
from audiolm.training.checkpoint import CHECKPOINT
from audiolm.training.distributed import World
from audiolm.training.initialisation import OldIds, start_from
from audiolm.training.loop import train
from audiolm.training.model_parts import ModelParts
from audiolm.training.opening import DataConfig, Opened
from audiolm.training.recordings import Recordings
from audiolm.training.reporting import Reporter
from audiolm.training.step_folder import StepFolder
from audiolm.training.tasks.task import Task, TaskTraining

if TYPE_CHECKING:  # a preset names steps
    from audiolm.training.preset import Preset

T = TypeVar("T", bound=TaskTraining)


@dataclass(frozen=True)
class Context:
    """What every step is given."""

    preset: "Preset"
    folder: Path
    """The training folder, in which each step has a folder of its own."""
    opened: Opened
    """The recordings: what is trained on, and what is for validation."""
    parts: ModelParts
    """The model folder, and the model to start from."""
    device: Device
    world: World
    reporter: Reporter
    minutes: Mapping[str, float]
    """Time for each step, by name; for one that is not there, what the preset says."""
    steps: Sequence["Step"]
    """All steps that can be taken with this preset, in order."""
    wanted: Collection[str]
    """Those of the preset's recipe, and those that were asked for."""

    @property
    def recordings(self) -> tuple[Recordings, Recordings]:
        """What is trained on, and what is for validation."""
        return self.opened.both

    def codec(self) -> Codec:
        """The codec of the model folder.

        Raises:
            TrainingError: when there is none; it names the steps that make one.
        """
        return self.parts.codec(self._steps_to("codec"))

    def tokenizer(self) -> SemanticTokenizer:
        """The semantic tokenizer of the model folder.

        Raises:
            TrainingError: when there is none; it names the steps that make one.
        """
        return self.parts.tokenizer(self._steps_to("semantic"))

    @cached_property
    def recordings_fingerprint(self) -> str:
        """Another one says that the recordings are not those that a step was begun with."""
        return " ".join(one.fingerprint for one in self.recordings)

    def _steps_to(self, part: str) -> str:
        """The steps that would make a part, as `--only` takes them."""
        makers = [step for step in self.steps if step.makes == part]
        last = ([step for step in makers if step.name in self.wanted] or makers[:1])[-1]
        names = {last.name}
        for step in reversed(self.steps):  # each stands behind those that it follows
            if step.name in names:
                names |= set(step.follows)
        return ",".join(step.name for step in self.steps if step.name in names)


class Step(ABC):
    """One step of the recipe."""

    name: str
    """What `--only` calls it; its folder in the training folder has the same name."""
    makes: str | None = None
    """The part of the model folder that it makes."""
    starts_from: str | None = None
    """The part of the model that `--from` names whose weights it starts from."""
    follows: tuple[str, ...] = ()
    """Steps whose result it works on."""
    reads_tokens: tuple[str, ...] = ()
    """The parts whose tokens it reads: `codec`, `semantic`."""
    timed: bool = False
    """Whether it takes a share of `--minutes`, and not the time it needs."""

    @property
    def key(self) -> str:
        """Where its network stands in a preset; how it is done stands there below `training`."""
        return self.name

    def network(self, preset: "Preset") -> Configuration | None:
        """The network that it trains."""
        return None

    @abstractmethod
    def training(self, preset: "Preset") -> Configuration:
        """How it is done."""

    @abstractmethod
    def needs(self, context: Context) -> dict[str, str]:
        """Fingerprints of what it stands on: with others, what it has made is out of date.

        Raises:
            TrainingError: when something is not there; it names the steps that make it.
        """

    @abstractmethod
    def run(self, context: Context) -> dict[str, float]:
        """Take the step, or go on with it; returns its metrics."""

    def refuse_preset(self, preset: "Preset") -> None:  # noqa: B027  (most steps refuse none)
        """Make sure that a preset has what the step takes.

        Raises:
            ConfigurationError: naming the key.
        """

    def refuse_budget(self, context: Context) -> None:  # noqa: B027  (most need none)
        """Make sure, before anything is begun, that the step can be taken as it is asked for.

        Raises:
            ConfigurationError: naming the key.
        """

    def wants_more(self, context: Context, metrics: Mapping[str, float]) -> bool:
        """Whether the step, which came to these metrics, is asked to go on."""
        return False

    def folder(self, context: Context) -> StepFolder:
        """Where it keeps what it needs to go on."""
        return StepFolder(context.folder / self.name)

    def settings(self, preset: "Preset") -> dict[str, Configuration]:
        """What may not change once the step is begun, by group; `keys` says where each stands."""
        drawn = Drawn(
            seed=preset.seed, data=DataConfig(validation_share=preset.data.validation_share)
        )
        network = self.network(preset)
        groups = {} if network is None else {"network": network}
        return {**groups, "training": self.training(preset), "drawn": drawn}

    def keys(self) -> dict[str, str]:
        """Where each group of its settings stands in a preset."""
        return {"network": self.key, "training": f"training.{self.key}", "drawn": ""}


class Drawn(Configuration):
    """What decides which recordings and which crops are drawn."""

    seed: int
    """As in `Preset`."""
    data: DataConfig
    """Nothing but the share that is for validation."""


class TrainingStep(Step):
    """A step that trains a network, with the one loop."""

    timed = True

    @abstractmethod
    def training(self, preset: "Preset") -> TaskTraining:
        """How it is trained."""

    def refuse_budget(self, context: Context) -> None:
        """Make sure that the training has an end, and a batch that all processes can share."""
        self.within_budget(context, self.training(context.preset))

    def within_budget(self, context: Context, training: T) -> T:
        """How it is trained, with the time that `--minutes` gives it.

        Raises:
            ConfigurationError: when nothing says how long, or the batch cannot be divided.
        """
        optimization, key = training.optimization, f"training.{self.key}.optimization"
        minutes = context.minutes.get(self.name)
        if minutes is not None:
            optimization = optimization.model_copy(update={"minutes": minutes})
        if optimization.steps is None and optimization.minutes is None:
            raise ConfigurationError(f"{key}: how long? Give --minutes, or --set {key}.steps=N")
        try:
            optimization.crops_per_pass(context.world.size)
        except ConfigurationError as error:
            raise ConfigurationError(f"{key}.{error}") from None
        return training.model_copy(update={"optimization": optimization})

    def wants_more(self, context: Context, metrics: Mapping[str, float]) -> bool:
        """Whether it is asked to go on for longer than it did."""
        asked = self.training(context.preset).optimization
        minutes = context.minutes.get(self.name, asked.minutes)
        if asked.steps is None and minutes is None:
            return False
        # A tenth more seconds is what the clock may be out by.
        steps, seconds = int(metrics["steps"]), 1.1 * metrics["seconds"]
        return asked.model_copy(update={"minutes": minutes}).progress(steps, seconds) < 1

    def begins(self, context: Context) -> bool:
        """Whether there is no checkpoint of its own to go on from."""
        return not (self.folder(context).path / CHECKPOINT).exists()

    def start(self, context: Context, network: nn.Module) -> None:
        """Take the first weights from the model that `--from` names, where it has them."""
        if self.starts_from is None or not self.begins(context):
            return
        model = context.parts.to_start_from(self.starts_from)
        if model is not None:
            start_from(model, self.starts_from, network, self.old_ids(context, model, network))
            context.reporter.say(f"{self.name}: starts from the {self.starts_from} of {model}")

    def old_ids(self, context: Context, model: Path, network: nn.Module) -> OldIds | None:
        """For vocabulary transfer: which old semantic ids the new ones were; None for no transfer.

        Args:
            context: of the step.
            model: that is started from.
            network: that is to be trained.
        """
        return None

    def train(self, context: Context, task: Task) -> dict[str, float]:
        """Train to the end, and put the part that comes of it into the model folder."""
        trained = train(
            task,
            self.folder(context).path,
            context.device,
            context.world,
            sharding=context.preset.training.sharding,
            recompute_activations=context.preset.training.recompute_activations,
            quiet=context.reporter.quiet,
        )
        part = task.export(trained.averaged)
        if part is not None and self.makes is not None:
            context.parts.keep(self.makes, part, context.preset.storage)
        return trained.metrics | {"steps": trained.step, "seconds": trained.seconds}
