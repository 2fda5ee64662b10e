"""A gap filled in (not in the paper): is it the voice, does it lead on, are the joints smooth?

Of each recording a piece is cut out of the middle and filled. Beside that stand the recording
itself, the same piece through the codec (what no edit can exceed), the piece with its content kept
and its sound made anew, and the same place with a piece of another speaker's recording in it.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.editing import Gap, checked_gap, joined
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import levels_made, needed
from audiolm.evaluation.metrics import joints
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import between, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.voices import learn_voices
from audiolm.model import AudioLM
from audiolm.safety.classifier import WINDOW_HOP, Classifier
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP
from audiolm.stages import Stage, Streams

NAMES = {
    "original": "The recording itself",
    "codec": "Its own piece, through the codec",
    "kept": "Its own content, made anew",
    "edit": "Said anew",
    "other": "Another speaker's piece (floor)",
}
COLUMNS = {
    "voice": ("Voice, told right", "%"),
    "voice_cosine": ("Voice, cosine with both sides", ""),
    "bits_in": ("Bits per step after the first joint", "bit"),
    "bits_out": ("after the second", "bit"),
    "level_step": ("Level step", "dB"),
    "pitch_step": ("Pitch step", "semitones"),
}
"""By metric: its column and unit."""

JOINT_STEPS = 10
"""Semantic steps, 0.4 s, after a joint whose likelihood is told."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Voice of the gap, likelihood of the ids behind each joint, steps of level and pitch.

    Raises:
        Skipped: no recording is long enough, the model cannot edit, or praat-parselmouth is not
            installed.
    """
    options, model = request.options.edit, request.model
    needed(model, "semantic", "parallel")
    stage = model.stages["semantic"]
    if not stage.config.layout.fill_in_the_middle:
        raise Skipped(
            "the semantic stage has not learnt to fill the middle",
            "audiolm train FOLDER --out NEW --from MODEL --only semantic "
            "--set stages.semantic.layout.fill_in_the_middle=true",
        )
    classifier, everything, lacking = _voices(request)
    shortest = max(options.shortest, options.gap + 1)
    count = options.recordings if request.limit is None else request.limit
    chosen = spread_over_speakers(
        between(everything, shortest, settings="edit.shortest"),
        min(count, options.recordings),
        request.seed,
    )
    measured = _Measured()
    for number, utterance in enumerate(chosen, start=1):
        audio = read(utterance.recording.path, SAMPLE_RATE)
        start = round((audio.seconds - options.gap) / 2, 2)
        gap = checked_gap(audio, start, start + options.gap)
        pieces = _filled(request, audio, start, gap, _other(chosen, utterance))
        for kind, filled in pieces.items():
            found = joints.evaluate(filled, [start, start + options.gap])
            found |= _bits(model, stage, filled, gap)
            if classifier is not None:
                found |= _voice(classifier, filled, gap, utterance.speaker)
            measured.add(kind, utterance.speaker, found)
        request.progress(number / len(chosen))
    conditions = {
        "recordings": f"{len(chosen)}, of {shortest:g} s or more",
        "gap": f"{options.gap:g} s in the middle, filled with as much",
        "best of": str(options.best_of),
        "bits": f"of the {JOINT_STEPS} steps after a joint, by the semantic stage from left to "
        "right, of the ids that are heard in the sound",
        "steps": f"{1000 * joints.SPAN:g} ms before and after each joint, "
        f"{1000 * joints.MARGIN:g} ms away from it",
    }
    if lacking:
        conditions["not measured"] = f"voice: {lacking}"
    return measured.result(conditions, request.seed)


def _voices(request: ExperimentRequest) -> tuple[Classifier | None, list[Utterance], str]:
    """Who tells voices, recordings that it has not heard, and why there is none, if so."""
    try:
        voices = learn_voices(request)
    except (Skipped, CorpusError) as missing:
        return None, request.utterances(), str(missing)
    return voices.classifier, voices.validation, ""


def _other(chosen: Sequence[Utterance], utterance: Utterance) -> Audio | None:
    """A recording of another speaker, each time another one; None where there is none."""
    place = chosen.index(utterance)
    following = [*chosen[place + 1 :], *chosen[:place]]
    for other in following:
        if other.speaker != utterance.speaker:
            return read(other.recording.path, SAMPLE_RATE)
    return None


def _filled(
    request: ExperimentRequest, audio: Audio, start: float, gap: Gap, other: Audio | None
) -> dict[str, Audio]:
    """The recording with each kind of piece in its gap."""
    options, generated = request.options.edit, request.generated()
    end = start + options.gap
    rendered = request.model.reconstruction(audio, levels_made(request.model))
    pieces = {"original": audio, "codec": joined(audio, _piece(rendered, gap.start, gap), gap)}
    for kind, keep in (("kept", True), ("edit", False)):
        pieces[kind] = generated.edit(audio, start, end, keep, request.seed, options.best_of)
    if other is not None:
        first = (len(other.samples) - gap.length) // 2
        pieces["other"] = joined(audio, _piece(other, first, gap), gap)
    return pieces


def _piece(audio: Audio, first: int, gap: Gap) -> np.ndarray:
    """As many samples as fill the gap, from `first` on, and what is cross-faded around them."""
    return audio.samples[first - gap.fade_in : first + gap.length + gap.fade_out]


def _bits(model: AudioLM, stage: Stage, filled: Audio, gap: Gap) -> dict[str, float | None]:
    """Bits per step of the ids behind each joint, given what is before them."""
    window = round(stage.config.context_seconds * SAMPLE_RATE / SEMANTIC_HOP)
    ids = model.tokenize(filled).semantic[None].to(model.device)  # (1, S)
    found: dict[str, float | None] = {}
    for name, sample in (("bits_in", gap.start), ("bits_out", gap.start + gap.length)):
        step = sample // SEMANTIC_HOP
        stop = step + JOINT_STEPS
        first = max(0, stop - window)
        upto, before = (
            stage.log_likelihood(Streams(ids[:, first:last])).total for last in (stop, step)
        )
        found[name] = float(before - upto) / JOINT_STEPS / math.log(2)
    return found


def _voice(
    classifier: Classifier, filled: Audio, gap: Gap, speaker: str
) -> dict[str, float | None]:
    """Whether the voice of the gap is told right, and how near it is to that of both sides."""
    samples = filled.samples
    inside = Audio(samples[gap.start : gap.start + gap.length], SAMPLE_RATE)
    sides = [samples[: gap.start], samples[gap.start + gap.length :]]
    around = torch.cat([classifier.windows(Audio(s, SAMPLE_RATE), WINDOW_HOP)[1] for s in sides])
    _, embedded = classifier.windows(inside, WINDOW_HOP)
    near = cosine_similarity(embedded.mean(0), around.mean(0), dim=0)
    return {
        "voice": float(classifier.classify(inside) == speaker),
        "voice_cosine": float(near),
    }


class _Measured:
    """What was found of each kind of piece."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[tuple[float, str]]] = {}

    def add(self, kind: str, speaker: str, found: dict[str, float | None]) -> None:
        """Take in one recording; what has no answer is left out."""
        for name, value in found.items():
            if value is not None:
                self._found.setdefault((name, kind), []).append((value, speaker))

    def result(self, conditions: dict[str, str], seed: int) -> ExperimentResult:
        """Means, with intervals over the speakers."""
        metrics: dict[str, Metric] = {}
        for (name, kind), answers in self._found.items():
            values, speakers = zip(*answers, strict=True)
            unit = COLUMNS[name][1]
            metrics[f"{name}.{kind}"] = mean_metric(
                values, speakers, unit=unit, scale=100 if unit == "%" else 1, seed=seed
            )
        names = [name for name in COLUMNS if any(name == found for found, _ in self._found)]
        rows: list[list[TableCell]] = [
            [title, *(metrics.get(f"{name}.{kind}") for name in names)]
            for kind, title in NAMES.items()
            if any(kind == found for _, found in self._found)
        ]
        table = Table(
            "A gap filled in",
            ["In the gap", *(COLUMNS[name][0] for name in names)],
            rows,
            "Speech has steps of its own: those at the same points of the recording stand first.",
        )
        return ExperimentResult(metrics, [table], [], conditions)
