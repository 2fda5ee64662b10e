"""Whose voice it is: in recordings, after the codec, in what the model makes (section IV-D).

A classifier learns the speakers of the corpus from nine tenths of their recordings. Of the rest it
hears the originals and the codec's reconstructions, in which the voice should still be there;
acoustic generation from their semantic tokens, in which it should not; and continuations of prompts
cut from them, without the prompts, in which it should be again (Table III).
"""

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.data.store import pack
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import Generated
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.report.plots import dots
from audiolm.evaluation.report.results import ExperimentResult, Table
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.safety.classifier import Classifier, ClassifierFile, train_classifier
from audiolm.shapes import SAMPLE_RATE

PAPER = {"codec": 100.0, "acoustic_generation": 3.2, "continuation": 92.6}
"""Table III, in percent."""

NAMES = {
    "original": "Original",
    "codec": "Reconstruction by the codec",
    "acoustic_generation": "Acoustic generation",
    "continuation": "Continuation, without the prompt",
    "continuation_like_prompt": "Continuation, same voice as its prompt is said to be",
}


@dataclass(frozen=True)
class Voices:
    """A classifier of the corpus' speakers, and recordings of theirs that it has not heard."""

    classifier: Classifier
    validation: list[Utterance]


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Table III.

    Raises:
        Skipped: no speaker is known.
        CorpusError: there is one speaker only, or one recording of each.
    """
    options, model = request.options.speaker, request.model
    voices = learn_voices(request, lambda share: request.progress(0.5 * share))
    chosen = spread_over_speakers(voices.validation, request.limit, request.seed)
    generated = Generated(model, request.generated_folder)
    heard = VoiceAnswers(voices.classifier)
    conditions = {
        "speakers": str(len(voices.classifier.classes)),
        "chance": f"{100 / len(voices.classifier.classes):.1f} %",
        "held out": f"{len(voices.validation)} recordings, about {options.validation_share:.0%} of "
        "each speaker's; what is generated is generated from them",
    }
    for number, utterance in enumerate(chosen):
        audio = read(utterance.recording.path, SAMPLE_RATE)
        heard.hear("original", audio, utterance)
        heard.hear("codec", model.reconstruction(audio), utterance)
        if "coarse" in model.stages:
            for sample in range(options.samples):
                made = generated.acoustic_generation(audio, request.seed + sample)
                heard.hear("acoustic_generation", made, utterance)
        request.progress(0.5 + 0.25 * (number + 1) / len(chosen))

    prompted = [u for u in chosen if u.recording.seconds >= options.prompt_seconds]
    if {"semantic", "coarse"} <= model.stages.keys() and prompted:
        prompts = prompts_of(prompted, options.prompt_seconds)
        for sample in range(options.samples):
            answers = generated.continuations(prompts, options.seconds, request.seed + sample)
            for utterance, prompt, answer in zip(prompted, prompts, answers, strict=True):
                heard.hear("continuation", answer.last(options.seconds), utterance, prompt)
            request.progress(0.75 + 0.25 * (sample + 1) / options.samples)
    lacking = {"semantic", "coarse"} - model.stages.keys()
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


def prompts_of(chosen: Sequence[Utterance], seconds: float) -> list[Audio]:
    """The first `seconds` of each recording."""
    return [read(u.recording.path, SAMPLE_RATE).first(seconds) for u in chosen]


def learn_voices(
    request: ExperimentRequest, progress: Callable[[float], None] = lambda share: None
) -> Voices:
    """Train a classifier of the corpus' speakers, or take the one trained before.

    It depends on the corpus, the section `speaker` of the options and the seed, not on the model.

    Raises:
        Skipped: no speaker is known.
        CorpusError: there is one speaker only, or one recording of each.
    """
    options = request.options.speaker
    known = [
        u
        for u in request.utterances(validation=not options.training_speakers)
        if u.recording.speaker is not None
    ]
    if not known:
        raise Skipped(
            f"{request.data} does not say who speaks",
            "lay the recordings out as LibriSpeech: speaker/chapter/speaker-chapter-number.flac",
        )
    speakers = sorted({u.speaker for u in known})
    if len(speakers) < 2:
        raise CorpusError(
            f"{request.data}: {speakers[0]} is its only speaker, and there are no voices to tell "
            "apart; give recordings of two or more"
        )
    train, validation = split(known, options.validation_share, request.seed)
    if not validation:
        raise CorpusError(
            f"{request.data}: there is one recording of each speaker, so none is left to be judged "
            "by; give two or more of each"
        )
    folder = request.out.parent / "speaker-classifier"
    settings = options.model_dump(include={"epochs", "minutes"}) | {"seed": request.seed}
    names = [[u.recording.id, u.speaker, u.recording.seconds] for u in train]
    file = ClassifierFile(folder, recordings=names, **settings)
    classifier = file.load(request.model.device)
    if classifier is None:
        classifier = _trained(train, request, folder, progress)
        file.save(classifier)
    progress(1.0)
    return Voices(classifier, validation)


def _trained(
    train: Sequence[Utterance],
    request: ExperimentRequest,
    folder: Path,
    progress: Callable[[float], None],
) -> Classifier:
    options = request.options.speaker
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as packed:
        store = pack([u.recording for u in train], Path(packed))
        labels = [str(recording.speaker) for recording in store.recordings]
        return train_classifier(
            store,
            labels,
            options.epochs,
            options.minutes,
            request.model.device,
            request.seed,
            progress,
        )


def split(
    known: Sequence[Utterance], fraction: float, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Divide each speaker's recordings into what a classifier learns from and what it is judged by.

    About `fraction` of the recordings is held out, at least one of each speaker who has two. Those
    of a corpus' training split are learnt from only: the model has been trained on them.
    """
    judged_by = {u.recording.id for u in known if u.recording.split != "train"}
    judged_by = judged_by or {u.recording.id for u in known}  # a corpus of nothing else
    voices: dict[str, list[Utterance]] = {}
    for utterance in sorted(known, key=lambda u: u.recording.id):
        voices.setdefault(utterance.speaker, []).append(utterance)
    validation: list[Utterance] = []
    for speaker, own in sorted(voices.items()):
        candidates = [u for u in own if u.recording.id in judged_by]
        count = max(1, round(fraction * len(own))) if len(own) > 1 else 0
        generator = random.Random(f"{seed} {speaker}")
        validation += generator.sample(candidates, min(count, len(candidates)))
    apart = {u.recording.id for u in validation}
    return [u for u in known if u.recording.id not in apart], validation
