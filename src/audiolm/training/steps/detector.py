"""A whole model, recordings → the detector of what that model makes (paper, section IV-H)."""

from typing import TYPE_CHECKING

from audiolm.codec import Codec
from audiolm.model import AudioLM
from audiolm.model_io.manifest import read_manifest
from audiolm.parts import CODEC, SEMANTIC, STAGES
from audiolm.safety.detector import DetectorConfig, DetectorNetworkConfig
from audiolm.semantic import SemanticTokenizer
from audiolm.stages import MAKERS, Stage
from audiolm.training import distributed
from audiolm.training.examples import Examples, make_examples
from audiolm.training.steps.step import Context, TrainingStep
from audiolm.training.tasks.detector import DetectorTask, DetectorTraining

if TYPE_CHECKING:
    from audiolm.training.preset import Preset


class DetectorStep(TrainingStep):
    """Lets the model continue recordings, and trains a detector to tell what came of it."""

    name = "detector"
    makes = "detector"

    def network(self, preset: "Preset") -> DetectorNetworkConfig:
        """The detector's network."""
        return preset.detector

    def training(self, preset: "Preset") -> DetectorTraining:
        """How it is trained, and on what."""
        return preset.training.detector

    def needs(self, context: Context) -> dict[str, str]:
        """Recordings, and every part of the model."""
        names = self.parts_of(context)
        for name in names:  # copied from the model to start from, where it is not there yet
            context.parts.part(name, name.removeprefix("stage_"))
        entries = read_manifest(context.parts.out).parts
        prints = {name: entries[name].fingerprint for name in names}
        return {"recordings": context.recordings_fingerprint, **prints}

    def run(self, context: Context) -> dict[str, float]:
        """Make the examples that are not there yet, then train."""
        preset, lm = context.preset, self.model(context)
        training = self.within_budget(context, self.training(preset))
        train, validation = context.recordings
        folder, config = self.folder(context).path / "examples", training.examples
        counts = {
            "train": (train, config.continuations),
            "validation": (validation, config.validation_continuations),
        }
        for number, (name, (recordings, count)) in enumerate(counts.items()):
            with context.reporter.bar(f"examples {name}") as bar:
                make_examples(
                    lm,
                    recordings.store,
                    folder / name,
                    config,
                    count,
                    2 * preset.seed + number,
                    rank=context.world.rank,
                    processes=context.world.size,
                    progress=bar,
                )
        distributed.wait(context.world)
        network = DetectorConfig(
            **preset.detector.model_dump(), model=lm.name, model_fingerprint=lm.fingerprint
        )
        task = DetectorTask(
            network,
            training,
            Examples(folder / "train"),
            Examples(folder / "validation"),
            context.device,
            context.world.size,
            preset.seed,
            preset.storage,
        )
        return self.train(context, task)

    def parts_of(self, context: Context) -> list[str]:
        """The parts of the model: those that it has, and those that no model can do without."""
        has = [part.name for part in STAGES.values() if context.parts.has(part.name)]
        makers = [STAGES[kind].name for kind in MAKERS.values()]
        needed = [STAGES["semantic"].name]
        if not any(name in has for name in makers):
            needed.append(STAGES["coarse"].name)
        return [CODEC.name, SEMANTIC.name, *dict.fromkeys([*needed, *has])]

    def model(self, context: Context) -> AudioLM:
        """The model, with what its own folder says of how it makes sound."""
        parts = {
            name: context.parts.part(name, name.removeprefix("stage_"))
            for name in self.parts_of(context)
        }
        stages = {kind: parts[p.name] for kind, p in STAGES.items() if p.name in parts}
        codec, semantic = parts[CODEC.name], parts[SEMANTIC.name]
        assert isinstance(codec, Codec)
        assert isinstance(semantic, SemanticTokenizer)
        own = {kind: stage for kind, stage in stages.items() if isinstance(stage, Stage)}
        manifest = read_manifest(context.parts.out)
        start = context.parts.to_start_from(STAGES["semantic"].name)
        if start is not None:
            given = read_manifest(start)
            name = STAGES["semantic"].name
            if given.parts[name].fingerprint == manifest.parts[name].fingerprint:
                manifest = given
        lm = AudioLM(codec, semantic, own, manifest.name, manifest.info)
        return lm.to(context.device)
