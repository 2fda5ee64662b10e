"""A preset: every setting of every part and of how each is trained, from one YAML file."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import Field, model_validator

from audiolm.codec import CodecConfig
from audiolm.configuration import Configuration, override, parse
from audiolm.errors import ConfigurationError
from audiolm.part import Dtype
from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.stages import AutoregressiveConfig
from audiolm.training.clustering import ClusteringConfig
from audiolm.training.codec_task import CodecTraining
from audiolm.training.opening import DataConfig
from audiolm.training.stage_task import StageTraining
from audiolm.training.tokenizing import TokenizingConfig
from audiolm.training.w2v_bert_task import W2vBertTraining

StepName = Literal[
    "codec",
    "w2v_bert",
    "clustering",
    "second_round",
    "second_clustering",
    "tokens",
    "semantic",
    "coarse",
    "fine",
    "acoustic_only",
]
"""The steps of the recipe."""

STEPS: tuple[StepName, ...] = get_args(StepName)
"""In the order in which they are taken."""


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


class Preset(Configuration):
    """A named configuration of all parts."""

    name: str
    """What the preset is called."""
    data: DataConfig = DataConfig()
    """The recordings."""
    codec: CodecConfig = Field(discriminator="kind")
    """The codec's network."""
    w2v_bert: W2vBertConfig
    """The semantic tokenizer's network, before clustering."""
    second_round: W2vBertConfig | None = None
    """The network of a second round, whose targets are the clusters of the first (as in HuBERT);
    its Conformer starts from the first round's."""
    stages: dict[str, AutoregressiveConfig]
    """The stages' layouts and Transformers, by name."""
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

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """The ids that one part makes are those that another reads."""
        quantizer = self.codec.quantizer
        last = "second_clustering" if "second_clustering" in self.recipe else "clustering"
        clusters = getattr(self.training, last).clusters
        for name, stage in self.stages.items():
            layout = stage.layout
            if layout.kind in ("semantic", "coarse") and layout.clusters != clusters:
                raise ValueError(
                    f"stages.{name}.layout.clusters is {layout.clusters}, but "
                    f"training.{last}.clusters is {clusters}; make them equal"
                )
            if layout.kind != "semantic" and layout.codebook_size != quantizer.codebook_size:
                raise ValueError(
                    f"stages.{name}.layout.codebook_size is {layout.codebook_size}, but "
                    f"codec.quantizer.codebook_size is {quantizer.codebook_size}; make them equal"
                )
            if layout.kind == "fine" and layout.levels != quantizer.levels:
                raise ValueError(
                    f"stages.{name}.layout.levels is {layout.levels}, but "
                    f"codec.quantizer.levels is {quantizer.levels}; make them equal"
                )
        rounds = {"clustering": ("w2v_bert", self.w2v_bert)}
        if self.second_round is not None:
            rounds["second_clustering"] = ("second_round", self.second_round)
            named, first = self.second_round.external_targets, self.training.clustering.clusters
            if named != first:
                raise ValueError(
                    f"second_round.external_targets is {named}, but training.clustering.clusters "
                    f"is {first}; make them equal"
                )
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


class Drawn(Configuration):
    """What decides which recordings and which crops are drawn."""

    seed: int
    """As in `Preset`."""
    data: DataConfig
    """Nothing but the share that is held out."""


def is_stage(name: StepName) -> bool:
    """Whether a step trains a stage."""
    return STEPS.index(name) > STEPS.index("tokens")


def step_settings(preset: Preset, name: StepName) -> dict[str, Configuration]:
    """What may not change between two sittings of one step, by group."""
    training = preset.training
    steps: dict[str, tuple[Configuration | None, Configuration | None]] = {
        "codec": (preset.codec, training.codec),
        "w2v_bert": (preset.w2v_bert, training.w2v_bert),
        "clustering": (None, training.clustering),
        "second_round": (preset.second_round, training.second_round),
        "second_clustering": (None, training.second_clustering),
        "tokens": (None, training.tokens),
    }
    network, how = steps.get(name, (preset.stages.get(name), training.stages.get(name)))
    drawn = Drawn(seed=preset.seed, data=DataConfig(validation_share=preset.data.validation_share))
    chosen = {"network": network, "training": how, "drawn": drawn}
    return {group: value for group, value in chosen.items() if value is not None}


def step_keys(name: StepName) -> dict[str, str]:
    """Where each group of a step's settings stands in a preset."""
    place = f"stages.{name}" if is_stage(name) else name
    return {"network": place, "training": f"training.{place}", "drawn": ""}


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
    try:
        data: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"preset {name}: not valid YAML ({error})") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"preset {name}: holds no settings; copy one of the package's")
    return parse(Preset, override(data, assignments), f"preset {name}")
