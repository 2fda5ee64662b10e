"""Recordings → codec."""

from typing import TYPE_CHECKING

from audiolm.codec import CodecConfig
from audiolm.errors import ConfigurationError
from audiolm.training.steps.step import Context, TrainingStep
from audiolm.training.tasks.codec import CodecTask, CodecTraining

if TYPE_CHECKING:
    from audiolm.training.preset import Preset


class CodecStep(TrainingStep):
    """Trains the codec (paper, section III-A; SoundStream)."""

    name = "codec"
    makes = starts_from = "codec"

    def network(self, preset: "Preset") -> CodecConfig:
        """The codec."""
        return preset.codec

    def training(self, preset: "Preset") -> CodecTraining:
        """How it is trained."""
        return preset.training.codec

    def needs(self, context: Context) -> dict[str, str]:
        """Recordings."""
        return {"recordings": context.recordings_fingerprint}

    def run(self, context: Context) -> dict[str, float]:
        """Train it, from the codec of the model to start from where there is one."""
        preset = context.preset
        training = self.within_budget(context, preset.training.codec)
        given = context.parts.to_start_from("codec") is not None
        if training.decoder_only and self.begins(context) and not given:
            raise ConfigurationError(
                "training.codec.decoder_only: needs a codec to go on from; give --from MODEL"
            )
        task = CodecTask(preset.codec, training, *context.recordings)
        self.start(context, task.networks["codec"])
        return self.train(context, task)
