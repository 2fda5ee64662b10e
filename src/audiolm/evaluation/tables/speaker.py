"""Whose voice it is: in recordings, after the codec, in what the model makes (section IV-D).

A classifier learns the speakers of the corpus from nine tenths of their recordings. Of the rest it
hears the originals and the codec's reconstructions, in which the voice should still be there;
acoustic generation from their semantic tokens, in which it should not; and continuations of prompts
cut from them, without the prompts, in which it should be again (Table III).
"""

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import coarse_maker
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.report.plots import dots
from audiolm.evaluation.report.results import ExperimentResult, Table
from audiolm.evaluation.selection import prompts_of, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.voices import PAPER, learn_voices
from audiolm.safety.classifier import Classifier
from audiolm.shapes import SAMPLE_RATE

NAMES = {
    "original": "Original",
    "codec": "Reconstruction by the codec",
    "acoustic_generation": "Acoustic generation",
    "continuation": "Continuation, without the prompt",
    "continuation_like_prompt": "Continuation, same voice as its prompt is said to be",
}


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Table III.

    Raises:
        Skipped: no speaker is known.
        CorpusError: there is one speaker only, or one recording of each.
    """
    options, model = request.options.speaker, request.model
    voices = learn_voices(request, lambda share: request.progress(0.5 * share))
    chosen = spread_over_speakers(voices.validation, request.limit, request.seed)
    generated = request.generated(options)
    heard, maker = VoiceAnswers(voices.classifier), coarse_maker(model, options)
    conditions = {
        "speakers": str(len(voices.classifier.classes)),
        "chance": f"{100 / len(voices.classifier.classes):.1f} %",
        "validation": f"{len(voices.validation)} recordings, about "
        f"{options.validation_share:.0%} of each speaker's; what is generated is generated "
        "from them",
    }
    for number, utterance in enumerate(chosen):
        audio = read(utterance.recording.path, SAMPLE_RATE)
        heard.hear("original", audio, utterance)
        heard.hear("codec", model.reconstruction(audio), utterance)
        if maker in model.stages:
            for sample in range(options.samples):
                made = generated.acoustic_generation(audio, request.seed + sample)
                heard.hear("acoustic_generation", made, utterance)
        request.progress(0.5 + 0.25 * (number + 1) / len(chosen))

    prompted = [u for u in chosen if u.recording.seconds >= options.prompt_seconds]
    if {"semantic", maker} <= model.stages.keys() and prompted:
        prompts = prompts_of(prompted, options.prompt_seconds)
        for sample in range(options.samples):
            answers = generated.continuations(prompts, options.seconds, request.seed + sample)
            for utterance, prompt, answer in zip(prompted, prompts, answers, strict=True):
                heard.hear("continuation", answer.last(options.seconds), utterance, prompt)
            request.progress(0.75 + 0.25 * (sample + 1) / options.samples)
    lacking = {"semantic", maker} - model.stages.keys()
    if not prompted:
        conditions["not measured"] = (
            f"continuations: no recording lasts the {options.prompt_seconds:g} s of a prompt"
        )
    if lacking:
        conditions["not measured"] = f"what takes the stages {', '.join(sorted(lacking))}"
    return heard.result(conditions, request)


class VoiceAnswers:
    """What a classifier of voices said of each kind of sound."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._right: dict[str, list[bool]] = {}
        self._speakers: dict[str, list[str]] = {}

    def hear(
        self, kind: str, audio: Audio, said_by: Utterance, prompt: Audio | None = None
    ) -> None:
        """Classify one piece of sound; with a prompt, compare with what is said of that as well."""
        answer = self._classifier.classify(audio)
        self._note(kind, answer == said_by.speaker, said_by)
        if prompt is not None:
            same = answer == self._classifier.classify(prompt)
            self._note(f"{kind}_like_prompt", same, said_by)

    def _note(self, kind: str, right: bool, said_by: Utterance) -> None:
        self._right.setdefault(kind, []).append(right)
        self._speakers.setdefault(kind, []).append(said_by.speaker)

    def result(self, conditions: dict[str, str], request: ExperimentRequest) -> ExperimentResult:
        """Accuracies, with intervals over the speakers."""
        metrics: dict[str, Metric] = {}
        for kind, right in self._right.items():
            metrics[kind] = mean_metric(
                right,
                self._speakers[kind],
                unit="%",
                scale=100,
                paper=PAPER.get(kind),
                seed=request.seed,
            )
        table = Table(
            "Speaker classification",
            ["Sound", "Accuracy", "Paper"],
            [[NAMES[kind], metric, metric.paper] for kind, metric in metrics.items()],
            "The paper's classifier tells 291 speakers apart, this one those of the corpus: "
            f"chance is {conditions['chance']} here and 0.3 % there.",
        )
        named = {NAMES[kind]: metric for kind, metric in metrics.items()}
        plots = dots(request.out / "speaker.svg", "accuracy (%)", {"here": named})
        return ExperimentResult(metrics, [table], plots, conditions)
