"""Corpora for measuring, in the layouts that they are published in.

Recordings are found by `audiolm.data.corpus.open_corpus`; here are also item files of ABX, and
ZeroResource 2021's pairs of words and of sentences. Transcripts have a file of their own.
"""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiolm.audio.files import READ_SUFFIXES
from audiolm.data.corpus import Recording, open_corpus
from audiolm.errors import CorpusError
from audiolm.evaluation.compositions import compositions
from audiolm.evaluation.halves import Speakers, of_half
from audiolm.evaluation.metrics.abx import Item
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.text_files import read_lines

PUBLISHED_VALUE = "1"
"""In the column `correct` of a gold file: this is a word, a grammatical sentence."""


@dataclass(frozen=True)
class Utterance:
    """A recording and, where it is known, what is said in it."""

    recording: Recording
    text: str | None = None
    composition: str | None = None
    """What is played, where a table says so (`audiolm.evaluation.compositions`)."""

    @property
    def speaker(self) -> str:
        """What to resample: the speaker, else the composition, else the recording itself."""
        if self.recording.speaker is None and self.composition is not None:
            return f"composition {self.composition}"
        return self.recording.speaker or f"recording {self.recording.id}"

    @property
    def notes(self) -> Path | None:
        """The table of its notes beside it, where there is one: then it is music."""
        table = self.recording.path.with_suffix(".tsv")
        return table if table.is_file() else None


@dataclass(frozen=True)
class ProbePair:
    """Two recordings that differ in one thing: a word and a non-word, or two sentences."""

    id: str
    """Of the pair; the same for all voices that speak it."""
    voice: str
    good: Path
    """The recording that a listener who knows the language expects."""
    bad: Path
    texts: tuple[str, str]
    """What the two say."""
    group: str
    """In which row of the detailed table it counts: a band of frequency, a kind of sentence."""
    in_vocabulary: bool | None = None
    """Whether the word occurs in LibriSpeech; None for sentences."""


def utterances(
    root: Path, *, validation: bool = True, speakers: Speakers = "all"
) -> list[Utterance]:
    """The recordings below `root`, sorted by id, without their transcripts.

    Args:
        root: a folder in any layout that `open_corpus` understands.
        validation: leave out what a layout names as training data, unless there is nothing else.
        speakers: of which half of the speakers. A recording of an unknown speaker counts as one
            of its own.

    Raises:
        CorpusError: if there are no recordings, or none of that half.
    """
    recordings = open_corpus(root).recordings
    if validation:
        recordings = [r for r in recordings if r.split != "train"] or recordings
    found = of_half(as_utterances(root, recordings), lambda u: u.speaker, speakers)
    if not found:
        raise CorpusError(
            f"{root}: none of its speakers is in the half {speakers}; give recordings of more "
            "speakers, or --speakers all"
        )
    return found


def as_utterances(root: Path, recordings: Sequence[Recording]) -> list[Utterance]:
    """Recordings of the corpus `root`, each with its composition where that is known.

    Raises:
        CorpusError: a table beside them cannot be read.
    """
    played = compositions(root, recordings)
    return [Utterance(r, composition=played.get(r.id)) for r in recordings]


def is_music(root: Path, found: Sequence[Utterance]) -> bool:
    """Whether recordings below `root` are music: what lies beside them says so, no model's name.

    That is MAESTRO's table, or tables of notes beside recordings.
    """
    return bool(list(root.glob("maestro-v*.csv"))) or any(u.notes is not None for u in found)


def needs_speech(root: Path, found: Sequence[Utterance], instead: str) -> None:
    """Check that recordings are not music, for a table that would say nothing of it.

    Raises:
        Skipped: they are; `instead` says what measures them.
    """
    if is_music(root, found):
        raise Skipped(f"{root}: these recordings are music, and this is about speech", instead)


def read_items(path: Path) -> list[Item]:
    """The tokens of an ABX item file: `#file onset offset #phone prev-phone next-phone speaker`.

    Raises:
        CorpusError: if a line is not one, or there is none, or the file is not text.
    """
    items = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            file, onset, offset, phone, before, after, speaker = line.split()
            item = Item(file, float(onset), float(offset), phone, (before, after), speaker)
        except ValueError:
            raise CorpusError(
                f"{path}: line {number} is not 'file onset offset phone prev-phone next-phone "
                f"speaker'; use an item file as Libri-Light publishes them"
            ) from None
        if not 0 <= item.onset < item.offset < math.inf:
            raise CorpusError(f"{path}: line {number} ends before it begins; correct its times")
        items.append(item)
    if not items:
        raise CorpusError(f"{path}: there are no tokens in it; download the item file again")
    return items


def read_notes(path: Path) -> np.ndarray:
    """The notes of a recording, (n, 4): onset and offset in seconds, MIDI note, velocity.

    A table as the MAPS corpus and scripts/render_piano.py have them: four columns with tabs between
    them, comments behind #.

    Raises:
        CorpusError: naming the line that is no note.
    """
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            onset, offset, note, velocity = map(float, line.split())
        except ValueError:
            raise CorpusError(
                f"{path}: line {number} is not 'onset offset note velocity'; correct it, or make "
                "the table again"
            ) from None
        rows.append((onset, offset, note, velocity))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def find_audio(stems: Iterable[str], folders: Sequence[Path], named_by: Path) -> dict[str, Path]:
    """The recording of each stem, looked for below the folders.

    Raises:
        CorpusError: if one is not there, or there twice; `named_by` is the file that wants it.
    """
    wanted = set(stems)
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        for path in folder.rglob("*"):
            if path.stem in wanted and path.suffix.lower() in READ_SUFFIXES:
                found[path.stem].append(path)
        if wanted <= found.keys():
            break
    missing = sorted(wanted - found.keys())
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CorpusError(
            f"{named_by}: there is no recording of {missing[0]}{more} below "
            f"{' or '.join(map(str, folders))}; put the recordings there"
        )
    for stem, paths in found.items():
        if len({path.resolve() for path in paths}) > 1:
            raise CorpusError(
                f"{named_by}: {stem} is both {paths[0]} and {paths[1]}; keep one of them"
            )
    return {stem: paths[0] for stem, paths in found.items()}


