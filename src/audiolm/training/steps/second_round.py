"""Recordings, first tokenizer → the network again, with that one's ids as targets."""

from typing import TYPE_CHECKING

from audiolm.errors import ConfigurationError, TrainingError
from audiolm.model_io.folder import load_part
from audiolm.model_io.manifest import MANIFEST
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.training.initialisation import start_conformer
from audiolm.training.step_folder import StepFolder
from audiolm.training.steps.step import Context
from audiolm.training.steps.w2v_bert import W2vBertStep
from audiolm.training.tasks.w2v_bert import W2vBertTask, W2vBertTraining
from audiolm.training.tokenizing import tokenize_corpus

if TYPE_CHECKING:
    from audiolm.training.preset import Preset


class SecondRoundStep(W2vBertStep):
    """Trains w2v-BERT a second time, to name the first round's clusters (as HuBERT does)."""

    name = "second_round"
    starts_from = None
    follows = ("clustering",)

    def network(self, preset: "Preset") -> W2vBertConfig:
        """The network of the second round."""
        self.refuse_preset(preset)
        assert preset.second_round is not None
        return preset.second_round

    def training(self, preset: "Preset") -> W2vBertTraining:
        """How it is trained."""
        return preset.training.second_round

    def refuse_preset(self, preset: "Preset") -> None:
        """A preset need not have a second round."""
        if preset.second_round is None:
            raise ConfigurationError(
                f"second_round: not in preset {preset.name}; add it, or choose other steps with "
                "--only"
            )

    def needs(self, context: Context) -> dict[str, str]:
        """Recordings and the first tokenizer."""
        return {
            "recordings": context.recordings_fingerprint,
            "semantic": self._first_tokenizer(context).fingerprint(),
        }

    def run(self, context: Context) -> dict[str, float]:
        """Write the targets down, and train the network, from the first tokenizer's layers on."""
        preset, place = context.preset, self.folder(context).path / "targets"
        training = self.within_budget(context, preset.training.second_round)
        first = self._first_tokenizer(context).to(context.device)
        targets = []
        for name, recordings in zip(("train", "validation"), context.recordings, strict=True):
            with context.reporter.bar(f"targets {name}") as bar:
                # Where all are there, this makes sure that they are of these recordings.
                store = tokenize_corpus(
                    None,
                    first,
                    recordings,
                    place / name,
                    preset.training.tokens,
                    context.world,
                    bar,
                )
            targets.append(store)
        task = W2vBertTask(
            self.network(preset),
            training,
            *context.recordings,
            preset.seed,
            (targets[0], targets[1]),
        )
        start_conformer(task.network, first, "second_round: the first tokenizer")
        return self.train(context, task)

    def _first_tokenizer(self, context: Context) -> W2vBertTokenizer:
        """The tokenizer that the first clustering made, or else that of the model to start from."""
        folder = context.folder / "clustering"
        if not (folder / MANIFEST).exists():
            start = context.parts.to_start_from("semantic")
            if start is not None:
                folder = start
        if not (folder / MANIFEST).exists():
            again = " --restart" if StepFolder(folder).done() else ""  # made by an earlier version
            raise TrainingError(
                f"{folder}: holds no tokenizer yet; give --only clustering{again} first"
            )
        part = load_part(folder, "semantic")
        assert isinstance(part, W2vBertTokenizer)
        return part
