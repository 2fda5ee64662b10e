"""Telling what a model has made from recordings (section IV-H).

Continuations without their prompts stand against what the same recordings hold at that place,
compressed by the model's own codec at the same bitrate: traces of the codec tell nothing, nor does
the voice, the text before it or the length. A detector that the model brings is judged; speakers
that it was trained on are left out.
"""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import coarse_maker, levels_made, needed
from audiolm.evaluation.metrics import detection
from audiolm.evaluation.report.results import ExperimentResult, Table
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import between, prompts_of, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.shapes import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Collection

    from audiolm.model import AudioLM


@runtime_checkable
class Detector(Protocol):
    """What tells synthetic sound from recordings; a plain function will do."""

    def __call__(self, audio: Audio) -> float:
        """How likely it is that the sound is synthetic, 0 to 1."""


def detector_of(model: "AudioLM") -> Detector:
    """The model's detector: its attribute `detector`.

    Raises:
        Skipped: it has none.
    """
    detector = getattr(model, "detector", None)
    if not isinstance(detector, Detector):
        raise Skipped(
            "the model has no detector",
            "give a model that brings one; audiolm train does not make detectors yet",
        )
    return detector


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Balanced accuracy of the model's detector.

    Raises:
        Skipped: the model has no detector or cannot continue, or no recording is long enough.
    """
    options, model = request.options.detection, request.model
    detector = detector_of(model)
    needed(model, "semantic", coarse_maker(model, options))
    unheard = strangers_to(detector, request.utterances())
    chosen = spread_over_speakers(
        between(
            unheard,
            options.prompt_seconds + options.seconds,
            settings="detection.prompt_seconds and detection.seconds",
        ),
        request.limit,
        request.seed,
    )
    prompts = prompts_of(chosen, options.prompt_seconds)
    generated = request.generated(options)
    answers = generated.continuations(
        prompts,
        options.seconds,
        request.seed,
        progress=lambda share: request.progress(0.9 * share),
    )
    real, synthetic = [], []
    for utterance, answer in zip(chosen, answers, strict=True):
        audio = read(utterance.recording.path, SAMPLE_RATE)
        audio = audio.first(options.prompt_seconds + options.seconds)
        original = model.reconstruction(audio, levels_made(model))
        real.append(detector(original.last(options.seconds)))
        synthetic.append(detector(answer.last(options.seconds)))
    request.progress(1.0)

    speakers = [utterance.speaker for utterance in chosen]
    metrics = detection.evaluate(real, synthetic, speakers, options.threshold, request.seed)
    names = {
        "balanced_accuracy": "Balanced accuracy",
        "synthetic_found": "Synthetic that is found",
        "real_passed": "Originals that are let through",
        "ranked": "Synthetic ranked above its original",
    }
    rows = [[names[key], metric, metric.paper] for key, metric in metrics.items()]
    conditions = {
        "recordings": f"{len(chosen)}, each of them once continued and once as it is",
        "length": f"{options.seconds:g} s after a prompt of {options.prompt_seconds:g} s",
        "originals": f"through the codec, {levels_made(model)} levels",
        "threshold": f"{options.threshold:g}",
        "speakers": f"{len(set(speakers))}, none of whom the detector says it was trained on",
    }
    table = Table("Detection of synthetic speech", ["", "Share", "Paper"], rows)
    return ExperimentResult(metrics, [table], conditions=conditions)


def strangers_to(detector: Detector, everything: list[Utterance]) -> list[Utterance]:
    """The utterances of speakers that are not in the detector's attribute `speakers`.

    Raises:
        Skipped: there are none.
    """
    trained_on: Collection[str] = getattr(detector, "speakers", ())
    unheard = [u for u in everything if u.speaker not in trained_on]
    if not unheard:
        raise Skipped(
            "the detector was trained on every speaker of the corpus",
            "give recordings of other speakers",
        )
    return unheard