def read_lexical(folder: Path) -> list[ProbePair]:
    """sWUGGY's pairs from `lexical/dev`: words and non-words that sound alike.

    The published `gold.csv` has columns id, filename, voice, frequency, word, phones, a length and
    correct; non-words have no frequency. Pairs are of one id and one voice. A word is in the
    vocabulary if its frequency in LibriSpeech is above zero.

    Raises:
        CorpusError: if columns, pairs or recordings are missing.
    """
    rows = _read_gold(folder / "gold.csv", ("id", "filename", "voice", "frequency", "word"))
    pairs = []
    for (id, voice), good, bad in _paired(rows, ("id", "voice"), folder / "gold.csv"):
        try:
            frequency = float(good["frequency"] or 0)
        except ValueError:
            raise CorpusError(
                f"{folder / 'gold.csv'}: frequency {good['frequency']!r} of {good['filename']} is "
                f"no number; download the file again"
            ) from None
        first, second = _recordings(folder, good, bad)
        texts = (good["word"], bad["word"] or bad.get("phones", ""))
        band = _frequency_band(frequency)
        pairs.append(ProbePair(id, voice, first, second, texts, band, frequency > 0))
    _check_recordings(pairs, folder)
    return pairs


def read_syntactic(folder: Path) -> list[ProbePair]:
    """sBLIMP's pairs from `syntactic/dev`: a grammatical sentence and one that is not.

    The published `gold.csv` has columns id, filename, voice, type, subtype, transcription and
    correct. Pairs are of one type, subtype, id and voice.

    Raises:
        CorpusError: if columns, pairs or recordings are missing.
    """
    gold = folder / "gold.csv"
    keys = ("type", "subtype", "id", "voice")
    rows = _read_gold(gold, (*keys, "filename", "transcription"))
    pairs = []
    for (kind, subtype, id, voice), good, bad in _paired(rows, keys, gold):
        first, second = _recordings(folder, good, bad)
        texts = (good["transcription"], bad["transcription"])
        pairs.append(ProbePair(f"{kind} {subtype} {id}", voice, first, second, texts, kind))
    _check_recordings(pairs, folder)
    return pairs


def _frequency_band(frequency: float) -> str:
    """The bands of the challenge: how often the word occurs in LibriSpeech."""
    for top, name in ((1, "out of vocabulary"), (5, "1-4"), (20, "5-19"), (100, "20-99")):
        if frequency < top:
            return name
    return "100 or more"


def _read_gold(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    if not path.exists():
        raise CorpusError(f"{path}: there is no such file; it lies beside the recordings")
    reader = csv.DictReader(io.StringIO("\n".join(read_lines(path)), newline=""))
    rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
    header = reader.fieldnames or []
    lacking = [name for name in (*columns, "correct") if name not in header]
    if lacking:
        raise CorpusError(
            f"{path}: there is no column {lacking[0]} (it has {', '.join(header) or 'none'}); "
            f"use the gold file of ZeroResource 2021"
        )
    if not rows:
        raise CorpusError(f"{path}: there are no rows in it; download it again")
    return rows


def _paired(
    rows: list[dict[str, str]], keys: Sequence[str], path: Path
) -> list[tuple[tuple[str, ...], dict[str, str], dict[str, str]]]:
    """(key, correct row, wrong row) of every pair; a key with several of either pairs them all."""
    groups: dict[tuple[str, ...], tuple[list[dict[str, str]], list[dict[str, str]]]] = {}
    for row in rows:
        key = tuple(row[name] for name in keys)
        good, bad = groups.setdefault(key, ([], []))
        (good if row["correct"] == PUBLISHED_VALUE else bad).append(row)
    broken = [key for key, (good, bad) in groups.items() if not good or not bad]
    if broken:
        more = f", and so are {len(broken) - 1} more" if len(broken) > 1 else ""
        what = " ".join(f"{name} {value}" for name, value in zip(keys, broken[0], strict=True))
        raise CorpusError(
            f"{path}: {what} is half a pair{more}; each needs a row with correct 1 and one with 0"
        )
    return [(key, g, b) for key, (good, bad) in groups.items() for g in good for b in bad]


def _recordings(folder: Path, good: dict[str, str], bad: dict[str, str]) -> tuple[Path, Path]:
    return folder / f"{good['filename']}.wav", folder / f"{bad['filename']}.wav"


def _check_recordings(pairs: list[ProbePair], folder: Path) -> None:
    there = {path.name for path in folder.iterdir()}
    named = (path for pair in pairs for path in (pair.good, pair.bad))
    missing = sorted({path.name for path in named if path.name not in there})
    if missing:
        raise CorpusError(
            f"{folder / 'gold.csv'}: {len(missing)} recordings are missing, the first is "
            f"{folder / missing[0]}; download them again"
        )
