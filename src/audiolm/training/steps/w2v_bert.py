"""Recordings → the network under the semantic tokens."""

from typing import TYPE_CHECKING

from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.training.steps.step import Context, TrainingStep
from audiolm.training.tasks.w2v_bert import W2vBertTask, W2vBertTraining

if TYPE_CHECKING:
    from audiolm.training.preset import Preset


class W2vBertStep(TrainingStep):
    """Trains w2v-BERT (paper, section III-A). What it makes is clustered before anyone uses it."""

    name = "w2v_bert"
    starts_from: str | None = "semantic"

    def network(self, preset: "Preset") -> W2vBertConfig:
        """The network."""
        return preset.w2v_bert

    def training(self, preset: "Preset") -> W2vBertTraining:
        """How it is trained."""
        return preset.training.w2v_bert

    def needs(self, context: Context) -> dict[str, str]:
        """Recordings."""
        return {"recordings": context.recordings_fingerprint}

    def run(self, context: Context) -> dict[str, float]:
        """Train it, from the tokenizer of the model to start from where there is one."""
        preset = context.preset
        training = self.within_budget(context, preset.training.w2v_bert)
        task = W2vBertTask(preset.w2v_bert, training, *context.recordings, preset.seed)
        self.start(context, task.network)
        return self.train(context, task)
