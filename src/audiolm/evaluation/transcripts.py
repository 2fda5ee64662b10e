"""Transcripts: what is said in which recording.

Read are LibriSpeech's `84-121123.trans.txt` and any `transcripts.txt`: lines of an id and a text,
with a space, tab, comma, semicolon or `|` between them. An id is the recording's path below the
folder of the file, without its suffix (`anna/001`), or its name alone where only one recording
below that folder has it. A file nearer to a recording counts more than one further up.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiolm.data.corpus import Recording, open_corpus
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.text_files import read_lines

SEPARATORS = ("\t", "|", ",", ";")
"""Between an id and its text, besides spaces."""


@dataclass(frozen=True)
class Transcripts:
    """What the transcript files of a folder say."""

    texts: dict[str, str]
    """By the id of the recording."""
    lines: int
    """That hold an id and a text."""
    unmatched: int
    """Of these, how many fit no recording."""

    def __str__(self) -> str:
        return (
            f"{len(self.texts)} recordings have one; {self.unmatched} of {self.lines} lines fit no "
            "recording"
        )


def transcript_files(root: Path) -> list[Path]:
    """The files below `root` that say what is said in its recordings, those further up first."""
    found = {*root.rglob("*.trans.txt"), *root.rglob("transcripts.txt")}
    return sorted(found, key=lambda path: (len(path.parts), path))


def transcribed(utterances: Sequence[Utterance], root: Path) -> tuple[list[Utterance], Transcripts]:
    """The utterances with their texts, where these are known.

    Raises:
        Skipped: if there are no transcript files.
        CorpusError: as `read_transcripts`.
    """
    transcripts = read_transcripts(root)
    with_texts = [replace(u, text=transcripts.texts.get(u.recording.id)) for u in utterances]
    return with_texts, transcripts


def read_transcripts(root: Path) -> Transcripts:
    """What is said in each recording below `root`, as the transcript files there have it.

    All recordings count, whichever are measured: a name that two of them have is none's.

    Raises:
        Skipped: if there are no transcript files.
        CorpusError: naming file and line: a line holds an id and no text, an id fits several
            recordings, or a recording has two texts; or no id fits any recording.
    """
    files = transcript_files(root)
    if not files:
        raise Skipped(
            f"there are no transcripts below {root}",
            "put transcripts.txt there, or LibriSpeech's *.trans.txt, with lines `id TEXT`",
        )
    recordings = _Recordings(open_corpus(root).recordings)
    texts: dict[str, str] = {}
    lines = unmatched = 0
    first_unmatched = ""
    for path in files:
        of_this_file: dict[str, str] = {}
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            lines += 1
            where = f"{path}: line {number}"
            found = recordings.match(line, path.parent, where)
            if found is None:
                unmatched += 1
                first_unmatched = first_unmatched or f"{where} ({line.strip()[:40]!r})"
                continue
            id, text = found
            if of_this_file.setdefault(id, text) != text:
                raise CorpusError(f"{where}: {id} has another text before; keep one of them")
        texts |= of_this_file
    if lines and not texts:
        raise CorpusError(
            f"{first_unmatched}: its id fits no recording, and neither does any other; ids are "
            "paths below the folder of this file without suffix, or names of recordings"
        )
    return Transcripts(texts, lines, unmatched)


class _Recordings:
    """All recordings of a corpus, by their path and by their name."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._by_path: dict[Path, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[tuple[Path, str]]] = defaultdict(list)
        for recording in recordings:
            path, id = recording.path, recording.id
            self._by_path[path.with_suffix("")].append(id)
            self._by_path[path].append(id)
            for name in (path.stem, path.name):
                self._by_name[name].append((path, id))

    def match(self, line: str, folder: Path, where: str) -> tuple[str, str] | None:
        """The recording's id and the text of a line; None where no recording fits.

        Of the ways in which a line can be divided, the first counts whose id fits a recording.
        """
        lacks_text = None
        for name, text in _divisions(line):
            found = self._find(name, folder, where)
            if found is not None and text:
                return found, text
            lacks_text = lacks_text or (name if found is not None else None)
        if lacks_text is not None:
            raise CorpusError(f"{where} has no text after {lacks_text}; add it")
        return None

    def _find(self, name: str, folder: Path, where: str) -> str | None:
        found = self._by_path.get(folder / name) if name else None
        if found is None:
            below = [(p, i) for p, i in self._by_name.get(name, ()) if p.is_relative_to(folder)]
            found = [id for _, id in below]
        if len(found) > 1:
            raise CorpusError(
                f"{where}: {name} could be {found[0]} or {found[1]}; write the path of the "
                f"recording below {folder}"
            )
        return found[0] if found else None


def _divisions(line: str) -> Iterator[tuple[str, str]]:
    """The ways in which a line may be an id and a text."""
    line = line.strip()
    for separator in SEPARATORS:
        if separator in line:
            name, _, text = line.partition(separator)
            yield _unquoted(name), _unquoted(text)
    name, *rest = line.split(None, 1)
    yield _unquoted(name), _unquoted(rest[0]) if rest else ""


def _unquoted(field: str) -> str:
    """A field of a table without the quotes that CSV may put around it."""
    field = field.strip()
    if len(field) > 1 and field[0] == field[-1] == '"':
        return field[1:-1].replace('""', '"').strip()
    return field
