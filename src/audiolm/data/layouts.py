"""Finding the files of a corpus, in the layouts that corpora are published in.

Any folder is searched to the bottom; LibriSpeech and Libri-Light have folders that name the
speaker; MAESTRO has a table that names the split; lhotse has manifests. Tar files (webdataset,
Lhotse Shar) are searched as if they were folders. What is left out here is
listed with the reason, so that nothing is missed unsaid.
"""

import csv
import hashlib
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audiolm.audio.files import READ_SUFFIXES
from audiolm.data import shar, tars
from audiolm.data.names import printable
from audiolm.errors import CorpusError

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test"}
"""What published splits are called, and what that is here."""

UNREAD_SUFFIXES = (
    *(".m4a", ".m4b", ".m4p", ".mp4", ".aac", ".alac", ".3gp", ".3gpp", ".3g2", ".amr", ".awb"),
    *(".wma", ".asf", ".wmv", ".webm", ".weba", ".mka", ".mkv", ".mov", ".avi", ".mp1", ".mp2"),
    *(".mpga", ".mpeg", ".mpg", ".ac3", ".eac3", ".dts", ".ape", ".wv", ".tta", ".tak", ".mpc"),
    *(".spx", ".ra", ".rm", ".dsf", ".dff", ".shn", ".sph", ".nist", ".voc", ".snd", ".sd2"),
    *(".raw", ".pcm", ".gsm", ".qcp", ".vox", ".svx", ".iff", ".wave", ".bwf", ".ogx", ".ogv"),
    *(".flv",),
)
"""Files that hold sound and are not read: they are left out aloud, never unsaid."""


@dataclass(frozen=True)
class Found:
    """One file of a corpus, readable or not."""

    id: str
    """Unique in its corpus, and text that can be written as UTF-8."""
    path: Path
    speaker: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Finding:
    """The files of a corpus."""

    found: list[Found]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """What is left out, each with the reason."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many of these there are of each kind: `end in .m4a`, for example."""


def find_in_folder(root: Path) -> Finding:
    """Every file below `root` with the suffix of a recording; speakers from the layout.

    Args:
        root: a folder, or a single tar file.
    """
    skipped: list[tuple[Path, str]] = []
    left_out: Counter[str] = Counter()
    files: list[Path] = []
    metadata: set[Path] = set()
    above_all = root if root.is_dir() else root.parent
    for path in _walk(root, skipped):
        suffix = path.suffix.lower()
        if suffix in READ_SUFFIXES:
            files.append(path.relative_to(above_all))
        elif suffix in UNREAD_SUFFIXES:
            skipped.append((path, f"{path}: {suffix} is not read; convert it to WAV or FLAC"))
            left_out[f"end in {suffix}"] += 1
        elif suffix == ".json":
            metadata.add(path.relative_to(above_all).with_suffix(""))
    in_tars = {path.parent for path in files if path.parent.suffix.lower() == tars.TAR}
    speakers = shar.speakers(in_tars, above_all)
    # Below an absolute root, so that the folders above a chapter given as root still count.
    above = above_all.resolve().parts[-2:]
    found = []
    for id, file in zip(_unique_ids(files), files, strict=True):
        has_metadata = bool(metadata) and file.with_suffix("") in metadata
        speaker = _speaker((*above, *file.parts), has_metadata) or speakers.get(
            file.with_suffix("")
        )
        found.append(Found(id, above_all / file, speaker, _split(file.parts[:-1])))
    folders = len(skipped) - left_out.total()
    return Finding(found, skipped, left_out + Counter({"cannot be read": folders}))


def _walk(root: Path, skipped: list[tuple[Path, str]]) -> Iterator[Path]:
    """Files below `root`, through links too (but never round in a circle), hidden ones left out.

    A tar is searched like a folder. Folders that cannot be opened, and tars that cannot be read,
    are added to `skipped`.
    """

    def refused(error: OSError) -> None:
        path = Path(error.filename)
        skipped.append((path, f"{path}: cannot be opened ({error.strerror}); permit it"))

    def with_members(path: Path) -> Iterator[Path]:
        if path.suffix.lower() != tars.TAR:
            yield path
            return
        try:
            yield from (path / name for name in tars.members(path))
        except CorpusError as error:
            skipped.append((path, str(error)))

    if not root.is_dir():
        yield from with_members(root)
        return
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, onerror=refused, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in shar.without_other_fields(sorted(names)):
            if not name.startswith("."):
                yield from with_members(Path(folder, name))


def _unique_ids(files: Sequence[Path]) -> list[str]:
    """The path without suffix, or with it where two files would have the same id."""
    shorts = [printable(file.with_suffix("").as_posix()) for file in files]
    wholes = [printable(file.as_posix()) for file in files]
    names, taken = Counter(shorts), set(wholes)
    ids = [
        short if names[short] == 1 and short not in taken else whole
        for short, whole in zip(shorts, wholes, strict=True)
    ]
    # Only an escaped name can still be that of another: `caf\xe9` is four letters more elsewhere.
    twice = {id for id, count in Counter(ids).items() if count > 1}
    return [
        f"{id} {hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}" if id in twice else id
        for id, file in zip(ids, files, strict=True)
    ]


