"""From a path to a list of recordings, whatever the layout of what lies there.

The layouts that are known are in `audiolm.data.layouts`. Files that cannot be read are left out and
listed, with the reason.
"""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from audiolm.audio.files import READ_SUFFIXES
from audiolm.data.headers import measure
from audiolm.data.layouts import Finding, find_in_folder, find_in_lhotse, find_in_maestro
from audiolm.data.tars import TAR
from audiolm.errors import CorpusError


@dataclass(frozen=True)
class Recording:
    """One file of a corpus."""

    id: str
    """Unique in its corpus and stable: the path below the corpus without suffix, as a rule.

    Always text that can be written as UTF-8: bytes of a name that are none are escaped.
    """
    path: Path
    seconds: float
    speaker: str | None = None
    split: str | None = None
    """`train`, `dev` or `test`, where that has been published or decided."""
    speed: float = 1.0
    """At what speed the file is played: 1 as recorded, 1.1 a tenth faster (speed perturbation)."""


@dataclass(frozen=True)
class Corpus:
    """The recordings below one path, sorted by id."""

    name: str
    root: Path
    recordings: list[Recording]
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    """Files that are left out, each with the reason: damaged ones, and those that hold sound in a
    form that is not read."""
    left_out: Counter[str] = field(default_factory=Counter)
    """How many of these there are of each kind: `cannot be read`, `end in .m4a`."""

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


def open_corpus(path: str | os.PathLike[str], cache: Path | None = None) -> Corpus:
    """Find the recordings below `path`: a folder, a tar, or a manifest of lhotse (.jsonl[.gz]).

    Args:
        path: where the recordings are; nothing is ever written there.
        cache: a file, elsewhere, that keeps what the headers said, so that the next time only those
            of new and changed files are read; None for none.

    Raises:
        CorpusError: if there is no such path, no recording in it that can be read, or a table or
            manifest is broken; or the cache cannot be written.
    """
    root = Path(path)
    if not root.exists():
        raise CorpusError(f"{root}: there is no such folder; check the path")
    if root.is_dir():
        finding = find_in_maestro(root) or find_in_folder(root)
    elif root.suffix.lower() == TAR:
        finding = find_in_folder(root)
    elif root.name.endswith((".jsonl", ".jsonl.gz")):
        finding = find_in_lhotse(root)
    else:
        raise CorpusError(f"{root}: is a single file; name the folder that holds the recordings")
    if not finding.found:
        raise _nothing_found(root, finding)
    measured = measure([one.path for one in finding.found], cache)
    recordings = [
        Recording(one.id, one.path, seconds, one.speaker, one.split)
        for one, seconds in zip(finding.found, measured, strict=True)
        if isinstance(seconds, float)
    ]
    unreadable = [
        (one.path, reason)
        for one, reason in zip(finding.found, measured, strict=True)
        if isinstance(reason, str)
    ]
    if not recordings:
        raise CorpusError(
            f"{root}: none of its {len(unreadable)} files can be read; the first is "
            f"{unreadable[0][1]}"
        )
    recordings.sort(key=lambda recording: recording.id)
    return Corpus(
        root.resolve().name,
        root,
        recordings,
        skipped=[*unreadable, *finding.skipped],
        left_out=Counter({"cannot be read": len(unreadable)}) + finding.left_out,
    )


def _nothing_found(root: Path, finding: Finding) -> CorpusError:
    instead = "".join(f"; {count} {kind}" for kind, count in finding.left_out.most_common(3))
    return CorpusError(
        f"{root}: there are no recordings in it; files that end in "
        f"{', '.join(READ_SUFFIXES[:6])} are looked for{instead}"
    )


def leave_out_test(corpus: Corpus) -> tuple[Corpus, list[Recording]]:
    """A corpus without its published test split, where it has a train split, and that test split.

    Nothing is ever trained on what a publication names test.
    """
    if not any(recording.split == "train" for recording in corpus.recordings):
        return corpus, []
    kept = [recording for recording in corpus.recordings if recording.split != "test"]
    test = [recording for recording in corpus.recordings if recording.split == "test"]
    return replace(corpus, recordings=kept), test


def split_validation(corpus: Corpus, fraction: float, seed: int = 0) -> tuple[Corpus, Corpus]:
    """Divide a corpus into training and validation; recordings carry the split.

    Where the corpus says what is train and what is dev, that holds, and test belongs to neither.
    Otherwise about `fraction` of the sound is for validation, by speaker where speakers are known,
    so that none is on both sides, else by recording. What is chosen depends on `seed` and the names
    alone: a recording that is added moves none of the others across, except at the edge.

    Returns:
        (train, validation); train is never empty, and neither is validation where there are two
        speakers (or recordings, where no speaker is known) and `fraction` is not 0.

    Raises:
        CorpusError: if `fraction` is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise CorpusError(
            f"{corpus.root}: {fraction} cannot be kept for validation; choose from 0 to below 1"
        )
    usable, _ = leave_out_test(corpus)
    if {"train", "dev"} <= {recording.split for recording in corpus.recordings}:
        chosen = {recording.id for recording in usable.recordings if recording.split == "dev"}
    else:
        chosen = _chosen(usable.recordings, fraction, seed)
    train = [replace(r, split="train") for r in usable.recordings if r.id not in chosen]
    dev = [replace(r, split="dev") for r in usable.recordings if r.id in chosen]
    validation = replace(corpus, recordings=dev, skipped=[], left_out=Counter())
    return replace(corpus, recordings=train), validation


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
    chosen: set[str] = set()
    seconds = 0.0
    for key in sorted(groups, key=rank)[:-1]:  # one group always stays for training
        more = sum(recording.seconds for recording in groups[key])
        if fraction == 0 or (chosen and seconds + more - wanted > wanted - seconds):
            break
        chosen.update(recording.id for recording in groups[key])
        seconds += more
    return chosen
