"""The one table of kinds of stage: what each reads and predicts, and how it is made and sampled.

To add a kind: a `Stage` with its `StageConfig`, a sequence in `ROLES` where none of those there
fits, and a row here. Model folders, training and the modes know of it by that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from pydantic import Discriminator, Tag

from audiolm.errors import ConfigurationError
from audiolm.stages.autoregressive import AutoregressiveConfig, AutoregressiveStage
from audiolm.stages.contract import Stage, StageConfig
from audiolm.stages.layout_config import ROLES, LayoutKind, Roles
from audiolm.stages.parallel import ParallelConfig, ParallelStage


class StageBuilder(Protocol):
    """Makes a stage of one kind, with first weights, from that kind's configuration."""

    def __call__(self, config: Any, /) -> Stage: ...


@dataclass(frozen=True)
class StageKind:
    """One kind of stage."""

    name: str
    """What it is called in presets, in `AudioLM.stages` and, after `stage_`, in a model folder."""
    layout: LayoutKind
    """The kind of its sequence."""
    config: type[StageConfig]
    """Its configuration."""
    build: StageBuilder
    """Makes one."""
    temperature: float
    """At which it is sampled unless a model or a call says otherwise."""

    @property
    def roles(self) -> Roles:
        """What semantic ids, coarse and fine codes are to it: predicted, conditioning or None."""
        return ROLES[self.layout]

    @property
    def ids_of(self) -> tuple[str, ...]:
        """The parts whose ids it was trained on, and whose fingerprints it therefore holds."""
        roles = self.roles
        return ("codec",) * roles.codes + ("semantic",) * (roles.semantic is not None)


KINDS: Mapping[str, StageKind] = {
    kind.name: kind
    for kind in (
        StageKind("semantic", "semantic", AutoregressiveConfig, AutoregressiveStage, 0.6),
        StageKind("coarse", "coarse", AutoregressiveConfig, AutoregressiveStage, 0.8),
        StageKind("fine", "fine", AutoregressiveConfig, AutoregressiveStage, 0.6),
        StageKind("acoustic_only", "acoustic_only", AutoregressiveConfig, AutoregressiveStage, 0.8),
        StageKind("parallel", "parallel", ParallelConfig, ParallelStage, 0.8),
    )
}
"""By name; the temperatures are the paper's (section IV-B), parallel's that of coarse."""


Acoustic = Literal["parallel", "autoregressive"]
"""How the coarse codes of semantic ids are made."""

MAKERS: Mapping[Acoustic, str] = {"autoregressive": "coarse", "parallel": "parallel"}
"""The kind of stage that makes them so."""


def _config_of(settings: Any) -> str:
    """Which class of configuration some settings are for: the kind of their layout tells."""
    layout = settings.get("layout") if isinstance(settings, Mapping) else settings.layout
    kind = layout.get("kind") if isinstance(layout, Mapping) else getattr(layout, "kind", None)
    known: dict[Any, str] = {one.layout: one.config.__name__ for one in KINDS.values()}
    return known.get(kind, AutoregressiveConfig.__name__)


AnyStageConfig = Annotated[
    Annotated[AutoregressiveConfig, Tag(AutoregressiveConfig.__name__)]
    | Annotated[ParallelConfig, Tag(ParallelConfig.__name__)],
    Discriminator(_config_of),
]
"""The configuration of any kind of stage, told apart by the kind of its layout."""


def stage_kind(name: str) -> StageKind:
    """The kind of stage of this name.

    Raises:
        ConfigurationError: there is no such kind.
    """
    if name not in KINDS:
        raise ConfigurationError(f"stage {name!r}: is no kind of stage; use {', '.join(KINDS)}")
    return KINDS[name]


def build_stage(name: str, config: StageConfig) -> Stage:
    """A stage of the kind `name`, with first weights, ready for training.

    Raises:
        ConfigurationError: there is no such kind, or the configuration is that of another.
    """
    kind = stage_kind(name)
    if not isinstance(config, kind.config) or config.layout.kind != kind.layout:
        raise ConfigurationError(
            f"stage {name}: layout.kind is {config.layout.kind}, a {name} stage has {kind.layout}; "
            "correct it, or the stage's name"
        )
    return kind.build(config)
