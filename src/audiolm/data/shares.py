"""A store of tokens that is made in shares: who writes which shards, and what is still missing.

    shares.json     what the folder was begun with: N, the recordings and what makes the tokens

Share I of N is a list of shards (`audiolm.data.tokens`), the longest dealt out first, each to the
share that has the least sound so far. It follows from the recordings and N alone, so no process has
to ask another; and as a shard holds the same recordings whatever N is, so does the store.
"""

import hashlib
import heapq
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from pydantic import Field

from audiolm.atomic import replacing
from audiolm.configuration import Configuration, parse
from audiolm.data.corpus import Recording
from audiolm.data.manifest import read_recordings
from audiolm.data.names import printable
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import (
    TokenFormat,
    members_of,
    open_shard,
    shard_count,
    shard_path,
    token_key,
)
from audiolm.errors import ConfigurationError, CorpusError
from audiolm.locking import locked

SHARES = "shares.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Share:
    """One of the parts that a corpus is divided into."""

    number: int = 1
    """I, from 1 to N."""
    of: int = 1
    """N."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The share that `I/N` names.

        Raises:
            ConfigurationError: if it names none.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
        number, of = (int(digits) for digits in match.groups()) if match else (0, 0)
        if not 1 <= number <= of:
            raise ConfigurationError(
                f"--shard {text}: is no share; give I/N with I from 1 to N, as 1/8 to 8/8"
            )
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class Plan(Configuration):
    """What a folder was begun with, and every share with the same: `shares.json`."""

    format_version: int = FORMAT_VERSION
    shares: int = Field(ge=1)
    """N."""
    recordings: int = Field(ge=0)
    """How many there are."""
    key: str
    """Of recordings and format, as every shard has it."""
    recordings_fingerprint: str
    """SHA-256 over ids and lengths."""
    format: TokenFormat


@dataclass(frozen=True)
class Missing:
    """What a store that was begun in shares still lacks."""

    shares: int
    """N."""
    shards: int
    """How many shards there are to be."""
    absent: dict[int, list[int]] = field(default_factory=dict)
    """The shards that are not there, by the number of their share."""
    damaged: dict[int, list[int]] = field(default_factory=dict)
    """The shards that cannot be used, likewise."""

    @property
    def complete(self) -> bool:
        """Whether every shard is there, and whole."""
        return not (self.absent or self.damaged)

    def told(self) -> str:
        """What is missing, and which commands make it, in a line."""
        counts = [
            f"{sum(map(len, shards.values()))} of {self.shards} shards are {what}"
            for what, shards in (("missing", self.absent), ("damaged", self.damaged))
            if shards
        ]
        numbers = sorted(self.absent.keys() | self.damaged.keys())
        again = ", ".join(f"{number}/{self.shares}" for number in numbers[:8])
        more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
        return f"{' and '.join(counts)}; give the same command with --shard {again}{more}"


def divide(seconds: Sequence[float], shares: int) -> list[list[int]]:
    """The shards of each of so many shares, in order, about the same sound in each.

    Args:
        seconds: how long each shard lasts.
        shares: N; some are empty where there are fewer shards.
    """
    order = sorted(range(len(seconds)), key=lambda shard: (-seconds[shard], shard))
    dealt: list[list[int]] = [[] for _ in range(shares)]
    least = [(0.0, share) for share in range(shares)]  # a heap
    for shard in order:
        total, share = heapq.heappop(least)
        dealt[share].append(shard)
        heapq.heappush(least, (total + seconds[shard], share))
    return [sorted(shards) for shards in dealt]


def shares_of(recordings: Sequence[Recording], format: TokenFormat, shares: int) -> list[list[int]]:
    """The shards of each share of these recordings."""
    count = len(recordings)
    lasts = [
        sum(recordings[index].seconds for index in members_of(shard, count, format))
        for shard in range(shard_count(count, format))
    ]
    return divide(lasts, shares)


def refuse_something_else(folder: Path) -> None:
    """Make sure that a folder is new, empty, or holds tokens: nothing else is written among.

    Raises:
        CorpusError: if it holds something else, or is none.
    """
    ours = re.compile(r"\..*|lock|(headers|manifest)\.jsonl|(shares|tokens)\.json|shard-\d+\.\w+")
    if folder.exists() and not folder.is_dir():
        raise CorpusError(f"{folder}: is a file; name a folder with --out")
    others = [path for path in folder.glob("*") if not ours.fullmatch(path.name)]
    if others:
        raise CorpusError(
            f"{folder}: holds something else than tokens ({others[0].name}); name a new or empty "
            "folder with --out"
        )


def begin(
    folder: Path, recordings: Sequence[Recording], format: TokenFormat, share: Share
) -> TokenWriter:
    """Begin one share of a store, or go on with it: the writer of its shards.

    Args:
        folder: where the tokens of all shares go.
        recordings: all of them, the same in every process.
        format: what makes the tokens.
        share: which one.

    Raises:
        CorpusError: if the folder was begun with another model, other recordings or another number
            of shares, or cannot be written.
    """
    rows = [replace(one, id=printable(one.id)) for one in recordings]
    heads = _heads_fingerprint(rows)
    plan = Plan(
        shares=share.of,
        recordings=len(rows),
        key=token_key(rows, format),
        recordings_fingerprint=heads,
        format=format,
    )
    shards = shares_of(rows, format, share.of)[share.number - 1]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock"):
            if (folder / SHARES).exists():
                _refuse_other(folder, plan, _read_plan(folder))
            # It refuses shards of other stores before it writes anything.
            writer = TokenWriter(folder, rows, format, recordings_fingerprint=heads, shards=shards)
            with replacing(folder / SHARES) as draft:
                draft.write_text(plan.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise CorpusError(
            f"{folder}: cannot be written ({error.strerror}); make room, or permit it"
        ) from None
    return writer


def check(folder: Path) -> Missing:
    """What is missing in a store that was begun in shares.

    Every shard is opened: it must be whole, and of these recordings and this model.

    Raises:
        CorpusError: if it was never begun.
    """
    plan = _read_plan(folder)
    format, recordings = plan.format, read_recordings(folder / "manifest.jsonl")
    absent: dict[int, list[int]] = {}
    damaged: dict[int, list[int]] = {}
    for number, shards in enumerate(shares_of(recordings, format, plan.shares), start=1):
        for shard in shards:
            path = shard_path(folder, shard)
            if not path.exists():
                absent.setdefault(number, []).append(shard)
            elif not _whole(path, plan.key, len(members_of(shard, len(recordings), format))):
                damaged.setdefault(number, []).append(shard)
    return Missing(plan.shares, shard_count(len(recordings), format), absent, damaged)


def finish(folder: Path) -> Missing:
    """Write `tokens.json` if every share is done, and say what is missing otherwise.

    May be called by many processes at once: whoever finds all shards there writes it.

    Raises:
        CorpusError: if the store was never begun, or cannot be written.
    """
    missing = check(folder)
    if missing.complete:
        plan = _read_plan(folder)
        recordings = read_recordings(folder / "manifest.jsonl")
        with locked(folder / "lock"):
            if not (folder / "tokens.json").exists():
                writer = TokenWriter(
                    folder,
                    recordings,
                    plan.format,
                    recordings_fingerprint=plan.recordings_fingerprint,
                    shards=(),
                )
                writer.finish()
    return missing


def _heads_fingerprint(recordings: Sequence[Recording]) -> str:
    """SHA-256 over ids and lengths: what can be known of recordings before they are decoded."""
    digest = hashlib.sha256()
    for one in recordings:
        digest.update(f"{one.id}\0{one.seconds!r}\n".encode())
    return digest.hexdigest()


def _read_plan(folder: Path) -> Plan:
    path = folder / SHARES
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CorpusError(
            f"{folder}: no tokens were begun in it; audiolm tokenize FOLDER --out {folder} makes "
            "them"
        ) from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be read ({error}); name another folder") from None
    if not isinstance(plan, dict) or plan.get("format_version") != FORMAT_VERSION:
        raise CorpusError(f"{path}: was written by another version; name another folder")
    return parse(Plan, plan, str(path))


def _refuse_other(folder: Path, ours: Plan, begun: Plan) -> None:
    """Make sure that a folder was begun with the same model, recordings and number of shares."""
    other = "give what it was begun with, or name another folder"
    for part, what in (("codec", "codec"), ("semantic", "semantic tokenizer")):
        theirs, mine = (getattr(plan.format, f"{part}_fingerprint") for plan in (begun, ours))
        if theirs != mine:
            raise CorpusError(
                f"{folder}: was begun with another model ({what} {theirs[:12] or 'none'}, now "
                f"{mine[:12] or 'none'}); {other}"
            )
    size, now = begun.format.shard_size, ours.format.shard_size
    if size != now:
        raise CorpusError(
            f"{folder}: was begun with {size} recordings in a shard, not {now}; "
            f"give --shard-size {size}"
        )
    if begun.key != ours.key:
        raise CorpusError(
            f"{folder}: was begun with other recordings ({begun.recordings}, now "
            f"{ours.recordings}); {other}"
        )
    if begun.recordings_fingerprint != ours.recordings_fingerprint:
        raise CorpusError(
            f"{folder}: was begun with recordings that have changed since; put them back as they "
            "were, or name another folder"
        )
    if begun.shares != ours.shares:
        raise CorpusError(
            f"{folder}: was begun in {begun.shares} shares, not {ours.shares}; give --shard "
            f"I/{begun.shares}, or, once no process is at work in it, delete {folder / SHARES}"
        )


def _whole(path: Path, key: str, members: int) -> bool:
    """Whether a shard can be read to its end, is of this store and has a row per recording."""
    try:
        with open_shard(path) as file:
            of = (file.metadata() or {}).get("key", "").partition(" ")[0]
            rows = [len(file.get_tensor(n)) for n in ("steps", "frames") if n in file.keys()]  # noqa: SIM118
    except CorpusError:
        return False
    return bool(of == key and set(rows) == {members})
