"""The network's layer → semantic tokenizer."""

from typing import TYPE_CHECKING

from torch import Tensor

from audiolm.errors import TrainingError
from audiolm.model_io.folder import save_part
from audiolm.part import fingerprint
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.training.checkpoint import CHECKPOINT, averaged_weights
from audiolm.training.clustering import Clustering, ClusteringConfig, cluster
from audiolm.training.step_folder import StepFolder
from audiolm.training.steps.step import Context, Step
from audiolm.training.steps.w2v_bert import W2vBertStep

if TYPE_CHECKING:
    from audiolm.training.preset import Preset


class ClusteringStep(Step):
    """Clusters a layer of w2v-BERT (paper, section IV-B)."""

    name = "clustering"
    makes = "semantic"
    trained_by: W2vBertStep = W2vBertStep()
    """The step whose network is clustered."""

    @property
    def follows(self) -> tuple[str, ...]:  # type: ignore[override]
        """The step whose network is clustered."""
        return (self.trained_by.name,)

    def training(self, preset: "Preset") -> ClusteringConfig:
        """How it is clustered."""
        return preset.training.clustering

    def needs(self, context: Context) -> dict[str, str]:
        """Recordings and the network."""
        return {
            "recordings": context.recordings_fingerprint,
            self.trained_by.name: fingerprint({}, self.weights(context)),
        }

    def run(self, context: Context) -> dict[str, float]:
        """Cluster, and keep the tokenizer in the step's folder: a second round learns to name it.

        It comes into the model folder, too, unless a second round's has taken its place there.
        """
        result = self.cluster(context)
        second = StepFolder(context.folder / "second_clustering").done()
        if second is None or "second_clustering" not in context.wanted:
            context.parts.keep("semantic", result.tokenizer, context.preset.storage)
        return result.metrics

    def cluster(self, context: Context) -> Clustering:
        """The network, clustered; kept in the step's folder and reported."""
        preset, step, reporter = context.preset, self.trained_by, context.reporter
        config = step.network(preset)
        assert config is not None
        folder = step.folder(context)
        folder.refuse_other(step.settings(preset), step.keys())
        if folder.done() is None:
            reporter.say(f"{self.name}: {step.name} is not finished; its last checkpoint is taken")
        network = W2vBert(config)
        network.load_state_dict(self.weights(context))
        with reporter.bar(self.name) as bar:
            result = cluster(
                network.to(context.device),
                context.recordings[0],
                self.training(preset),
                preset.seed,
                bar,
            )
        if context.world.writes:
            place = self.folder(context).path
            save_part(place, "semantic", result.tokenizer, dtype=preset.storage)
        reporter.report(self.name, result.metrics, result.warnings)
        return result

    def weights(self, context: Context) -> dict[str, Tensor]:
        """The averaged weights of the network.

        Raises:
            TrainingError: when it was not trained yet.
        """
        step = self.trained_by
        config = step.network(context.preset)
        assert config is not None
        folder = step.folder(context).path
        weights = averaged_weights(folder, lambda: W2vBert(config), context.reporter.warn)
        if weights is None:
            missing = folder / CHECKPOINT
            raise TrainingError(f"{missing}: is not there yet; give --only {step.name} first")
        return weights
