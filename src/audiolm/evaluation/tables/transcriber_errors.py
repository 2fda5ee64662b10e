"""How well the transcriber writes down what was truly played: it stands beside what it is used for.

The recordings themselves, and the recordings through the codec, as continuations come.
"""

from collections.abc import Sequence

import numpy as np

from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import read_notes
from audiolm.evaluation.generated import levels_made
from audiolm.evaluation.metrics import notes as note_tables
from audiolm.evaluation.metrics import transcription
from audiolm.evaluation.metrics.statistics import Metric, mean_of_known
from audiolm.evaluation.report.results import Table, TableCell
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.music_windows import Window
from audiolm.evaluation.tables.transcriber import Transcriber


def transcriber_errors(
    transcriber: Transcriber, windows: Sequence[Window], request: ExperimentRequest
) -> tuple[dict[str, Metric], Table] | None:
    """How well the transcriber writes down what was truly played; None without tables of notes.

    Raises:
        CorpusError: a table of notes is none.
    """
    of_recording: list[dict[str, float | None]] = []
    through_codec: list[dict[str, float | None]] = []
    pieces = []
    for number, window in enumerate(windows):
        table = window.utterance.notes
        if table is None:
            continue
        played = _played(read_notes(table), window, table.as_posix())
        codec = request.model.reconstruction(window.audio, levels_made(request.model))
        of_recording.append(transcription.evaluate(played, transcriber.transcribe(window.audio)))
        through_codec.append(transcription.evaluate(played, transcriber.transcribe(codec)))
        pieces.append(window.piece)
        request.progress(0.9 + 0.1 * (number + 1) / len(windows))
    if not pieces:
        return None
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    for kind, title, each in (
        ("recording", "Recordings", of_recording),
        ("codec", "Recordings through the codec", through_codec),
    ):
        for name, unit in transcription.UNITS.items():
            found = mean_of_known([one[name] for one in each], pieces, unit=unit, seed=request.seed)
            if found is not None:
                metrics[f"transcriber_{name}.{kind}"] = found
        cells = [metrics.get(f"transcriber_{name}.{kind}") for name in transcription.UNITS]
        rows.append([title, *cells])
    columns = ["Of", "Precision, %", "Recall, %", "F1, %", "Velocity, correlation"]
    note = (
        "Pitch right and onset within 50 ms (mir_eval.transcription), beside the tables of notes."
    )
    return metrics, Table(f"The transcriber itself: {transcriber.name}", columns, rows, note)


def _played(notes: np.ndarray, window: Window, table: str) -> np.ndarray:
    """The notes that begin in a window, on its clock.

    Raises:
        CorpusError: they are no notes of a piano.
    """
    try:
        note_tables.validate(notes)
    except ValueError as error:
        raise CorpusError(f"{table}: {error}; give rows of onset, offset, note, velocity") from None
    inside = (notes[:, 0] >= window.begin) & (notes[:, 0] < window.begin + window.audio.seconds)
    moved: np.ndarray = notes[inside] - np.array([window.begin, window.begin, 0, 0])
    return moved
