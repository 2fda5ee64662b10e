"""Tokens → one stage."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from audiolm.data.tokens import TokenStore
from audiolm.errors import ConfigurationError, TrainingError
from audiolm.model_io.folder import load_part
from audiolm.model_io.manifest import read_manifest
from audiolm.semantic import SemanticTokenizer
from audiolm.stages import AutoregressiveConfig, ParallelStage, Stage, StageConfig
from audiolm.stages.kinds import stage_kind
from audiolm.stages.repetition import RepetitionLimits
from audiolm.training.id_vectors import id_vectors, start_from_vectors
from audiolm.training.initialisation import OldIds, old_ids_of_new, start_from_coarse
from audiolm.training.step_folder import StepFolder
from audiolm.training.steps.step import Context, TrainingStep
from audiolm.training.tasks.stage import StageTask, StageTraining

if TYPE_CHECKING:
    from audiolm.training.preset import Preset

SIZES: Mapping[str, Mapping[str, str]] = {
    "semantic": {"clusters": "training.{clustering}.clusters"},
    "codec": {
        "codebook_size": "codec.quantizer.codebook_size",
        "levels": "codec.quantizer.levels",
    },
}
"""By the part whose tokens a stage reads: what its layout must know of them, and where a preset
says it; `{clustering}` is the last clustering of the recipe."""


class StageStep(TrainingStep):
    """Trains one stage (paper, section III-C).

    Args:
        kind: of the stage, a name of `stages.kinds`; the step has the same name.
    """

    follows = ("tokens",)

    def __init__(self, kind: str) -> None:
        self.name = kind
        self.makes = self.starts_from = f"stage_{kind}"
        self.reads_tokens = stage_kind(kind).ids_of

    @property
    def key(self) -> str:
        """Stages have a place of their own in a preset."""
        return f"stages.{self.name}"

    def network(self, preset: "Preset") -> StageConfig | None:
        """The stage; None where the preset has none of this name."""
        return preset.stages.get(self.name)

    def training(self, preset: "Preset") -> StageTraining:
        """How it is trained."""
        return preset.training.stages.get(self.name, StageTraining())

    def refuse_preset(self, preset: "Preset") -> None:
        """A preset need not have every stage."""
        if self.name not in preset.stages:
            raise ConfigurationError(
                f"{self.key}: not in preset {preset.name}; add it, or choose other steps with "
                "--only"
            )

    def needs(self, context: Context) -> dict[str, str]:
        """The parts that made the tokens it reads."""
        prints = {}
        if "codec" in self.reads_tokens:
            prints["codec"] = context.codec().fingerprint()
        if "semantic" in self.reads_tokens:
            prints["semantic"] = context.tokenizer().fingerprint()
        return prints

    def run(self, context: Context) -> dict[str, float]:
        """Train it, from the stage of the model to start from where there is one."""
        preset, prints = context.preset, self.needs(context)
        tokens = StepFolder(context.folder / "tokens")
        if tokens.done() is None:
            raise TrainingError(f"{tokens.path}: not finished; give --only tokens first")
        train, validation = (TokenStore(tokens.path / part) for part in ("train", "validation"))
        for store in (train, validation):
            store.require(prints.get("codec", ""), prints.get("semantic", ""))
        task = StageTask(
            self.name,
            self._config(preset, train, prints),
            self.within_budget(context, self.training(preset)),
            train,
            validation,
            context.device,
            context.world.size,
            preset.seed,
        )
        self.start(context, task.networks[self.name])
        return self.train(context, task)

    def start(self, context: Context, network: nn.Module) -> None:
        """As every step; a parallel stage that is the first starts from the coarse one, any other
        that is the first from what its ids stand for."""
        assert isinstance(network, Stage)
        assert self.makes is not None
        anew = self.begins(context) and context.parts.to_start_from(self.makes) is None
        if anew and self.training(context.preset).start_from_vectors:
            vectors = id_vectors(context.codec, context.tokenizer)
            start_from_vectors(network, vectors, context.preset.seed)
        super().start(context, network)
        coarse = context.parts.to_start_from("stage_coarse")
        own = context.parts.to_start_from("stage_parallel")
        if coarse is None or own is not None or not self.begins(context):
            return
        if isinstance(network, ParallelStage) and start_from_coarse(coarse, network):
            context.reporter.say(f"{self.name}: starts from the stage_coarse of {coarse}")

    def _config(
        self, preset: "Preset", tokens: TokenStore, prints: Mapping[str, str]
    ) -> StageConfig:
        """The preset's, with what is known of the tokens.

        Raises:
            ConfigurationError: when a part that is there makes other ids than the preset's would.
        """
        config = preset.stages[self.name]
        for part in self.reads_tokens:
            for size, source in SIZES[part].items():
                held, asked = getattr(tokens.format, size), getattr(config.layout, size)
                if held != asked:
                    key = source.format(clustering=preset.last_clustering)
                    raise ConfigurationError(
                        f"{self.key}.layout.{size}: is {asked}, but the tokens have {held}; set "
                        f"{key} to that"
                    )
        known: dict[str, Any] = {
            f"{part}_fingerprint": prints.get(part, "") for part in ("codec", "semantic")
        }
        known["semantic_rate"] = float(tokens.statistics["semantic_rate"])
        if isinstance(config, AutoregressiveConfig) and config.layout.roles.semantic == "predicted":
            repetition = tokens.repetition(config.layout.remove_repeats)
            known["repetition"] = RepetitionLimits(**repetition)
        return config.model_copy(update=known)

    def old_ids(self, context: Context, model: Path, network: nn.Module) -> OldIds | None:
        """Which old semantic ids the new ones were; None where they are the same, or not read."""
        assert isinstance(network, Stage)
        ours, old = network.config.semantic_fingerprint, context.parts.to_start_from("semantic")
        if not ours or old is None:
            return None
        if read_manifest(model).parts["semantic"].fingerprint == ours:
            return None
        tokenizer = load_part(old, "semantic", context.device)
        assert isinstance(tokenizer, SemanticTokenizer)
        context.reporter.say(f"{model}: its semantic ids are others; hearing which became which")
        tokens = TokenStore(context.folder / "tokens" / "train")
        return old_ids_of_new(tokenizer, tokens, context.recordings[0])
