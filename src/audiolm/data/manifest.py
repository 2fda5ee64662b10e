"""`manifest.jsonl`: one recording per line, for programs to stream and people to read.

Always valid UTF-8: of a path whose bytes are none, `path` is escaped and `path_bytes` has all of it
in hexadecimal digits.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audiolm.atomic import replacing
from audiolm.data.corpus import Recording
from audiolm.data.names import printable
from audiolm.errors import CorpusError


def write_manifest(path: Path, recordings: Iterable[Recording]) -> None:
    """Write id, path, seconds, speaker, split and speed of each recording; all lines or no file."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for recording in recordings:
            shown = printable(recording.path)
            line: dict[str, Any] = {
                "id": printable(recording.id),
                "path": shown,
                "seconds": recording.seconds,
                "speaker": recording.speaker and printable(recording.speaker),
                "split": recording.split,
                "speed": recording.speed,
            }
            if shown != str(recording.path):
                line["path_bytes"] = os.fsencode(recording.path).hex()
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_recordings(path: Path) -> list[Recording]:
    """The recordings in the order of the lines; the files they name need not be there any more.

    Manifests of earlier versions say nothing of speeds. There a recording that names the file of
    an earlier line is that one at another speed, and the speed is the ratio of their lengths.

    Raises:
        CorpusError: naming the line, if the manifest is missing, or a line is no recording.
    """
    try:  # earlier versions wrote names that are no UTF-8 as the bytes that they are
        lines = path.read_bytes().decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); write it again") from None
    recordings = []
    as_recorded: dict[Path, float] = {}  # seconds, by file
    for number, line in enumerate(lines if lines != [""] else [], start=1):
        try:
            data = json.loads(line)
            file, seconds = _path(data), float(data["seconds"])
            first = as_recorded.setdefault(file, seconds)
            recordings.append(
                Recording(
                    id=data["id"],
                    path=file,
                    seconds=seconds,
                    speaker=data["speaker"],
                    split=data["split"],
                    speed=float(data["speed"]) if "speed" in data else _ratio(first, seconds),
                )
            )
        except (ValueError, TypeError, KeyError) as error:
            raise CorpusError(
                f"{path}: line {number} is no recording ({error}); write the manifest again"
            ) from None
    return recordings


def _path(data: dict[str, Any]) -> Path:
    whole = data.get("path_bytes")
    return Path(data["path"] if whole is None else os.fsdecode(bytes.fromhex(whole)))


def _ratio(first: float, seconds: float) -> float:
    return first / seconds if seconds > 0 else 1.0
