"""From a path to a list of recordings, whatever the layout of what lies there.

Read are: any folder, searched to the bottom; LibriSpeech and Libri-Light, whose folders name the
speaker; MAESTRO, whose table names the split; manifests of lhotse. Files that cannot be read are
left out and listed, with the reason.
"""

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from audiolm.audio.files import READ_SUFFIXES, info
from audiolm.errors import AudioError, CorpusError

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test"}
"""What published splits are called, and what that is here."""


@dataclass(frozen=True)
class Recording:
    """One file of a corpus."""

    id: str
    """Unique in its corpus and stable: the path below the corpus without suffix, as a rule."""
    path: Path
    seconds: float
    speaker: str | None = None
    split: str | None = None
    """`train`, `dev` or `test`, where that has been published or decided."""


@dataclass(frozen=True)
class Corpus:
    """The recordings below one path, sorted by id."""

    name: str
    root: Path
    recordings: list[Recording]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """Files that were left out, each with the reason."""

    @property
    def seconds(self) -> float:
        """How long all recordings last together."""
        return sum(recording.seconds for recording in self.recordings)

    @property
    def speakers(self) -> list[str]:
        """The speakers that are known, sorted."""
        return sorted({r.speaker for r in self.recordings if r.speaker is not None})

    def __len__(self) -> int:
        return len(self.recordings)


def open_corpus(path: str | os.PathLike[str]) -> Corpus:
    """Find the recordings below `path`: a folder, or a manifest of lhotse (.jsonl, .jsonl.gz).

    Raises:
        CorpusError: if there is no such path, or no recording in it that can be read.
    """
    root = Path(path)
    if not root.exists():
        raise CorpusError(f"{root}: there is no such folder; check the path")
    if root.is_dir():
        found = _from_maestro(root) or _from_folder(root)
    elif root.name.endswith((".jsonl", ".jsonl.gz")):
        found = _from_lhotse(root)
    else:
        raise CorpusError(f"{root}: is a single file; name the folder that holds the recordings")
    if not found:
        raise CorpusError(
            f"{root}: there are no recordings in it; files that end in "
            f"{', '.join(READ_SUFFIXES[:6])} are looked for"
        )
    recordings, skipped = _measured(found)
    if not recordings:
        raise CorpusError(
            f"{root}: none of its {len(skipped)} files can be read; the first is {skipped[0][1]}"
        )
    return Corpus(root.resolve().name, root, recordings, skipped)


def split_validation(corpus: Corpus, fraction: float, seed: int = 0) -> tuple[Corpus, Corpus]:
    """Divide a corpus into what is trained on and what is held out; recordings carry the split.

    Where the corpus says what is train and what is dev, that holds, and test belongs to neither.
    Otherwise about `fraction` of the sound is held out, by speaker where speakers are known, so
    that none is on both sides, else by recording. What is chosen depends on `seed` and the names
    alone: a recording that is added moves none of the others across, except at the edge.

    Returns:
        (train, held out); train is never empty, and neither is held out where there are two
        speakers (or recordings, where no speaker is known) and `fraction` is not 0.

    Raises:
        CorpusError: if `fraction` is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise CorpusError(f"{corpus.root}: cannot hold out {fraction}; choose from 0 up to below 1")
    published = {recording.split for recording in corpus.recordings}
    usable = [r for r in corpus.recordings if "train" not in published or r.split != "test"]
    if {"train", "dev"} <= published:
        held = {recording.id for recording in usable if recording.split == "dev"}
    else:
        held = _chosen(usable, fraction, seed)
    train = [replace(r, split="train") for r in usable if r.id not in held]
    dev = [replace(r, split="dev") for r in usable if r.id in held]
    return replace(corpus, recordings=train), replace(corpus, recordings=dev, skipped=[])


def _chosen(recordings: list[Recording], fraction: float, seed: int) -> set[str]:
    """Ids of the groups with the smallest hashes, as many as come nearest to `fraction`."""
    groups: dict[str, list[Recording]] = {}
    for recording in recordings:
        known = recording.speaker is not None
        key = f"speaker {recording.speaker}" if known else f"recording {recording.id}"
        groups.setdefault(key, []).append(recording)

    def rank(key: str) -> bytes:
        return hashlib.sha256(f"{seed} {key}".encode()).digest()

    wanted = fraction * sum(recording.seconds for recording in recordings)
    held: set[str] = set()
    seconds = 0.0
    for key in sorted(groups, key=rank)[:-1]:  # one group always stays for training
        more = sum(recording.seconds for recording in groups[key])
        if fraction == 0 or (held and seconds + more - wanted > wanted - seconds):
            break
        held.update(recording.id for recording in groups[key])
        seconds += more
    return held


# Each reader below gives (id, path, speaker, split) for every file it finds, readable or not.
_Found = tuple[str, Path, str | None, str | None]


def _from_folder(root: Path) -> list[_Found]:
    """Every file below `root` with the suffix of a recording; speakers from the layout."""
    files: list[Path] = []
    metadata: set[Path] = set()
    for path in _walk(root):
        if path.suffix.lower() in READ_SUFFIXES:
            files.append(path.relative_to(root))
        elif path.suffix == ".json":
            metadata.add(path.relative_to(root).with_suffix(""))
    found: list[_Found] = []
    for id, file in zip(_unique_ids(files), files, strict=True):
        # Below an absolute root, so that the folders above a chapter given as root still count.
        speaker = _speaker((root.resolve() / file).parts, file.with_suffix("") in metadata)
        found.append((id, root / file, speaker, _split(file.parts[:-1])))
    return found


def _walk(root: Path) -> Iterable[Path]:
    """Files below `root`, through links too (but never round in a circle), hidden ones left out."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _unique_ids(files: list[Path]) -> list[str]:
    """The path without suffix, or with it where two files would have the same id."""
    names = Counter(file.with_suffix("").as_posix() for file in files)
    whole = {file.as_posix() for file in files}
    ids = []
    for file in files:
        short = file.with_suffix("").as_posix()
        ids.append(short if names[short] == 1 and short not in whole else file.as_posix())
    return ids


