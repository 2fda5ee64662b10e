"""Quality of the codec at each of its bitrates, beside Opus and semantic tokens alone (Table I).

The same recordings go through everything. ViSQOL gives a recording beside itself less than 5: that
ceiling stands in the table, and figures are read against it.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.data.store import pack
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance, utterances
from audiolm.evaluation.opus import Opus
from audiolm.evaluation.plots import lines
from audiolm.evaluation.protocol import (
    Cell,
    Figure,
    PartResult,
    Request,
    Skipped,
    Table,
    extra,
)
from audiolm.evaluation.quality import Visqol, VisqolMode
from audiolm.evaluation.scoring import MEASURES, measured, processes
from audiolm.evaluation.selection import between, spread
from audiolm.evaluation.semantic_decoder import SemanticDecoder, train_semantic_decoder
from audiolm.evaluation.statistics import mean_figure
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP

SHORTEST = 1.0
"""Seconds; in shorter recordings STOI and ViSQOL find too little to compare."""

PAPER_VISQOL = {"codec_4": 3.3, "codec_12": 3.9, "semantic": 1.1}
"""Table I, of SoundStream with N = 1024 and K = 1024."""

TRAINING_SHARE = 0.4
"""Of the part's progress, where a decoder of semantic tokens is trained."""


@dataclass(frozen=True)
class Version:
    """One thing that a recording goes through."""

    name: str
    """In the names of metrics: codec_4, opus_12, semantic, itself."""
    title: str
    make: Callable[[Audio], tuple[Audio, float]]
    """Recording to what is made of it, and the kbit/s that this takes."""


@dataclass
class Scores:
    """What one version was given, recording by recording; None where a measure has no answer."""

    kilobits: list[float] = field(default_factory=list)
    by_measure: dict[str, list[float | None]] = field(
        default_factory=lambda: {measure: [] for measure in MEASURES}
    )


def evaluate(request: Request) -> PartResult:
    """Table I, the reconstruction column.

    Raises:
        Skipped: without ViSQOL (with its lattice mapper), STOI, or recordings that last a second.
        CorpusError: if there are no recordings, or they are all silent.
    """
    options = request.options.reconstruction
    mode = visqol_mode(options.visqol, request.data)
    visqol = Visqol(mode)
    extra("pystoi")
    everything = utterances(request.data)
    count = min(options.recordings, request.limit or options.recordings)
    chosen = spread(between(everything, SHORTEST), count, request.seed)
    conditions = {
        "recordings": f"{len(chosen)}, spread over the speakers, the first "
        f"{options.longest:g} s of each",
        "visqol": f"{mode} mode, {visqol.mapper} mapper",
        "sample rate": "16 kHz, reference and reconstruction",
    }
    versions = [
        Version("itself", "The recording itself (ceiling)", lambda audio: (audio, math.inf))
    ]
    versions += codec_versions(request, options.levels)
    versions += _fine_version(request)
    versions += opus_versions(options.opus, conditions)
    versions += _semantic_version(request, everything, chosen, conditions)

    scores = {version.name: Scores() for version in versions}

    def pairs() -> Iterator[tuple[Audio, Audio]]:
        for utterance in chosen:
            audio = read(utterance.recording.path, SAMPLE_RATE).first(options.longest)
            for version in versions:
                made, kilobits = version.make(audio)
                scores[version.name].kilobits.append(kilobits)
                yield made, audio

    begun = TRAINING_SHARE if versions[-1].name == "semantic" else 0.0
    total = len(chosen) * len(versions)
    for number, found in enumerate(measured(pairs(), visqol, processes())):
        one = scores[versions[number % len(versions)].name]
        for measure, value in found.items():
            one.by_measure[measure].append(value)
        request.progress(begun + (1 - begun) * (number + 1) / total)

    speakers = [utterance.speaker for utterance in chosen]
    metrics = _figures(scores, speakers, request.seed)
    if "visqol.itself" not in metrics:
        raise CorpusError(
            f"{request.data}: ViSQOL finds nothing to compare in any of {len(chosen)} recordings; "
            "give recordings that are not silent"
        )
    rows: list[list[Cell]] = []
    for version in versions:
        rate = sum(scores[version.name].kilobits) / len(chosen)
        cells = [metrics.get(f"{measure}.{version.name}") for measure in MEASURES]
        rows.append([version.title, None if math.isinf(rate) else round(rate, 2), *cells])
    ceiling = metrics["visqol.itself"].value
    table = Table(
        "Reconstruction quality",
        ["Through", "kbit/s", "ViSQOL", "STOI", "SI-SDR", "Mel distance"],
        rows,
        f"ViSQOL in {mode} mode with the {visqol.mapper} mapper, whose ceiling is {ceiling:.2f}, "
        "not 5. Opus at its true bitrate, without the file format around it. A decoder that makes "
        "its own phases has a low SI-SDR, however good it sounds.",
    )
    plots = _plots(versions, scores, metrics, request.out / "visqol-by-bitrate.svg")
    return PartResult(metrics, [table], plots, conditions)


