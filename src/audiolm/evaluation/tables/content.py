"""What a recogniser understands: of recordings, after the codec, of acoustic generation (Table II).

Acoustic generation keeps the semantic tokens and draws everything else anew, so that the words it
says are those that the semantic tokens hold (section IV-C). Beside it stands chance: the words of
what was generated from another utterance.

A recogniser misreads speech of few hours' training in its own ways, and a word is right or wrong.
So the semantic tokenizer is asked as well: how many of its ids it hears again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from audiolm.audio.files import read
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import coarse_maker
from audiolm.evaluation.metrics.error_rates import errors, normalise_text
from audiolm.evaluation.metrics.statistics import Metric, ratio_metric
from audiolm.evaluation.report.plots import dots
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import extra
from audiolm.evaluation.selection import between, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.recogniser import load_recogniser
from audiolm.evaluation.transcripts import transcribed
from audiolm.shapes import SAMPLE_RATE

PAPER = {
    "original": {"cer": 0.8, "wer": 2.5},
    "codec": {"cer": 0.9, "wer": 2.6},
    "acoustic_generation": {"cer": 3.4, "wer": 6.0},
}
"""Table II, in percent."""

NAMES = {
    "original": "Original",
    "codec": "Reconstruction by the codec",
    "acoustic_generation": "Acoustic generation",
    "chance": "Acoustic generation of another utterance (chance)",
}


@dataclass(frozen=True)
class Recognised:
    """What was recognised of one piece of sound."""

    kind: str
    utterance: Utterance
    text: str
    ids: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    """(S,) semantic ids of the sound, one every 40 ms."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Table II.

    Raises:
        Skipped: there are no transcripts, no utterances of the right length, or no recogniser.
    """
    options, model = request.options.content, request.model
    texts, transcripts = transcribed(request.utterances(), request.data)
    known = [u for u in texts if u.text is not None and normalise_text(u.text)]
    if not known:
        raise CorpusError(
            f"{request.data}: the transcripts are of other recordings than are measured; add theirs"
        )
    chosen = between(
        known, options.shortest, options.longest, "content.shortest and content.longest"
    )
    chosen = spread_over_speakers(chosen, request.limit, request.seed)
    extra("jiwer")
    recogniser = load_recogniser(options.recogniser, model.device)
    generated = request.generated(options)
    samples = options.samples if coarse_maker(model, options) in model.stages else 0
    heard: list[Recognised] = []
    for number, utterance in enumerate(chosen):
        audio = read(utterance.recording.path, SAMPLE_RATE)
        sounds = [("original", audio), ("codec", model.reconstruction(audio))]
        for sample in range(samples):
            made = generated.acoustic_generation(audio, request.seed + sample)
            sounds.append(("acoustic_generation", made))
        for kind, sound in sounds:
            text = normalise_text(recogniser.transcribe(sound))
            heard.append(Recognised(kind, utterance, text, model.tokenize(sound).semantic))
        request.progress((number + 1) / len(chosen))
    heard += by_chance(heard)

    metrics = error_metrics(heard, request.seed) | id_metrics(heard, request.seed)
    rows: list[list[TableCell]] = [
        [NAMES[k], *(metrics.get(f"{name}.{k}") for name in ("cer", "wer", "ids"))]
        for k in NAMES
        if f"wer.{k}" in metrics
    ]
    conditions = {
        "recogniser": recogniser.name,
        "transcripts": str(transcripts),
        "text": "lower case, no punctuation but apostrophes within words",
        "utterances": f"{len(chosen)} of {options.shortest:g} to {options.longest:g} s",
        "samples": f"{samples} acoustic generations of each",
        "same ids": f"of the model's own tokenizer, K = {model.semantic.clusters}, step by step",
    }
    if not samples:
        conditions["not measured"] = "acoustic generation: the model has no stage coarse"
    note = (
        "The paper's recogniser is a Conformer Transducer-L: the distances between rows compare, "
        f"their heights do not. Recogniser here: {recogniser.name}."
    )
    table = Table(
        "Character and word error rate", ["Sound", "CER", "WER", "Same semantic ids"], rows, note
    )
    series = {
        title: {NAMES[k]: metrics[f"{name}.{k}"] for k in NAMES if f"{name}.{k}" in metrics}
        for name, title in (("cer", "CER"), ("wer", "WER"))
    }
    plots = dots(request.out / "content.svg", "errors (%)", series)
    return ExperimentResult(metrics, [table], plots, conditions)


def by_chance(heard: Sequence[Recognised]) -> list[Recognised]:
    """What acoustic generation made, each as if it were said in another utterance.

    That is one by another speaker wherever there is one, else another one by the same.
    """
    made = [one for one in heard if one.kind == "acoustic_generation"]
    said = list({one.utterance.recording.id: one.utterance for one in made}.values())
    partners: dict[str, Utterance] = {}
    for place, own in enumerate(said):
        # From half way round: utterances that are sorted by speaker then have partners of others.
        turn = (place + len(said) // 2) % len(said)
        others = [u for u in [*said[turn:], *said[:turn]] if u is not own]
        strangers = [u for u in others if u.speaker != own.speaker]
        if others:
            partners[own.recording.id] = (strangers or others)[0]
    return [
        Recognised("chance", partners[one.utterance.recording.id], one.text, one.ids)
        for one in made
        if one.utterance.recording.id in partners
    ]


def error_metrics(heard: Sequence[Recognised], seed: int) -> dict[str, Metric]:
    """CER and WER of each kind of sound: all errors over all words, intervals over speakers."""
    metrics: dict[str, Metric] = {}
    for kind in dict.fromkeys(one.kind for one in heard):
        of_kind = [one for one in heard if one.kind == kind]
        counts = [errors(one.text, normalise_text(one.utterance.text or "")) for one in of_kind]
        speakers = [one.utterance.speaker for one in of_kind]
        for name, wrong, total in (
            ("cer", [c.characters for c in counts], [c.of_characters for c in counts]),
            ("wer", [c.words for c in counts], [c.of_words for c in counts]),
        ):
            metrics[f"{name}.{kind}"] = ratio_metric(
                wrong,
                total,
                speakers,
                unit="%",
                scale=100,
                paper=PAPER.get(kind, {}).get(name),
                seed=seed,
            )
    return metrics


def id_metrics(heard: Sequence[Recognised], seed: int) -> dict[str, Metric]:
    """Share of the original's semantic ids that each kind of sound has at the same steps."""
    wanted = {one.utterance.recording.id: one.ids for one in heard if one.kind == "original"}
    metrics: dict[str, Metric] = {}
    for kind in dict.fromkeys(one.kind for one in heard if one.kind != "original"):
        of_kind = [one for one in heard if one.kind == kind]
        pairs = [(one.ids, wanted[one.utterance.recording.id]) for one in of_kind]
        steps = [min(len(found), len(asked)) for found, asked in pairs]
        same = [
            int((found[:n] == asked[:n]).sum())
            for (found, asked), n in zip(pairs, steps, strict=True)
        ]
        speakers = [one.utterance.speaker for one in of_kind]
        metrics[f"ids.{kind}"] = ratio_metric(same, steps, speakers, unit="%", scale=100, seed=seed)
    return metrics
