"""Of which composition a recording is: two performances of one resemble each other.

Where no speaker is known, compositions are what hangs together: what intervals resample, and what
`--speakers` divides. They are read from tables beside the recordings: MAESTRO's, MAPS' (`dev.csv`
beside the folder `dev`) and the `drawn.csv` that scripts/render_piano.py writes.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from audiolm.data.corpus import Recording
from audiolm.errors import CorpusError
from audiolm.evaluation.text_files import read_lines

NAMED = (("file", "composition"), ("audio_filename", "canonical_composer", "canonical_title"))
"""Columns of a table of compositions: the file, and what together names the composition."""


def compositions(root: Path, recordings: Sequence[Recording]) -> dict[str, str]:
    """The composition of each recording that a table names, by the recording's id.

    A table names a file by its path from the folder of recordings, with or without its suffix.

    Raises:
        CorpusError: a table cannot be read.
    """
    named = dict(pair for table in _tables(root) for pair in _read(table))
    found = {}
    for recording in recordings:
        path = recording.path
        below = path.relative_to(root) if path.is_relative_to(root) else path
        for name in (below.as_posix(), below.with_suffix("").as_posix()):
            if name in named:
                found[recording.id] = named[name]
    return found


def _tables(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from sorted(root.glob("*.csv"))
    beside = root.resolve().with_name(f"{root.resolve().name}.csv")
    if beside.is_file():
        yield beside


def _read(table: Path) -> Iterator[tuple[str, str]]:
    """File and composition of each row; nothing of a table of something else, whatever is in it."""
    try:
        with table.open(encoding="utf-8-sig", errors="replace") as file:
            header = next(csv.reader([file.readline()]), [])
        columns = next((names for names in NAMED if {*names} <= {*header}), None)
        lines = read_lines(table) if columns else []
        for row in csv.DictReader(io.StringIO("\n".join(lines), newline="")):
            name, *parts = (row[column] or "" for column in columns or ())
            if name and any(parts):
                yield name, ": ".join(parts)
    except (OSError, csv.Error) as error:
        raise CorpusError(
            f"{table}: is no table that can be read ({error}); correct it, or move it away"
        ) from None