def inputs(request: Request) -> dict[str, Any]:
    """Which Opus there is to compare with: once it is installed, the part is done again."""
    return opus_installed(request.options.reconstruction.opus)


def opus_installed(bitrates: Sequence[float]) -> dict[str, Any]:
    """The version of Opus, where any bitrate of it is asked for."""
    if not bitrates:
        return {}
    try:
        return {"opus": Opus().version}
    except Skipped:
        return {"opus": None}


def visqol_mode(asked: str, data: Path) -> VisqolMode:
    """`speech` or `audio`: what is asked for, or by the corpus: MAESTRO is music."""
    if asked == "speech" or (asked == "auto" and not list(data.glob("maestro-v*.csv"))):
        return "speech"
    return "audio"


def codec_versions(request: Request, asked: Sequence[int]) -> Iterator[Version]:
    """The codec at each number of levels that is asked for and that it has."""
    model = request.model
    bits = math.log2(model.codec.codebook_size) * SAMPLE_RATE / CODEC_HOP
    for levels in asked:
        if levels <= model.codec.levels:

            def make(audio: Audio, levels: int = levels) -> tuple[Audio, float]:
                return model.reconstruction(audio, levels), levels * bits / 1000

            title = f"Codec, {levels} level{'s' if levels > 1 else ''}"
            yield Version(f"codec_{levels}", title, make)


def _fine_version(request: Request) -> Iterator[Version]:
    """The true coarse codes with fine ones that the fine stage draws: does it add or spoil?"""
    model = request.model
    if "fine" not in model.stages:
        return
    levels = model.stages["fine"].config.layout.coarse_levels
    bits = math.log2(model.codec.codebook_size) * SAMPLE_RATE / CODEC_HOP

    @torch.inference_mode()
    def make(audio: Audio) -> tuple[Audio, float]:
        samples = torch.from_numpy(audio.samples)[None].to(model.device)  # (1, T)
        codes = model.codec.encode(samples)  # (1, Q, F)
        run = model.pipeline(request.seed, levels=model.codec.levels)
        codes = run.fine(codes[:, :levels], codes[:, :, :0])  # (1, Q, F)
        waveform = model.codec.decode(codes)[0, : samples.shape[1]]
        return Audio(waveform.float().cpu().numpy(), SAMPLE_RATE), levels * bits / 1000

    yield Version("fine", f"Fine stage on {levels} true levels", make)


def opus_versions(bitrates: Sequence[float], conditions: dict[str, str]) -> list[Version]:
    """Opus at each bitrate (kbit/s) that is asked for, where it is installed."""
    if not bitrates:
        return []
    try:
        opus = Opus()
    except Skipped as error:
        conditions["opus"] = f"not measured: {error}"
        return []
    conditions["opus"] = opus.version
    versions = []
    for asked in bitrates:

        def make(audio: Audio, asked: float = asked) -> tuple[Audio, float]:
            result = opus(audio, asked)
            return result.audio, result.kilobits

        versions.append(Version(f"opus_{asked:g}", f"Opus, asked for {asked:g} kbit/s", make))
    return versions


