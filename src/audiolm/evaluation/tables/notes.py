"""Do tokens of piano carry pitch and onset, as those of speech carry phones? A probe, by layer.

The paper chooses a layer and a K by ABX of phones (Fig. 3), and says of piano that the same tokens
keep melody and harmony (IV-I). Here a linear probe reads off every layer, and off the ids, which
keys sound and where notes begin; it learns from recordings with a table of notes beside each, such
as scripts/render_piano.py makes, and is judged on others, by recording.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from audiolm.audio.files import read
from audiolm.audio.mel import LogMel, MelConfig
from audiolm.errors import ConfigurationError, CorpusError
from audiolm.evaluation.corpora import Utterance, read_notes, utterances
from audiolm.evaluation.metrics.linear_probe import LinearProbe, one_hot
from audiolm.evaluation.metrics.notes import (
    TARGETS,
    average_precision,
    best_threshold,
    f1,
    targets,
)
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP, Waveform

if TYPE_CHECKING:
    from audiolm.model import AudioLM

MEL = MelConfig(window=1024, bins=128)
"""The spectrum that anything learnt has to beat."""


@dataclass(frozen=True)
class Feature:
    """Something that the probe reads."""

    name: str
    """In the names of metrics."""
    title: str
    """In tables."""
    extract: Callable[[Waveform], Tensor]
    """Waveform (1, T) to one row for each of ceil(T / 640) steps: (S, D), or ids (S,)."""
    ids: int | None = None
    """How many ids there are, where it is ids."""

    def matrix(self, rows: np.ndarray) -> np.ndarray:
        """Rows as the probe reads them, (S, D)."""
        return rows if self.ids is None else one_hot(rows, self.ids)


@dataclass(frozen=True)
class Example:
    """A recording: every feature of it, and what is played."""

    piece: str
    """What intervals resample."""
    rows: list[np.ndarray]
    """By feature, (S, D) or (S,)."""
    truth: np.ndarray
    """(S, 101) bool, as `metrics.notes.targets`."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Keys, pitch classes and onsets, read off each feature.

    Raises:
        Skipped: without recordings to learn from, or tables of notes.
        ConfigurationError: if there is no such feature.
        CorpusError: if there are no recordings, a table of notes is none, or a composition is both
            learnt from and judged.
    """
    options = request.options.notes
    features = features_of(options.features, request.model)
    if not options.train:
        raise Skipped(
            "there are no recordings for the probe to learn from",
            "name a folder of others, with tables of notes: --set notes.train=FOLDER",
        )
    count = max(1, math.ceil(3600 * options.hours / options.longest))
    folder = Path(options.train)
    train = _with_notes(utterances(folder, validation=False), folder, count, request.seed)
    test = _with_notes(request.utterances(), request.data, request.limit, request.seed)
    both = {u.composition for u in train} & {u.composition for u in test} - {None}
    if both:
        raise CorpusError(
            f"{folder}: {min(map(str, both))} is also played in {request.data}; let the probe "
            "learn from other compositions (--set notes.train=FOLDER)"
        )
    done = 0

    def example(utterance: Utterance) -> Example | None:
        nonlocal done
        done += 1
        request.progress(0.9 * done / (len(train) + len(test)))
        return _example(utterance, features, options.longest, request.model)

    learnt_from, judged = (
        [made for utterance in chosen if (made := example(utterance)) is not None]
        for chosen in (train, test)
    )
    if not learnt_from or not judged:
        raise Skipped("nothing is played in the recordings", "give others, with their notes")
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    for number, feature in enumerate(features):
        metrics |= _judged(feature, number, learnt_from, judged, request.seed)
        cells = [
            metrics[f"{target}_{kind}.{feature.name}"]
            for target in TARGETS
            for kind in ("ap", "f1")
        ]
        rows.append([feature.title, *cells])
        request.progress(0.9 + 0.1 * (number + 1) / len(features))
    table = Table(
        "Notes read off each 40 ms by one matrix",
        [
            "From",
            *(
                f"{what}, {kind}"
                for what in ("Keys", "Pitch classes", "Onsets")
                for kind in ("AP", "F1")
            ),
        ],
        rows,
        "AP: average precision. Means of recordings. The threshold of F1 is the best on the "
        "recordings that the probe learns from.",
    )
    steps = sum(len(one.truth) for one in learnt_from)
    conditions = {
        "probe": "ridge regression, one matrix; ids one-hot",
        "learns from": f"{len(learnt_from)} recordings, {steps / 25 / 3600:.2f} h",
        "judged on": f"{len(judged)} recordings, the first {options.longest:g} s of each",
    }
    return ExperimentResult(metrics, [table], [], conditions)


def _judged(
    feature: Feature,
    number: int,
    learnt_from: Sequence[Example],
    judged: Sequence[Example],
    seed: int,
) -> dict[str, Metric]:
    """Fit a probe to one feature; its metrics, in percent."""

    def matrix(example: Example) -> np.ndarray:
        return feature.matrix(example.rows[number])

    probe = LinearProbe((matrix(example), example.truth) for example in learnt_from)
    own = np.concatenate([probe.scores(matrix(example)) for example in learnt_from])
    own_truth = np.concatenate([example.truth for example in learnt_from])
    scores = [probe.scores(matrix(example)) for example in judged]
    pieces = [example.piece for example in judged]
    metrics = {}
    for target, columns in TARGETS.items():
        threshold = best_threshold(own[:, columns], own_truth[:, columns])
        cells = [(s[:, columns], e.truth[:, columns]) for s, e in zip(scores, judged, strict=True)]
        values = {
            "ap": [average_precision(*pair) for pair in cells],
            "f1": [f1(*pair, threshold) for pair in cells],
        }
        for kind, each in values.items():
            name = f"{target}_{kind}.{feature.name}"
            metrics[name] = mean_metric(each, pieces, unit="%", scale=100, seed=seed)
    return metrics


def _with_notes(
    found: Sequence[Utterance], folder: Path, count: int | None, seed: int
) -> list[Utterance]:
    """At most so many of the recordings that have a table of notes beside them."""
    have = [u for u in found if u.notes is not None]
    if not have:
        raise Skipped(
            f"{folder}: no recording has a table of notes (.tsv) beside it",
            "make such recordings with scripts/render_piano.py, or give those of MAPS",
        )
    return spread_over_speakers(have, count, seed)


def _example(
    utterance: Utterance, features: Sequence[Feature], longest: float, model: "AudioLM"
) -> Example | None:
    """One recording, or None where nothing is played in what is heard of it."""
    path = utterance.recording.path
    samples = read(path, SAMPLE_RATE).first(longest).samples
    waveform = torch.from_numpy(samples)[None].to(model.device)  # (1, T)
    try:
        truth = targets(read_notes(path.with_suffix(".tsv")), -(-len(samples) // SEMANTIC_HOP))
    except ValueError as error:
        raise CorpusError(
            f"{path.with_suffix('.tsv')}: {error}; give rows of onset, offset, note, velocity"
        ) from None
    if not truth[:, TARGETS["onsets"]].any() or not truth[:, TARGETS["keys"]].any():
        return None
    with torch.inference_mode():
        rows = [feature.extract(waveform).cpu().numpy() for feature in features]
    return Example(utterance.speaker, rows, truth)


def features_of(names: Sequence[str], model: "AudioLM") -> list[Feature]:
    """The named features, in that order.

    Args:
        names: `nothing` (how often each note is played), `mel`, `layers` (all that the tokenizer
            holds), `layer:L`, `semantic`, `codec`.
        model: whose tokenizer and codec.

    Raises:
        ConfigurationError: if there is no such feature.
    """
    held = model.semantic.layer
    layers = [f"layer:{layer}" for layer in range(1, held + 1)]
    asked = [one for name in names for one in (layers if name == "layers" else [name])]
    chosen = []
    for name in dict.fromkeys(asked):
        kind, _, number = name.partition(":")
        if name in _MAKERS:
            chosen.append(_MAKERS[name](model))
        elif kind == "layer" and number.isdigit() and 1 <= int(number) <= held:
            chosen.append(_layer(model, int(number)))
        else:
            raise ConfigurationError(
                f"notes.features: {name} is not known; choose of {', '.join(_MAKERS)}, layers, "
                f"layer:1 to layer:{held}"
            )
    return chosen


def _nothing(model: "AudioLM") -> Feature:
    def extract(waveform: Waveform) -> Tensor:
        return waveform.new_zeros(-(-waveform.shape[1] // SEMANTIC_HOP), 1)

    return Feature("nothing", "nothing: how often each is played", extract)


def _mel(model: "AudioLM") -> Feature:
    log_mel = LogMel(MEL).to(model.device)
    per_step = SEMANTIC_HOP // MEL.hop

    def extract(waveform: Waveform) -> Tensor:
        padded = torch.nn.functional.pad(waveform, (0, -waveform.shape[1] % SEMANTIC_HOP))
        frames: Tensor = log_mel(padded)[0]  # (4 S, bins)
        return frames.reshape(-1, per_step * MEL.bins)

    return Feature("mel", f"log-mel, {MEL.bins} bands over {MEL.window / 16:g} ms", extract)


def _layer(model: "AudioLM", layer: int) -> Feature:
    title = f"w2v-BERT layer {layer}, not quantized"
    return Feature(f"layer_{layer}", title, lambda w: model.semantic.features(w, layer=layer)[0])


def _semantic(model: "AudioLM") -> Feature:
    clusters = model.semantic.clusters
    title = f"semantic tokens of layer {model.semantic.layer}, K = {clusters}"
    return Feature("semantic", title, lambda w: model.semantic.encode(w)[0], clusters)


def _codec(model: "AudioLM") -> Feature:
    codec, per_step = model.codec, SEMANTIC_HOP // CODEC_HOP

    def extract(waveform: Waveform) -> Tensor:
        padded = torch.nn.functional.pad(waveform, (0, -waveform.shape[1] % SEMANTIC_HOP))
        frames = codec.embed(codec.encode(padded))[0]  # (2 S, D)
        return frames.reshape(-1, per_step * codec.dim)

    return Feature("codec", f"acoustic tokens, {codec.levels} levels", extract)


_MAKERS: dict[str, Callable[["AudioLM"], Feature]] = {
    "nothing": _nothing,
    "mel": _mel,
    "semantic": _semantic,
    "codec": _codec,
}
