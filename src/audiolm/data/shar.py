"""Lhotse Shar: recordings in tar files, and in cuts.*.jsonl.gz beside them who speaks.

    cuts.000000.jsonl.gz   recording.000000.tar   (other fields: features.000000.tar, ...)

Read without lhotse: a tar's member is named by its cut, and a cut is a line of JSON.
"""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from audiolm.data.names import printable
from audiolm.errors import CorpusError


def without_other_fields(names: Sequence[str]) -> list[str]:
    """The files of a folder without the tars of a Shar folder that hold no recordings."""
    is_shar = any(name.startswith("cuts.") and ".jsonl" in name for name in names)
    return [
        name
        for name in names
        if not (is_shar and name.endswith(".tar") and not name.startswith("recording."))
    ]


def speakers(tars: Iterable[Path], root: Path) -> dict[Path, str]:
    """Who speaks in which member, as far as cuts say; without suffixes, which tell the coding.

    Args:
        tars: below `root`.
        root: of the corpus.

    Raises:
        CorpusError: naming the line that is no cut.
    """
    known: dict[Path, str] = {}
    of_folder: dict[Path, dict[str, str]] = {}
    for tar in tars:
        if tar.parent not in of_folder:
            of_folder[tar.parent] = {
                id: speaker for file in _cuts(root / tar.parent) for id, speaker in _read(file)
            }
        known |= {tar / id: speaker for id, speaker in of_folder[tar.parent].items()}
    return known


def _cuts(folder: Path) -> list[Path]:
    return sorted([*folder.glob("cuts.*.jsonl.gz"), *folder.glob("cuts.*.jsonl")])


def _read(file: Path) -> Iterator[tuple[str, str]]:
    """Cut and speaker, of the cuts that have a single one."""
    number = 0
    try:
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            for line in lines:
                number += 1
                cut = json.loads(line)
                voices = {one.get("speaker") for one in cut.get("supervisions", [])} - {None}
                if len(voices) == 1:
                    yield cut["id"], printable(voices.pop())
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(
            f"{file}: line {number} is no cut ({error}); write the Shar folder again"
        ) from None
