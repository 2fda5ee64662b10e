"""Quality of the codec at each of its bitrates, beside Opus and semantic tokens alone (Table I).

The same recordings go through everything. ViSQOL gives a recording beside itself less than 5: that
ceiling stands in the table, and metrics are read against it.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from audiolm.audio.waveform import Audio
from audiolm.data.store import pack
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance, is_music, utterances
from audiolm.evaluation.halves import Speakers
from audiolm.evaluation.metrics import quality, spectral
from audiolm.evaluation.metrics.quality import Visqol, VisqolMode
from audiolm.evaluation.metrics.statistics import Metric
from audiolm.evaluation.options import ReconstructionConfig
from audiolm.evaluation.report.plots import lines
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import extra
from audiolm.evaluation.selection import between, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.semantic_decoder import SemanticDecoder, train_semantic_decoder
from audiolm.evaluation.tables.systems import (
    ITSELF,
    System,
    SystemValues,
    codec_systems,
    mean_metrics,
    opus_systems,
    opus_version,
    values_of,
)
from audiolm.model import AudioLM
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP

SHORTEST = 1.0
"""Seconds; in shorter recordings STOI and ViSQOL find too little to compare."""

PAPER = {"visqol.codec_4": 3.3, "visqol.codec_12": 3.9, "visqol.semantic": 1.1}
"""Table I, of SoundStream with N = 1024 and K = 1024."""

SPEECH_BITRATES = (6.0, 8.0, 12.0, 16.0, 24.0)
MUSIC_BITRATES = (6.0, 12.0)
"""kbit/s that Opus is asked for in any case."""
LEAST_OPUS = 4.0
"""kbit/s: however little it is asked for, it takes about as much."""

UNITS = quality.UNITS | spectral.UNITS
TITLES = {"visqol": "ViSQOL", "stoi": "STOI", "si_sdr": "SI-SDR", "mel_distance": "Mel distance"}

TRAINING_SHARE = 0.4
"""Of the progress, where a decoder of semantic tokens is trained."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Table I, the reconstruction column.

    Raises:
        Skipped: without ViSQOL (with its lattice mapper), STOI, or recordings that last a second.
        CorpusError: if there are no recordings, or they are all silent.
    """
    options = request.options.reconstruction
    everything = request.utterances()
    mode = visqol_mode(options.visqol, request.data, everything)
    visqol = Visqol(mode)
    extra("pystoi")
    count = min(options.recordings, request.limit or options.recordings)
    chosen = spread_over_speakers(between(everything, SHORTEST), count, request.seed)
    conditions = {
        "recordings": f"{len(chosen)}, spread over the speakers, the first "
        f"{options.longest:g} s of each",
        "visqol": f"{mode} mode, {visqol.mapper} mapper",
        "sample rate": "16 kHz, reference and reconstruction",
    }
    systems = [ITSELF, *codec_systems(request.model, options.levels), *_fine_system(request)]
    systems += opus_systems(opus_bitrates(options, mode, request.model), conditions)
    systems += _semantic_system(request, everything, chosen, conditions)

    begun = TRAINING_SHARE if systems[-1].name == "semantic" else 0.0
    values = values_of(
        systems,
        chosen,
        options.longest,
        partial(pair_metrics, visqol=visqol),
        lambda share: request.progress(begun + (1 - begun) * share),
    )
    speakers = [utterance.speaker for utterance in chosen]
    # The paper's scores are of speech, and so is intelligibility.
    units = {name: unit for name, unit in UNITS.items() if mode == "speech" or name != "stoi"}
    paper = PAPER if mode == "speech" else {}
    metrics = mean_metrics(values, units, speakers, request.seed, paper)
    # Of the recording beside itself only ViSQOL is no constant.
    metrics = {k: m for k, m in metrics.items() if k == "visqol.itself" or ".itself" not in k}
    if "visqol.itself" not in metrics:
        raise CorpusError(
            f"{request.data}: ViSQOL finds nothing to compare in any of {len(chosen)} recordings; "
            "give recordings that are not silent"
        )
    rows: list[list[TableCell]] = []
    for system in systems:
        rate = values[system.name].rate
        cells = [metrics.get(f"{name}.{system.name}") for name in units]
        rows.append([system.title, None if rate is None else round(rate, 2), *cells])
    ceiling = metrics["visqol.itself"].value
    table = Table(
        "Reconstruction quality",
        ["Through", "kbit/s", *(TITLES[name] for name in units)],
        rows,
        f"ViSQOL in {mode} mode with the {visqol.mapper} mapper, whose ceiling is {ceiling:.2f}, "
        "not 5. Opus at its true bitrate, without the file format around it; it takes no less than "
        f"about {LEAST_OPUS:g} kbit/s. A decoder that makes its own phases has a low SI-SDR, "
        "however good it sounds.",
    )
    plots = _plots(systems, values, metrics, request.out / "visqol-by-bitrate.svg")
    return ExperimentResult(metrics, [table], plots, conditions)


def pair_metrics(made: Audio, real: Audio, visqol: Visqol) -> dict[str, float | None]:
    """What is measured of every pair."""
    return quality.evaluate(made, real, visqol) | spectral.evaluate(made, real)


def inputs(request: ExperimentRequest) -> dict[str, Any]:
    """Which Opus there is to compare with: once it is installed, the table is made again."""
    asked = request.options.reconstruction.opus
    return opus_version(SPEECH_BITRATES if asked is None else asked)


def visqol_mode(asked: str, data: Path, found: Sequence[Utterance]) -> VisqolMode:
    """`speech` or `audio`: what is asked for, or by the recordings: of music, `audio`."""
    if asked == "speech" or (asked == "auto" and not is_music(data, found)):
        return "speech"
    return "audio"


def opus_bitrates(
    options: ReconstructionConfig, mode: VisqolMode, model: AudioLM
) -> tuple[float, ...]:
    """What Opus is asked for in kbit/s, from the lowest on: see `ReconstructionConfig.opus`."""
    if options.opus is not None:
        return options.opus
    if mode == "speech":
        return SPEECH_BITRATES
    level = math.log2(model.codec.codebook_size) * SAMPLE_RATE / CODEC_HOP / 1000
    own = [level * count for count in options.levels if count <= model.codec.levels]
    beside = {max(LEAST_OPUS, round(times * rate, 2)) for rate in own for times in (1, 2)}
    return tuple(sorted(beside | set(MUSIC_BITRATES)))


def _fine_system(request: ExperimentRequest) -> Iterator[System]:
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

    yield System("fine", f"Fine stage on {levels} true levels", make)


def _semantic_system(
    request: ExperimentRequest,
    everything: Sequence[Utterance],
    chosen: Sequence[Utterance],
    conditions: dict[str, str],
) -> list[System]:
    """A decoder of semantic tokens, trained on recordings that are not measured."""
    minutes = request.options.reconstruction.semantic_decoder_minutes
    if not minutes:
        conditions["semantic decoder"] = (
            "left out: reconstruction.semantic_decoder_minutes is 0; 10 are its default"
        )
        return []
    heard = {u.recording.id for u in chosen}
    # What is chosen must not depend on who is reported; what is reported may know the others.
    speakers: Speakers = "choose" if request.speakers == "choose" else "all"
    corpus = utterances(request.data, validation=False, speakers=speakers)
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

    return [System("semantic", "Semantic tokens alone", make)]


@torch.inference_mode()
def decoded(decoder: SemanticDecoder, ids: torch.Tensor, samples: int) -> Audio:
    """The sound (samples,) of semantic ids (S,)."""
    device = decoder.vectors.weight.device
    waveform = decoder(ids[None].to(device))[0, :samples]  # (T,)
    return Audio(waveform.float().cpu().numpy(), SAMPLE_RATE)


def _plots(
    systems: Sequence[System],
    values: dict[str, SystemValues],
    metrics: dict[str, Metric],
    path: Path,
) -> list[Path]:
    """ViSQOL against bitrate, a line for each codec."""
    curves: dict[str, dict[float, Metric]] = {}
    for system in systems:
        rate = values[system.name].rate
        if rate is not None and f"visqol.{system.name}" in metrics:
            codec = system.title.partition(",")[0]
            curves.setdefault(codec, {})[rate] = metrics[f"visqol.{system.name}"]
    places = sorted(rate for curve in curves.values() for rate in curve)
    if places:
        ceiling = metrics["visqol.itself"]
        curves["The recording itself"] = {places[0]: ceiling, places[-1]: ceiling}
    return lines(path, "kbit/s", "ViSQOL (MOS-LQO)", curves)