def _semantic_version(
    request: Request,
    everything: Sequence[Utterance],
    chosen: Sequence[Utterance],
    conditions: dict[str, str],
) -> list[Version]:
    """A decoder of semantic tokens, trained on recordings that are not measured."""
    minutes = request.options.reconstruction.semantic_decoder_minutes
    if not minutes:
        conditions["semantic decoder"] = (
            "left out: reconstruction.semantic_decoder_minutes is 0; 10 are its default"
        )
        return []
    heard = {u.recording.id for u in chosen}
    corpus = utterances(request.data, validation=False)
    others = [u for u in corpus if u.recording.id not in heard]
    voices = {u.speaker for u in chosen}
    strangers = [u for u in others if u.speaker not in voices]
    source = strangers if len(strangers) >= len(others) / 2 else others
    if not source:
        conditions["semantic decoder"] = (
            "not trained: every recording is measured; give more recordings, or a lower --limit"
        )
        return []
    whose = "other speakers" if source is strangers else "the same speakers"
    model = request.model
    with tempfile.TemporaryDirectory(dir=request.out, ignore_cleanup_errors=True) as packed:
        store = pack([u.recording for u in source], Path(packed))
        decoder, fitted = train_semantic_decoder(
            model.codec,
            model.semantic,
            store,
            minutes,
            request.seed,
            lambda share: request.progress(TRAINING_SHARE * share),
        )
    conditions["semantic decoder"] = (
        f"trained for {minutes:g} minutes ({fitted.steps} steps) on {len(source)} other "
        f"recordings, of {whose}"
    )
    bits = math.log2(model.semantic.clusters) * SAMPLE_RATE / SEMANTIC_HOP

    def make(audio: Audio) -> tuple[Audio, float]:
        return decoded(decoder, model.tokenize(audio).semantic, len(audio.samples)), bits / 1000

    return [Version("semantic", "Semantic tokens alone", make)]


@torch.inference_mode()
def decoded(decoder: SemanticDecoder, ids: torch.Tensor, samples: int) -> Audio:
    """The sound (samples,) of semantic ids (S,)."""
    device = decoder.vectors.weight.device
    waveform = decoder(ids[None].to(device))[0, :samples]  # (T,)
    return Audio(waveform.float().cpu().numpy(), SAMPLE_RATE)


def _figures(scores: dict[str, Scores], speakers: Sequence[str], seed: int) -> dict[str, Figure]:
    metrics: dict[str, Figure] = {}
    for name, one in scores.items():
        for measure, unit in MEASURES.items():
            known = [
                (value, speaker)
                for value, speaker in zip(one.by_measure[measure], speakers, strict=True)
                if value is not None
            ]
            if not known or (name == "itself" and measure != "visqol"):
                continue
            values, voices = zip(*known, strict=True)
            metrics[f"{measure}.{name}"] = mean_figure(
                values,
                voices,
                unit=unit,
                paper=PAPER_VISQOL.get(name) if measure == "visqol" else None,
                seed=seed,
            )
    return metrics


def _plots(
    versions: Sequence[Version], scores: dict[str, Scores], metrics: dict[str, Figure], path: Path
) -> list[Path]:
    """ViSQOL against bitrate, a line for each codec."""
    curves: dict[str, dict[float, Figure]] = {}
    for version in versions:
        rates = scores[version.name].kilobits
        rate = sum(rates) / len(rates)
        if not math.isinf(rate) and f"visqol.{version.name}" in metrics:
            codec = version.title.partition(",")[0]
            curves.setdefault(codec, {})[rate] = metrics[f"visqol.{version.name}"]
    places = sorted(rate for curve in curves.values() for rate in curve)
    if places:
        ceiling = metrics["visqol.itself"]
        curves["The recording itself"] = {places[0]: ceiling, places[-1]: ceiling}
    return lines(path, "kbit/s", "ViSQOL (MOS-LQO)", curves)