def _speaker(parts: tuple[str, ...], has_metadata: bool) -> str | None:
    """The speaker, where the last three parts are LibriSpeech's or Libri-Light's.

    LibriSpeech: speaker/chapter/speaker-chapter-utterance.flac. Libri-Light: speaker/book/part.flac
    with the book's metadata in a .json of the same name.
    """
    if len(parts) < 3:
        return None
    speaker, chapter, name = parts[-3:]
    named = name.startswith(f"{speaker}-{chapter}-")
    return speaker if named or (has_metadata and speaker.isdigit()) else None


def _split(folders: tuple[str, ...]) -> str | None:
    """`train` below a folder train or train-clean-100, `dev` below dev-other, and so on."""
    for folder in folders:
        word = re.split("[-_]", folder.lower())[0]
        if word in SPLITS:
            return SPLITS[word]
    return None


def _from_maestro(root: Path) -> list[_Found]:
    """What MAESTRO's table (maestro-v3.0.0.csv) lists, or nothing where there is no such table."""
    tables = sorted(root.glob("maestro-v*.csv"))
    if not tables:
        return []
    with tables[-1].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        files = [Path(row["audio_filename"]) for row in rows]
        splits = [SPLITS[row["split"]] for row in rows]
    except KeyError as error:
        raise CorpusError(
            f"{tables[-1]}: no column or no split {error}; download MAESTRO's table again"
        ) from None
    return [
        (id, root / file, None, split)
        for id, file, split in zip(_unique_ids(files), files, splits, strict=True)
    ]


def _from_lhotse(path: Path) -> list[_Found]:
    """The recordings of a lhotse manifest, or those that its cuts are cut from, whole and once."""
    try:
        from lhotse import CutSet, RecordingSet, load_manifest_lazy
    except ImportError as error:
        raise CorpusError(
            f"{path}: reading a manifest needs lhotse ({error}); pip install audiolm[lhotse]"
        ) from None
    try:
        manifest = load_manifest_lazy(path)
    except Exception as error:  # lhotse raises whatever its parsers raise
        raise CorpusError(f"{path}: is no manifest that lhotse can read ({error})") from None
    if not isinstance(manifest, RecordingSet | CutSet):
        raise CorpusError(f"{path}: is no manifest of recordings or cuts; name one of those")
    found: dict[str, _Found] = {}
    for item in manifest:
        speaker = None
        if isinstance(manifest, CutSet):
            voices = {supervision.speaker for supervision in item.supervisions}
            speaker = voices.pop() if len(voices) == 1 else None
            item = item.recording
        source = Path(item.sources[0].source)
        if not source.is_absolute() and not source.exists():
            source = path.parent / source
        found.setdefault(item.id, (item.id, source, speaker, None))
    return list(found.values())


def _measured(found: list[_Found]) -> tuple[list[Recording], list[tuple[Path, str]]]:
    """Read the headers, many at a time: the wait is for the disk, or the network behind it."""

    def measure(item: _Found) -> Recording | str:
        id, path, speaker, split = item
        try:
            return Recording(id, path, info(path).seconds, speaker, split)
        except AudioError as error:
            return str(error)

    with ThreadPoolExecutor(max_workers=16) as threads:
        results = list(threads.map(measure, found))
    recordings = sorted((r for r in results if isinstance(r, Recording)), key=lambda r: r.id)
    skipped = [(f[1], r) for f, r in zip(found, results, strict=True) if isinstance(r, str)]
    return recordings, skipped
