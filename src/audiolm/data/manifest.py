"""`manifest.jsonl`: one recording per line, for programs to stream and people to read.

Names of files are bytes, and old corpora have some that are no UTF-8: they pass through unchanged.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from audiolm.atomic import replacing
from audiolm.data.corpus import Recording
from audiolm.errors import CorpusError


def write_manifest(path: Path, recordings: Iterable[Recording]) -> None:
    """Write id, path, seconds, speaker and split of each recording; all lines or no file."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        for recording in recordings:
            line = {
                "id": recording.id,
                "path": str(recording.path),
                "seconds": recording.seconds,
                "speaker": recording.speaker,
                "split": recording.split,
            }
            text = json.dumps(line, ensure_ascii=False) + "\n"
            file.write(text.encode("utf-8", "surrogateescape"))


def read_recordings(path: Path) -> list[Recording]:
    """The recordings in the order of the lines; the files they name need not be there any more.

    Raises:
        CorpusError: naming the line, if the manifest is missing, or a line is no recording.
    """
    try:
        lines = path.read_bytes().decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); write it again") from None
    recordings = []
    for number, line in enumerate(lines if lines != [""] else [], start=1):
        try:
            data = json.loads(line)
            recordings.append(
                Recording(
                    id=data["id"],
                    path=Path(data["path"]),
                    seconds=float(data["seconds"]),
                    speaker=data["speaker"],
                    split=data["split"],
                )
            )
        except (ValueError, TypeError, KeyError) as error:
            raise CorpusError(
                f"{path}: line {number} is no recording ({error}); write the manifest again"
            ) from None
    return recordings
