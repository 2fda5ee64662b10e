"""Raters' answers: read back, checked against the key, and counted."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audiolm.atomic import replacing
from audiolm.errors import CorpusError
from audiolm.evaluation.metrics.listening import Answer

COLUMNS = ("test", "rater", "item", "answer")

Key = dict[str, dict[str, str]]
"""By test and item: the right answer, or the one that is for AudioLM."""


@dataclass(frozen=True)
class KeyFile:
    """What stays behind when the material goes to the raters."""

    settings: dict[str, Any]
    """What the clips depend on."""
    tests: Key


def write_key(path: Path, key: KeyFile) -> None:
    """Write the key, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(key), indent=1), encoding="utf-8")


def read_key(path: Path) -> KeyFile:
    """The key that was written with the material.

    Raises:
        CorpusError: if it cannot be read.
    """
    try:
        return KeyFile(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise CorpusError(
            f"{path}: the key of the listening test is missing or damaged; put back the one that "
            "was made with the clips, or delete the folder to make new ones"
        ) from None


def read_answers(files: Sequence[Path], key: Key) -> list[Answer]:
    """All answers of some CSV files, each checked.

    Raises:
        CorpusError: naming the file and line: columns, items or answers that the key does not
            know, or a rater who answers twice.
    """
    answers: list[Answer] = []
    seen: dict[tuple[str, str, str], Path] = {}
    for path in sorted(files):
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                lacking = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
                if lacking:
                    raise CorpusError(
                        f"{path}: there is no column {lacking[0]}; use the file as saved"
                    )
                rows = [{name: (row[name] or "").strip() for name in COLUMNS} for row in reader]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CorpusError(f"{path}: cannot be read ({error}); use the file as saved") from None
        for line, row in enumerate(rows, start=2):
            answer = Answer(**row)
            _check(answer, key, f"{path}: line {line}")
            who = (answer.test, answer.rater, answer.item)
            if who in seen:
                raise CorpusError(
                    f"{path}: line {line}: {answer.rater} has answered {answer.item} before, in "
                    f"{seen[who]}; remove one of the two"
                )
            seen[who] = path
            answers.append(answer)
    return answers


def _check(answer: Answer, key: Key, where: str) -> None:
    items = key.get(answer.test)
    if items is None:
        raise CorpusError(
            f"{where}: there is no test {answer.test!r}; there are {', '.join(key) or 'none'}"
        )
    if answer.item not in items:
        raise CorpusError(
            f"{where}: the key knows no item {answer.item!r}; these answers are of other material"
        )
    allowed = sorted(set(items.values()))
    if answer.answer not in allowed:
        raise CorpusError(
            f"{where}: {answer.answer!r} is no answer; expected {' or '.join(allowed)}"
        )
