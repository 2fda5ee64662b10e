"""Writing tokens: shard by shard, by many processes, going on where it was stopped."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from audiolm.atomic import replacing
from audiolm.data.corpus import Recording
from audiolm.data.manifest import write_manifest
from audiolm.data.names import printable
from audiolm.data.token_statistics import (
    code_statistics,
    repetition_statistics,
    semantic_statistics,
)
from audiolm.data.tokens import (
    FORMAT_VERSION,
    WRITE_AGAIN,
    TokenFormat,
    members_of,
    open_shard,
    shard_count,
    shard_path,
    token_key,
)
from audiolm.errors import CorpusError
from audiolm.shapes import FRAMES_PER_STEP


class TokenWriter:
    """Writes the shards of one rank.

        writer = TokenWriter(folder, recordings, format, rank, world)
        for shard in writer.missing():
            writer.write(shard, *tokens_of(writer.members(shard)))
        writer.finish()

    Args:
        folder: where the tokens go; made if need be.
        recordings: all of them, the same in every rank and after every stop.
        format: what makes the tokens.
        recordings_fingerprint: of the recordings, by which those that changed between two runs are
            noticed; empty: they are told by their ids alone.
        rank: which of the processes this is.
        world: how many processes write.
        shards: those that this process writes; shard k is rank k % world's when None.

    Raises:
        CorpusError: if there are tokens of other recordings or another format in the folder, or it
            cannot be written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        recordings: Sequence[Recording],
        format: TokenFormat,
        rank: int = 0,
        world: int = 1,
        *,
        recordings_fingerprint: str = "",
        shards: Sequence[int] | None = None,
    ) -> None:
        self.folder, self.format = Path(folder), format
        # As the manifest will have them, in whatever way they came by names that are no UTF-8.
        self.recordings = [replace(one, id=printable(one.id)) for one in recordings]
        self.recordings_fingerprint = recordings_fingerprint
        self._key = token_key(self.recordings, format)
        count = shard_count(len(self.recordings), format)
        self.shards = list(range(rank, count, world) if shards is None else shards)
        self._paths = [shard_path(self.folder, shard) for shard in range(count)]
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            self._refuse_other(path)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if shards is None:  # else the same share may be under way a second time
                self._remove_left_over(self.shards)
            write_manifest(self.folder / "manifest.jsonl", self.recordings)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def _refuse_other(self, path: Path) -> None:
        """Make sure that a shard is one of these; a damaged one of this rank is written again."""
        try:
            with open_shard(path) as file:
                key, _, before = (file.metadata() or {}).get("key", "").partition(" ")
        except CorpusError:
            if path in (self._paths[shard] for shard in self.shards):
                path.unlink()
            return
        if key != self._key:
            raise CorpusError(
                f"{path}: holds tokens of other recordings or of other parts; "
                f"delete {self.folder} or name another folder"
            )
        if before and self.recordings_fingerprint and before != self.recordings_fingerprint:
            raise CorpusError(
                f"{path}: holds tokens of recordings that have changed since; put them back as "
                f"they were, or {WRITE_AGAIN}"
            )

    def missing(self) -> list[int]:
        """The shards of this rank that are still to be written."""
        return [shard for shard in self.shards if not self._paths[shard].exists()]

    def members(self, shard: int) -> range:
        """Indices of the recordings whose tokens a shard holds."""
        return members_of(shard, len(self.recordings), self.format)

    def write(
        self,
        shard: int,
        semantic: Sequence[np.ndarray] | None = None,
        codes: Sequence[np.ndarray] | None = None,
        silent: Sequence[np.ndarray] | None = None,
    ) -> None:
        """Write one shard, whole or not at all.

        Args:
            shard: which one.
            semantic: (S,) ids of each member; None without a tokenizer.
            codes: (Q, F) ids of each member; None without a codec. A recording that turned out to
                be unreadable has no ids: S = 0 and F = 0.
            silent: (S,) bool, which semantic steps of each member are silent; None if not known.

        Raises:
            CorpusError: if the ids are not what the format says, or cannot be written.
        """
        members = self.members(shard)
        tensors: dict[str, np.ndarray] = {}
        if self.format.semantic_fingerprint:
            given = _given(semantic, "semantic ids", members)
            tensors["semantic"] = _checked(given, self.format.clusters, "semantic ids")
            tensors["steps"] = np.array([len(ids) for ids in given], dtype=np.int64)  # (R,)
            if silent is not None:
                steps = zip(silent, tensors["steps"], strict=True)
                tensors["silent"] = np.concatenate([row[:n] for row, n in steps]).astype(np.uint8)
        if self.format.codec_fingerprint:
            given = [ids.T for ids in _given(codes, "codes", members)]  # (F, Q) each
            if any(ids.shape[1:] != (self.format.levels,) for ids in given):
                raise CorpusError(f"codes of shard {shard}: need {self.format.levels} levels")
            tensors["codes"] = _checked(given, self.format.codebook_size, "codes")
            tensors["frames"] = np.array([len(ids) for ids in given], dtype=np.int64)  # (R,)
        if "steps" in tensors and "frames" in tensors:
            surplus = FRAMES_PER_STEP * tensors["steps"] - tensors["frames"]  # (R,)
            if not np.isin(surplus, range(FRAMES_PER_STEP)).all():
                at = int(np.flatnonzero(~np.isin(surplus, range(FRAMES_PER_STEP)))[0])
                raise CorpusError(
                    f"{self.recordings[members[at]].id}: {tensors['steps'][at]} semantic ids and "
                    f"{tensors['frames'][at]} frames cannot be of one recording"
                )
        try:
            with replacing(self._paths[shard]) as temporary:
                # In one entry: safetensors writes several in an order that differs every time.
                of = f"{self._key} {self.recordings_fingerprint}".strip()
                save_file(tensors, temporary, metadata={"key": of})
        except (OSError, SafetensorError) as error:
            raise _unwritable(self.folder, error) from None

    def finish(self) -> bool:
        """Write `tokens.json` if all shards of all ranks are there, and say whether they are.

        Whoever finds them all there writes it: of processes that end at the same moment, each the
        same content, one after the other.

        Raises:
            CorpusError: if a shard is damaged, or it cannot be written.
        """
        if not all(path.exists() for path in self._paths):
            return False
        try:
            self._write_tokens_json()
            self._remove_left_over(range(len(self._paths)))
        except OSError as error:
            raise _unwritable(self.folder, error) from None
        return True

    def _write_tokens_json(self) -> None:
        format = self.format
        statistics: dict[str, Any] = {}
        if format.semantic_fingerprint:
            statistics |= semantic_statistics(self._paths, format.clusters)
            statistics |= repetition_statistics(self._paths, format.clusters)
        if format.codec_fingerprint:
            statistics |= code_statistics(self._paths, format.levels, format.codebook_size)
        content = {
            "format_version": FORMAT_VERSION,
            "format": format.model_dump(),
            "key": self._key,
            "recordings_fingerprint": self.recordings_fingerprint,
            "recordings": len(self.recordings),
            "seconds": sum(recording.seconds for recording in self.recordings),
            "steps": self._total("steps"),
            "frames": self._total("frames"),
            "shard_bytes": [path.stat().st_size for path in self._paths],
            "statistics": statistics,
        }
        with replacing(self.folder / "tokens.json") as temporary:
            temporary.write_text(_json(content), encoding="utf-8")

    def _remove_left_over(self, shards: Sequence[int]) -> None:
        """Remove what processes that were killed have left of these shards."""
        for shard in shards:
            for left_over in self.folder.glob(f".{self._paths[shard].name}.*.part"):
                left_over.unlink(missing_ok=True)

    def _total(self, name: str) -> int:
        """The sum of `steps` or `frames` over all shards; 0 where there are none."""
        total = 0
        for path in self._paths:
            with open_shard(path) as file:
                total += int(file.get_tensor(name).sum()) if name in file.keys() else 0  # noqa: SIM118
        return total


def _json(content: dict[str, Any]) -> str:
    """JSON with an entry per line; the thousands of counts below each stay on one."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _unwritable(folder: Path, error: OSError | SafetensorError) -> CorpusError:
    reason = getattr(error, "strerror", None) or error
    return CorpusError(f"{folder}: cannot be written ({reason}); make room, or permit it")


def _given(ids: Sequence[np.ndarray] | None, what: str, members: range) -> list[np.ndarray]:
    if ids is None or len(ids) != len(members):
        count = 0 if ids is None else len(ids)
        raise CorpusError(f"{what}: need those of {len(members)} recordings, got {count}")
    return [np.asarray(one) for one in ids]


def _checked(ids: list[np.ndarray], below: int, what: str) -> np.ndarray:
    """All ids, one recording after the other, as uint16."""
    joined = np.concatenate(ids)
    if joined.size and not 0 <= joined.min() <= joined.max() < below:
        raise CorpusError(
            f"{what}: need ids from 0 to {below - 1}, got {joined.min()} to {joined.max()}"
        )
    return np.ascontiguousarray(joined.astype(np.uint16))
