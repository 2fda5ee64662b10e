"""A preset: every setting of every part and of how each is trained, from one YAML file."""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from audiolm.arguments import MAXIMUM_SECONDS, MINIMUM_PROMPT_SECONDS, PROMPT_SECONDS, SECONDS
from audiolm.codec import CodecConfig
from audiolm.configuration import Configuration, nearest, override, parse, read_yaml
from audiolm.errors import ConfigurationError
from audiolm.part import Dtype
from audiolm.safety.detector import DetectorNetworkConfig
from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.stages.kinds import Acoustic, AnyStageConfig, stage_kind
from audiolm.stages.sampling import Sampling
from audiolm.training.clustering import ClusteringConfig
from audiolm.training.derivation import derived, last_clustering
from audiolm.training.opening import DataConfig
from audiolm.training.recipe import STEPS
from audiolm.training.sharding import Sharding
from audiolm.training.tasks.codec import CodecTraining
from audiolm.training.tasks.detector import DetectorTraining
from audiolm.training.tasks.stage import StageTraining
from audiolm.training.tasks.w2v_bert import W2vBertTraining
from audiolm.training.tokenizing import TokenizingConfig


def _is_step(name: str) -> str:
    known = [step.name for step in STEPS]
    if name not in known:
        raise ValueError(f"{name} is not a step; {nearest(name, known)}")
    return name


StepName = Annotated[str, AfterValidator(_is_step)]
"""The name of a step of the recipe."""


class StepsConfig(Configuration):
    """How each step of the recipe is done."""

    codec: CodecTraining = CodecTraining()
    """The codec."""
    w2v_bert: W2vBertTraining = W2vBertTraining()
    """The network whose activations become semantic tokens."""
    clustering: ClusteringConfig = ClusteringConfig()
    """Its layer, clustered."""
    second_round: W2vBertTraining = W2vBertTraining()
    """The second round of the network, which learns to name the first clusters."""
    second_clustering: ClusteringConfig = ClusteringConfig()
    """The second round's layer, clustered."""
    tokens: TokenizingConfig = TokenizingConfig()
    """The corpus as tokens."""
    stages: dict[str, StageTraining] = Field(default_factory=dict)
    """The stages, by name."""
    detector: DetectorTraining = DetectorTraining()
    """The detector of what the model makes."""
    sharding: Sharding = "none"
    """Whether several processes divide the weights of Transformers and Conformers among themselves
    (`fsdp`), or each holds them all; what is learnt is the same."""
    recompute_activations: bool = False
    """Whether blocks keep no activations for the backward pass (activation checkpointing): less
    memory, a third more work, the same result."""


