"""Is a voice hoarse after the codec? Pitch, voicing and periodicity, beside Opus.

The paper has no such table. Codecs whose decoder makes its own phases can sound rough where mean
spectra and ViSQOL say little; these metrics, as CARGAN (Morrison and others, ICLR 2022) reports
them, hear it. The same recordings go through everything.
"""

from typing import Any

from audiolm.evaluation.corpora import needs_speech
from audiolm.evaluation.metrics import voicing
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped, extra
from audiolm.evaluation.selection import between, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.systems import (
    ITSELF,
    codec_systems,
    mean_metrics,
    opus_systems,
    opus_version,
    values_of,
)

SHORTEST = 1.0
"""Seconds; shorter recordings hold too few voiced frames."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Hoarseness of the codec and of Opus.

    Raises:
        Skipped: without praat-parselmouth or pesq, recordings that last a second, or a voice; or
            the recordings are music, of whose chords a tracker of one voice's pitch says nothing.
        CorpusError: if there are no recordings.
    """
    options = request.options.voicing
    extra("parselmouth")
    extra("pesq")
    found = request.utterances()
    needs_speech(request.data, found, "reconstruction measures what the codec makes of them")
    count = min(options.recordings, request.limit or options.recordings)
    chosen = spread_over_speakers(between(found, SHORTEST), count, request.seed)
    conditions = {
        "recordings": f"{len(chosen)}, spread over the speakers, the first "
        f"{options.longest:g} s of each",
        "pitch tracker": voicing.TRACKER,
        "means": "of recordings; within one, root mean squares over frames",
        "pesq": "wide band (P.862.2), 16 kHz",
    }
    systems = [ITSELF, *codec_systems(request.model, options.levels)]
    systems += opus_systems(options.opus, conditions)
    values = values_of(systems, chosen, options.longest, voicing.evaluate, request.progress)
    speakers = [utterance.speaker for utterance in chosen]
    metrics = mean_metrics(values, voicing.UNITS, speakers, request.seed)
    if "voicing_f1.itself" not in metrics:
        raise Skipped(
            f"no voice is found in any of {len(chosen)} recordings",
            "give recordings of speech or singing",
        )
    rows: list[list[TableCell]] = []
    for system in systems:
        rate = values[system.name].rate
        cells = [metrics.get(f"{name}.{system.name}") for name in voicing.UNITS]
        rows.append([system.title, None if rate is None else round(rate, 2), *cells])
    table = Table(
        "Hoarseness",
        [
            "Through",
            "kbit/s",
            "Periodicity RMSE",
            "Periodicity change",
            "Voicing F1, %",
            "Pitch error, cents",
            "PESQ",
        ],
        rows,
        "Lower is better for the two errors; a periodicity change below zero is hoarser than the "
        "recording. Opus at its true bitrate, without the file format around it.",
    )
    return ExperimentResult(metrics, [table], [], conditions)


def inputs(request: ExperimentRequest) -> dict[str, Any]:
    """Which Opus there is to compare with: once it is installed, the table is made again."""
    return opus_version(request.options.voicing.opus)