def _speaker(parts: tuple[str, ...], has_metadata: bool) -> str | None:
    """The speaker, where the last three parts are LibriSpeech's or Libri-Light's.

    LibriSpeech: speaker/chapter/speaker-chapter-utterance.flac. Libri-Light: speaker/book/part.flac
    with the book's metadata in a .json of the same name.
    """
    if len(parts) < 3:
        return None
    speaker, chapter, name = parts[-3:]
    named = name.startswith(f"{speaker}-{chapter}-")
    return printable(speaker) if named or (has_metadata and speaker.isdigit()) else None


def _split(folders: tuple[str, ...]) -> str | None:
    """`train` below a folder train or train-clean-100, `dev` below dev-other, and so on."""
    for folder in folders:
        word = re.split("[-_]", folder.lower())[0]
        if word in SPLITS:
            return SPLITS[word]
    return None


def find_in_maestro(root: Path) -> Finding | None:
    """What MAESTRO's table (maestro-v3.0.0.csv) lists, or None where there is no such table.

    Raises:
        CorpusError: naming the line, where the table is not the one that was published.
    """
    tables = sorted(root.glob("maestro-v*.csv"))
    if not tables:
        return None
    table = tables[-1]
    files: list[Path] = []
    splits: list[str] = []
    lines: dict[str, int] = {}
    for number, row in _rows(table):
        name, split = row.get("audio_filename"), row.get("split")
        if not name or split not in SPLITS:
            what = f"the split {split!r}" if name else "no audio_filename"
            raise _broken(table, number, f"has {what}")
        if name in lines:
            raise _broken(table, number, f"names {name} again after line {lines[name]}")
        lines[name] = number
        files.append(Path(name))
        splits.append(SPLITS[split])
    if not files:
        raise CorpusError(f"{table}: there are no rows in it; download MAESTRO's table again")
    found = [
        Found(id, root / file, None, split)
        for id, file, split in zip(_unique_ids(files), files, splits, strict=True)
    ]
    in_folder = find_in_folder(root)
    listed = {root / file for file in files}
    unlisted = [
        (other.path, f"{other.path}: is not in {table.name}; add it there, or move the table away")
        for other in in_folder.found
        if other.path not in listed
    ]
    kinds = Counter({f"are not in {table.name}": len(unlisted)}) + in_folder.left_out
    return Finding(found, [*unlisted, *in_folder.skipped], kinds)


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """The rows of a table with MAESTRO's columns, each with the number of its last line."""
    try:
        data = table.read_bytes()
    except OSError as error:
        raise CorpusError(f"{table}: cannot be opened ({error.strerror}); permit it") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise _broken(table, number, "is no UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for column in ("audio_filename", "split"):
            if column not in (reader.fieldnames or ()):
                raise CorpusError(
                    f"{table}: no column {column!r} in line 1; download MAESTRO's table again"
                )
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        # Of the row that could not be read the reader has counted no line yet.
        raise _broken(table, reader.line_num + 1, f"is no row of a table ({error})") from None


def _broken(table: Path, line: int, what: str) -> CorpusError:
    return CorpusError(f"{table}: line {line} {what}; download MAESTRO's table again")


def find_in_lhotse(path: Path) -> Finding:
    """The recordings of a lhotse manifest, or those that its cuts are cut from, whole and once.

    Raises:
        CorpusError: where lhotse is missing, or naming the line that is no recording and no cut.
    """
    try:
        from lhotse import CutSet, RecordingSet, load_manifest_lazy
    except ImportError as error:
        raise CorpusError(
            f"{path}: reading a manifest needs lhotse ({error}); pip install audiolm[lhotse]"
        ) from None
    with _line_named(path, 1):
        manifest = load_manifest_lazy(path)
    if not isinstance(manifest, RecordingSet | CutSet):
        raise CorpusError(f"{path}: is no manifest of recordings or cuts; name one of those")
    found: dict[str, Found] = {}
    items = iter(manifest)
    for number in itertools.count(1):
        with _line_named(path, number):
            item = next(items, None)
            if item is None:
                break
            one = _of_lhotse(path, item)
        if found.setdefault(one.id, one).path != one.path:
            raise CorpusError(
                f"{path}: line {number} has {one.id} as {one.path}, a line before as "
                f"{found[one.id].path}; give each recording an id of its own"
            )
    return Finding(list(found.values()))


@contextmanager
def _line_named(path: Path, line: int) -> Iterator[None]:
    """Errors of lhotse, which raises whatever its parsers raise, as one line that names theirs."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CorpusError(
            f"{path}: is no manifest that lhotse can read: line {line} ({reason}); correct it, or "
            "write the manifest again"
        ) from None


def _of_lhotse(path: Path, item: Any) -> Found:
    """One recording, or the recording that a cut is cut from."""
    speaker = None
    if hasattr(item, "supervisions"):  # a cut
        voices = {supervision.speaker for supervision in item.supervisions}
        speaker = voices.pop() if len(voices) == 1 else None
        item = item.recording
    source = Path(item.sources[0].source)
    if not source.is_absolute() and not source.exists():
        source = path.parent / source
    return Found(printable(item.id), source, speaker and printable(speaker))
