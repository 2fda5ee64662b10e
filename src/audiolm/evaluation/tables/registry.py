"""The experiments of `audiolm evaluate`, each of them a module of this folder.

The protocol version of an experiment goes up whenever its metrics are no longer comparable with
earlier ones.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.tables.contract import Evaluate, ExperimentRequest


@dataclass(frozen=True)
class Experiment:
    """An entry of the list."""

    name: str
    version: int
    """Of its protocol."""
    title: str
    paper: str
    """Where the paper has it."""
    also: tuple[str, ...] = ()
    """Sections of the options, besides its own, that its metrics depend on."""
    has_inputs: bool = False
    """Whether its module has a function `inputs`."""

    def load(self) -> Evaluate:
        """Import the experiment's function."""
        function: Evaluate = self._module().evaluate
        return function

    def inputs_of(self, request: ExperimentRequest) -> dict[str, Any]:
        """What the metrics depend on besides model, data, seed and options, as plain data."""
        found: dict[str, Any] = self._module().inputs(request) if self.has_inputs else {}
        return found

    def _module(self) -> Any:
        return import_module(f"audiolm.evaluation.tables.{self.name}")


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment("abx", 2, "Phonetic ABX of tokens and features", "Table I, Fig. 3"),
        Experiment("reconstruction", 2, "Quality of the codec", "Table I", has_inputs=True),
        Experiment(
            "voicing",
            1,
            "Hoarseness: pitch and periodicity",
            "not there; after CARGAN",
            has_inputs=True,
        ),
        Experiment("content", 3, "What a recogniser understands", "Table II"),
        Experiment("speaker", 1, "Whose voice it is", "Table III"),
        Experiment("probes", 1, "Words and sentences: sWUGGY, sBLIMP", "Table IV, Fig. 3"),
        Experiment(
            "continuation",
            3,
            "Continuations of prompts",
            "IV-F, IV-B",
            also=("speaker",),  # whose classifier says whose voice it is
            has_inputs=True,
        ),
        Experiment("stream", 1, "Streams of many minutes", "not there"),
        Experiment(
            "edit",
            1,
            "A gap filled in",
            "not there",
            also=("speaker",),  # whose classifier says whose voice it is
        ),
        Experiment("detection", 2, "Telling synthetic from real", "IV-H", has_inputs=True),
        Experiment("watermark", 1, "The mark in what is made", "not there"),
        Experiment("listening", 1, "Listening tests", "IV-G, IV-I", has_inputs=True),
        Experiment("notes", 1, "Pitch and onset in features of piano", "after Fig. 3, for IV-I"),
        Experiment("music", 1, "Continuations of music", "IV-I"),
        Experiment("next_segment", 1, "What comes next in a piece", "after Table IV, for IV-I"),
    )
}
"""Every experiment by name, in the order of a report."""


def options_of(experiment: Experiment, options: EvaluationConfig) -> dict[str, Any]:
    """What an experiment depends on of the options, as plain data.

    That is its own section, and sections of other experiments, each under its name.
    """
    others = {name: getattr(options, name).model_dump(mode="json") for name in experiment.also}
    own: dict[str, Any] = getattr(options, experiment.name).model_dump(mode="json")
    return own | others