class Preset(Configuration):
    """A named configuration of all parts."""

    name: str
    """What the preset is called."""
    prompt_seconds: float = Field(
        default=PROMPT_SECONDS, ge=MINIMUM_PROMPT_SECONDS, le=MAXIMUM_SECONDS
    )
    """How much of a prompt the model goes on from unless asked otherwise (told in model.json)."""
    seconds: float = Field(default=SECONDS, gt=0, le=MAXIMUM_SECONDS)
    """How much it then adds unless asked otherwise (told in model.json)."""
    sampling: dict[str, Sampling] = Field(default_factory=dict)
    """How it draws unless asked otherwise, by stage (told in model.json); as in the paper (section
    IV-B) where nothing is said."""
    levels: int | None = Field(default=None, ge=1)
    """Levels of codes that it makes unless asked otherwise (told in model.json); all when null."""
    acoustic: Acoustic | None = None
    """How it makes coarse codes unless asked otherwise (told in model.json): autoregressively when
    null."""
    data: DataConfig = DataConfig()
    """The recordings."""
    codec: CodecConfig = Field(discriminator="kind")
    """The codec's network."""
    w2v_bert: W2vBertConfig
    """The semantic tokenizer's network, before clustering."""
    second_round: W2vBertConfig | None = None
    """The network of a second round, whose targets are the clusters of the first (as in HuBERT);
    its Conformer starts from the first round's."""
    stages: dict[str, AnyStageConfig]
    """The stages' layouts and networks, by name."""
    detector: DetectorNetworkConfig = DetectorNetworkConfig()
    """The network that tells what the model makes from recordings."""
    training: StepsConfig = StepsConfig()
    """How each step is done."""
    recipe: list[StepName]
    """The steps that `audiolm train` takes."""
    shares: dict[StepName, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """How `--minutes` is divided among the steps; only the ratios count."""
    storage: Dtype = "float16"
    """How the weights are stored, and so what they are from then on: tokens are made with these."""
    seed: int = Field(default=0, ge=0)
    """Of everything random in training."""

    @property
    def last_clustering(self) -> str:
        """The clustering whose ids the stages read."""
        return last_clustering(self.recipe)

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, data: Any) -> Any:
        """What follows from another setting is filled in; where it is given it must be equal."""
        return derived(data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """What one step makes is what another takes."""
        known = [step.name for step in STEPS if step.key.startswith("stages.")]
        for place, names in (("", self.stages), ("training.", self.training.stages)):
            for name in names:
                if name not in known:
                    raise ValueError(f"{place}stages.{name}: no such stage; {nearest(name, known)}")
        for name, stage in self.stages.items():
            wanted = stage_kind(name).layout
            if stage.layout.kind != wanted:
                raise ValueError(
                    f"stages.{name}.layout.kind: {stage.layout.kind} cannot be there; set it to "
                    f"{wanted}"
                )
        for name in self.sampling:
            if name not in known:
                raise ValueError(f"sampling.{name}: no such stage; {nearest(name, known)}")
        rounds = {"clustering": ("w2v_bert", self.w2v_bert)}
        if self.second_round is not None:
            rounds["second_clustering"] = ("second_round", self.second_round)
            self._second_round_can_start()
        for step, (network, config) in rounds.items():
            clustering: ClusteringConfig = getattr(self.training, step)
            layers, width = config.conformer.layers, config.conformer.width
            if clustering.layer > layers:
                raise ValueError(
                    f"training.{step}.layer is {clustering.layer}, but {network} has {layers} "
                    "layers; choose one of them"
                )
            if clustering.projection is not None and clustering.projection.dims > width:
                raise ValueError(
                    f"training.{step}.projection.dims is {clustering.projection.dims}, but "
                    f"{network}.conformer.width is {width}; lower it"
                )
        return self

    def _second_round_can_start(self) -> None:
        """The second round's Conformer takes over the clustered layers of the first one's."""
        assert self.second_round is not None
        first, second = self.w2v_bert.conformer, self.second_round.conformer
        layer = self.training.clustering.layer
        if second.layers < layer:
            raise ValueError(
                f"second_round.conformer.layers is {second.layers}, but training.clustering.layer "
                f"is {layer}, and those it starts from; raise it"
            )
        ours, theirs = second.model_dump(), first.model_dump()
        for key in ours.keys() - {"layers", "dropout"}:
            if ours[key] != theirs[key]:
                raise ValueError(
                    f"second_round.conformer.{key} is {ours[key]}, but w2v_bert.conformer.{key} "
                    f"is {theirs[key]}; make them equal"
                )


def preset_names() -> list[str]:
    """The presets in the package."""
    folder = resources.files("audiolm") / "presets"
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_preset(name: str, assignments: Sequence[str] = ()) -> Preset:
    """The preset called `name`, or the one in the YAML file `name`, with `key=value` overrides.

    Raises:
        ConfigurationError: for an unknown preset or key, or a value that cannot be.
    """
    if name in preset_names():
        text = (resources.files("audiolm") / "presets" / f"{name}.yaml").read_text("utf-8")
    elif Path(name).suffix in {".yaml", ".yml"} and Path(name).is_file():
        text = Path(name).read_text("utf-8", "replace")
    else:
        known = ", ".join(preset_names())
        raise ConfigurationError(f"preset {name}: not known; use one of {known}, or a .yaml file")
    data = read_yaml(text, f"preset {name}")
    if not isinstance(data, dict):
        raise ConfigurationError(f"preset {name}: holds no settings; copy one of the package's")
    return parse(Preset, override(data, assignments), f"preset {name}")
