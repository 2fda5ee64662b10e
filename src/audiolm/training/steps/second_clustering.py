"""The second round's layer → semantic tokenizer."""

from typing import TYPE_CHECKING

from audiolm.training.clustering import ClusteringConfig
from audiolm.training.steps.clustering import ClusteringStep
from audiolm.training.steps.second_round import SecondRoundStep
from audiolm.training.steps.step import Context

if TYPE_CHECKING:
    from audiolm.training.preset import Preset


class SecondClusteringStep(ClusteringStep):
    """Clusters the second round's network; this tokenizer is the model's from then on."""

    name = "second_clustering"
    trained_by = SecondRoundStep()

    def training(self, preset: "Preset") -> ClusteringConfig:
        """How it is clustered."""
        return preset.training.second_clustering

    def refuse_preset(self, preset: "Preset") -> None:
        """A preset need not have a second round."""
        self.trained_by.refuse_preset(preset)

    def run(self, context: Context) -> dict[str, float]:
        """Cluster, and put the tokenizer into the model folder."""
        result = self.cluster(context)
        context.parts.keep("semantic", result.tokenizer, context.preset.storage)
        return result.metrics
