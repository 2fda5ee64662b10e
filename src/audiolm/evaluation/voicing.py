"""Hoarseness: is what the codec makes of a voice as periodic as the recording? (not in the paper)

The metrics are those of `audiolm.evaluation.metrics.voicing`, and wide-band PESQ (ITU-T P.862.2) by
the package `pesq`; Opus goes through the same.
"""

import math
from importlib.metadata import version
from typing import Any

import numpy as np

from audiolm.audio.files import read
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.metrics import voicing
from audiolm.evaluation.protocol import Cell, Figure, PartResult, Request, Table, extra
from audiolm.evaluation.reconstruction import codec_versions, opus_installed, opus_versions
from audiolm.evaluation.selection import between, spread
from audiolm.evaluation.statistics import mean_figure
from audiolm.shapes import SAMPLE_RATE

SHORTEST = 1.0
"""Seconds; PESQ wants a quarter of one, and a voice some more."""
UNITS = {"pesq": "MOS", "pitch_error": "cents", "periodicity_error": "", "voicing_f1": ""}


def evaluate(request: Request) -> PartResult:
    """Pitch, periodicity, voicing and PESQ of reconstructions.

    Raises:
        Skipped: without praat-parselmouth or pesq, or recordings that last a second.
        CorpusError: if nothing can be compared.
    """
    praat, pesq = extra("parselmouth"), extra("pesq")
    options = request.options.voicing
    count = min(options.recordings, request.limit or options.recordings)
    chosen = spread(between(utterances(request.data), SHORTEST), count, request.seed)
    conditions = {
        "recordings": f"{len(chosen)}, spread over the speakers, the first "
        f"{options.longest:g} s of each",
        "pitch": f"by autocorrelation, praat-parselmouth {version('praat-parselmouth')}, every "
        f"{1000 * voicing.STEP_SECONDS:g} ms, {voicing.FLOOR:g} to {voicing.CEILING:g} Hz",
        "pesq": f"wide band, pesq {version('pesq')}",
    }
    versions = [
        *codec_versions(request, options.levels),
        *opus_versions(options.opus, conditions),
    ]
    found: dict[str, list[dict[str, float | None]]] = {one.name: [] for one in versions}
    kilobits: dict[str, list[float]] = {one.name: [] for one in versions}
    for number, utterance in enumerate(chosen):
        audio = read(utterance.recording.path, SAMPLE_RATE).first(options.longest)
        reference = voicing.track(praat, audio.samples, SAMPLE_RATE)
        for one in versions:
            made, rate = one.make(audio)
            samples = made.samples[: len(audio.samples)]
            estimate = voicing.track(praat, samples, SAMPLE_RATE)
            found[one.name].append(
                voicing.evaluate(reference, estimate)
                | {"pesq": _pesq(pesq, audio.samples, samples)}
            )
            kilobits[one.name].append(rate)
        request.progress((number + 1) / len(chosen))

    speakers = [utterance.speaker for utterance in chosen]
    metrics: dict[str, Figure] = {}
    rows: list[list[Cell]] = []
    for one in versions:
        cells: list[Cell] = []
        for name, unit in UNITS.items():
            values = [scores[name] for scores in found[one.name]]
            known = [(v, s) for v, s in zip(values, speakers, strict=True) if v is not None]
            if known:
                numbers, voices = zip(*known, strict=True)
                metrics[f"{name}.{one.name}"] = mean_figure(
                    numbers, voices, unit=unit, seed=request.seed
                )
            cells.append(metrics.get(f"{name}.{one.name}"))
        rates = kilobits[one.name]
        rows.append([one.title, round(sum(rates) / len(rates), 2), *cells])
    if not metrics:
        raise CorpusError(f"{request.data}: there is no voice in any of {len(chosen)} recordings")
    table = Table(
        "Voices through the codec",
        ["Through", "kbit/s", "PESQ", "Pitch error, cents", "Periodicity error", "Voicing F1"],
        rows,
        "Pitch: root mean square error where both are voiced; periodicity: over all frames. Opus "
        "at its true bitrate, without the file format around it.",
    )
    return PartResult(metrics, [table], [], conditions)


def inputs(request: Request) -> dict[str, Any]:
    """Which Opus there is to compare with."""
    return opus_installed(request.options.voicing.opus)


def _pesq(package: Any, reference: np.ndarray, estimate: np.ndarray) -> float | None:
    """Wide-band PESQ, 1 to 4.64; None where it finds no utterance."""
    score = package.pesq(
        SAMPLE_RATE,
        reference,
        estimate,
        "wb",
        on_error=package.PesqError.RETURN_VALUES,
    )
    return None if score < 1 or math.isnan(score) else float(score)
