"""What an experiment is given, and what it is: a function `evaluate(request) -> ExperimentResult`.

An experiment makes one table of the paper, in a module of its own. This file knows none of them;
`registry` lists them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from audiolm.evaluation.corpora import Utterance, utterances
from audiolm.evaluation.generated import OWN_WAY, Generated
from audiolm.evaluation.halves import Speakers
from audiolm.evaluation.options import EvaluationConfig, MakingConfig
from audiolm.evaluation.report.results import ExperimentResult

if TYPE_CHECKING:
    from audiolm.model import AudioLM


@dataclass(frozen=True)
class ExperimentRequest:
    """What an experiment is asked for."""

    model: "AudioLM"
    data: Path
    """The folder that `--data` names. An experiment looks in it for the layout that it needs."""
    out: Path
    """A folder of this experiment alone, which exists: plots and what else it makes go there."""
    limit: int | None
    """At most so many items of its own kind (utterances, speakers, pairs); None: all."""
    seed: int
    progress: Callable[[float], None]
    """Is told which share of the experiment is done, 0 to 1."""
    options: EvaluationConfig = field(default_factory=EvaluationConfig)
    speakers: Speakers = "all"
    """Whose recordings are measured."""
    best_of: int = 1
    """Draws of everything that is generated, of which the best is kept (`audiolm.reranking`)."""

    def generated(self, making: MakingConfig = OWN_WAY) -> Generated:
        """Makes sound with the model; the experiments of one report share what is made."""
        return Generated(self.model, self.out.parent / "generated", making, self.best_of)

    def utterances(self, *, validation: bool = True) -> list[Utterance]:
        """The recordings of the half of the speakers that is asked for, sorted by id.

        Args:
            validation: leave out what a layout names as training data, unless there is nothing
                else.

        Raises:
            CorpusError: if there are no recordings.
        """
        return utterances(self.data, validation=validation, speakers=self.speakers)


class Evaluate(Protocol):
    """The function of an experiment.

    Raises:
        Skipped: for want of data, of a stage or of an extra.
        AudioLMError: the data is there and cannot be used.
    """

    def __call__(self, request: ExperimentRequest) -> ExperimentResult: ...
