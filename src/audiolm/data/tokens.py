"""Tokens on disk: what the stages are trained on, made once by a codec and a semantic tokenizer.

    manifest.jsonl            the recordings, in the order of the tokens
    shard-00003.safetensors   tokens of `shard_size` recordings, one after the other, uint16:
                              semantic (sum of S,), codes (sum of F, Q); int64: steps, frames (R,);
                              uint8: silent (sum of S,), 1 where a semantic step is
    tokens.json               format version, fingerprints, counts and statistics; written last

A shard is one file that is renamed into place, so it is complete or absent: writing goes on where
it was stopped, and many processes write side by side (shard k is rank k % world's). Codes lie frame
by frame, so that a crop is one run of bytes of a memory-mapped file.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from safetensors import SafetensorError, safe_open
from torch import Tensor

from audiolm.configuration import Configuration, parse
from audiolm.data.corpus import Recording
from audiolm.data.manifest import read_recordings
from audiolm.data.token_statistics import (
    code_statistics,
    repetition_statistics,
    semantic_statistics,
)
from audiolm.errors import CorpusError
from audiolm.shapes import FRAMES_PER_STEP

FORMAT_VERSION = 1

WRITE_AGAIN = "write the tokens again (audiolm train: --only tokens --restart)"
"""The remedy where what is on disk cannot be used."""


class TokenFormat(Configuration):
    """What made the tokens, and what ids there can be."""

    codec_fingerprint: str = ""
    """Of the codec whose codes these are; empty where there are none."""
    semantic_fingerprint: str = ""
    """Of the tokenizer whose semantic ids these are; empty where there are none."""
    levels: int = Field(default=12, gt=0)
    """Q, levels of the codes."""
    codebook_size: int = Field(default=1024, gt=0, le=2**16)
    """N, ids per level."""
    clusters: int = Field(default=1024, gt=0, le=2**16)
    """K, semantic ids."""
    shard_size: int = Field(default=256, gt=0)
    """Recordings per shard: what is lost, at most, when writing is stopped."""

    @model_validator(mode="after")
    def _made_by_something(self) -> Self:
        if not (self.codec_fingerprint or self.semantic_fingerprint):
            raise ValueError("tokens need the fingerprint of a codec, of a tokenizer, or both")
        return self


class TokenStore:
    """The tokens of one folder, memory-mapped.

    Raises:
        CorpusError: if the folder is unfinished, of another version, or a shard is missing or cut.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        content = _read_tokens_json(self.folder)
        self.format = parse(
            TokenFormat, content["format"], f"{self.folder / 'tokens.json'}: format"
        )
        self.statistics: dict[str, Any] = content["statistics"]
        """How the ids are used, over all recordings: see `token_statistics`."""
        self.recordings_fingerprint: str = content.get("recordings_fingerprint", "")
        """Of the recordings whose tokens these are; empty where an earlier version wrote them."""
        self.recordings = read_recordings(self.folder / "manifest.jsonl")
        if token_key(self.recordings, self.format) != content["key"]:
            raise CorpusError(
                f"{self.folder / 'manifest.jsonl'}: lists other recordings than tokens.json; "
                f"{WRITE_AGAIN}"
            )
        for shard, size in enumerate(content["shard_bytes"]):
            path = shard_path(self.folder, shard)
            if not path.exists() or path.stat().st_size != size:
                what = "is cut off" if path.exists() else "is missing"
                raise CorpusError(f"{path}: {what}; {WRITE_AGAIN}")
        self._shards: dict[int, Any] = {}  # opened when first needed
        self._steps = self._per_recording("steps", bool(self.format.semantic_fingerprint))
        self._frames = self._per_recording("frames", bool(self.format.codec_fingerprint))
        self._first_step, self._first_frame = (
            _firsts(lengths, self.format.shard_size) for lengths in (self._steps, self._frames)
        )

    def __len__(self) -> int:
        """R, how many recordings there are."""
        return len(self.recordings)

    def __getstate__(self) -> dict[str, Any]:
        """Sent to another process, a store opens its shards there."""
        return {**self.__dict__, "_shards": {}}

    def steps(self, index: int) -> int:
        """S, semantic steps of one recording, or those its frames make where there are no ids."""
        return int(self.lengths()[index])

    def frames(self, index: int) -> int:
        """F, codec frames of one recording: 2 S or 2 S - 1; 0 where there are no codes."""
        return int(self._frames[index])

    def lengths(self, split: str | None = None) -> np.ndarray:
        """(R,) semantic steps of every recording; 0 for those outside `split`, if one is named.

        What `CropSampler` wants: it never draws a recording of length 0.
        """
        if self.format.semantic_fingerprint:
            steps = self._steps
        else:
            steps = -(-self._frames // FRAMES_PER_STEP)
        if split is None:
            return steps
        return np.where([recording.split == split for recording in self.recordings], steps, 0)

    def split(self, name: str) -> list[int]:
        """Indices of the recordings of one split."""
        return [i for i, recording in enumerate(self.recordings) if recording.split == name]

    def semantic(self, index: int) -> Tensor:
        """The semantic ids (S,) int64 of one recording."""
        return self._semantic(index, 0, int(self._steps[index]))

    def codes(self, index: int) -> Tensor:
        """The codes (Q, F) int64 of one recording."""
        return self._codes(index, 0, self.frames(index))

    def silent(self, index: int) -> np.ndarray | None:
        """(S,) bool: which semantic steps of one recording are silent; None where nobody noted."""
        shard, first = self._shard(index), int(self._first_step[index])
        if "silent" not in shard.keys():  # noqa: SIM118
            return None
        flags: np.ndarray = shard.get_slice("silent")[first : first + int(self._steps[index])]
        return flags.astype(bool)

    def crop(self, index: int, start: int, steps: int) -> tuple[Tensor | None, Tensor | None]:
        """Semantic ids and codes of the same stretch of one recording, -1 after its end.

        Args:
            index: which recording.
            start: the first semantic step.
            steps: how many.

        Returns:
            (steps,) and (Q, 2 * steps) int64; None for what the folder does not hold.
        """
        if start < 0:
            raise ValueError(f"a crop cannot start at {start}, before its recording")
        semantic = codes = None
        if self.format.semantic_fingerprint:
            semantic = self._semantic(index, start, steps)
        if self.format.codec_fingerprint:
            codes = self._codes(index, FRAMES_PER_STEP * start, FRAMES_PER_STEP * steps)
        return semantic, codes

    def unigram_counts(self, kind: int, remove_repeats: bool = False) -> np.ndarray:
        """How often each id occurs in all recordings, those at other speeds included.

        Counted when the tokens were written: no pass over the corpus. Where an earlier version
        wrote them, the first call counts.

        Args:
            kind: 0 for semantic ids, q for the codes of level q, counted from 1.
            remove_repeats: count consecutive repeats of a semantic id once (paper, III-C).

        Returns:
            (K,) or (N,) int64.

        Raises:
            CorpusError: if there are no tokens of this kind.
        """
        self._require_present(kind)
        name = "code_counts" if kind else "semantic_run_counts"
        if name not in self.statistics:
            self.statistics |= (
                code_statistics(self._paths(), self.format.levels, self.format.codebook_size)
                if kind
                else semantic_statistics(self._paths(), self.format.clusters)
            )
        if kind == 0:
            name = "semantic_run_counts" if remove_repeats else "semantic_counts"
            return np.array(self.statistics[name], dtype=np.int64)
        return np.array(self.statistics[name][kind - 1], dtype=np.int64)

    def repetition(self, remove_repeats: bool = False) -> dict[str, Any]:
        """How long recordings stay silent, and how long they say the same again.

        Args:
            remove_repeats: of the ids once consecutive repeats are removed.

        Returns:
            `longest_loops`, `silent_ids`, `longest_silence`: see `repetition_statistics`.

        Raises:
            CorpusError: if there are no semantic ids.
        """
        self._require_present(0)
        if "semantic_longest_loops" not in self.statistics:
            self.statistics |= repetition_statistics(self._paths(), self.format.clusters)
        name = "run" if remove_repeats else "semantic"
        keys = ("longest_loops", "silent_ids", "longest_silence")
        return {key: self.statistics[f"{name}_{key}"] for key in keys}

    def _require_present(self, kind: int) -> None:
        present = self.format.semantic_fingerprint if kind == 0 else self.format.codec_fingerprint
        if not present or not 0 <= kind <= self.format.levels:
            what = f"codes of level {kind}" if kind else "semantic ids"
            raise CorpusError(f"{self.folder}: there are no {what} in it; {WRITE_AGAIN}")

    def _paths(self) -> list[Path]:
        """All shards."""
        count = shard_count(len(self), self.format)
        return [shard_path(self.folder, shard) for shard in range(count)]

    def require(self, codec_fingerprint: str = "", semantic_fingerprint: str = "") -> None:
        """Make sure that these parts made the tokens; an empty fingerprint asks for nothing.

        Raises:
            CorpusError: with both fingerprints, where they differ.
        """
        for what, needed, present in (
            ("codec", codec_fingerprint, self.format.codec_fingerprint),
            ("semantic tokenizer", semantic_fingerprint, self.format.semantic_fingerprint),
        ):
            if needed and needed != present:
                made = f"made with {what} {present}" if present else f"made without a {what}"
                raise CorpusError(
                    f"{self.folder}: tokens are {made}, but {needed} is in use; "
                    "write the tokens again with it"
                )

    def _semantic(self, index: int, start: int, length: int) -> Tensor:
        padded = torch.full((length,), -1, dtype=torch.int64)  # (S,)
        there = min(length, int(self._steps[index]) - start)
        if there > 0:
            first = int(self._first_step[index]) + start
            ids = self._shard(index).get_slice("semantic")[first : first + there]
            padded[:there] = torch.from_numpy(ids.astype(np.int64))
        return padded

    def _codes(self, index: int, start: int, length: int) -> Tensor:
        padded = torch.full((self.format.levels, length), -1, dtype=torch.int64)  # (Q, F)
        there = min(length, self.frames(index) - start)
        if there > 0:
            first = int(self._first_frame[index]) + start
            ids = self._shard(index).get_slice("codes")[first : first + there]  # (F, Q)
            padded[:, :there] = torch.from_numpy(ids.astype(np.int64)).T
        return padded

    def _shard(self, index: int) -> Any:
        shard = index // self.format.shard_size
        if shard not in self._shards:
            self._shards[shard] = open_shard(shard_path(self.folder, shard))
        return self._shards[shard]

    def _per_recording(self, name: str, present: bool) -> np.ndarray:
        """(R,) int64 of all shards; zeros where there are no such tokens."""
        if not present:
            return np.zeros(len(self.recordings), dtype=np.int64)
        firsts = range(0, len(self.recordings), self.format.shard_size)
        return np.concatenate([self._shard(first).get_tensor(name) for first in firsts])


def token_key(recordings: Sequence[Recording], format: TokenFormat) -> str:
    """SHA-256 over the ids of the recordings and the format: what a shard belongs to."""
    digest = hashlib.sha256(json.dumps(format.model_dump(), sort_keys=True).encode())
    for recording in recordings:
        digest.update(os.fsencode(f"{recording.id}\n"))
    return digest.hexdigest()


def shard_count(recordings: int, format: TokenFormat) -> int:
    """How many shards hold the tokens of so many recordings."""
    return -(-recordings // format.shard_size)


def members_of(shard: int, recordings: int, format: TokenFormat) -> range:
    """Indices of the recordings, of so many, whose tokens a shard holds."""
    first = shard * format.shard_size
    return range(first, min(first + format.shard_size, recordings))


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{shard:05d}.safetensors"


def open_shard(path: Path) -> Any:
    """A shard, memory-mapped."""
    try:
        return safe_open(path, framework="numpy")
    except (OSError, SafetensorError):
        raise CorpusError(f"{path}: is damaged; {WRITE_AGAIN}") from None


def _firsts(lengths: np.ndarray, shard_size: int) -> np.ndarray:
    """(R,) where each recording begins in its shard."""
    firsts: np.ndarray = np.cumsum(lengths) - lengths
    of_shards = np.repeat(firsts[::shard_size], shard_size)[: len(lengths)]
    return np.asarray(firsts - of_shards)


def _read_tokens_json(folder: Path) -> dict[str, Any]:
    path = folder / "tokens.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        shards = len(list(folder.glob("shard-*.safetensors")))
        state = f"is unfinished ({shards} shards are there)" if shards else "holds no tokens"
        raise CorpusError(f"{folder}: {state}; write the tokens to its end") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be read ({error}); {WRITE_AGAIN}") from None
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise CorpusError(
            f"{path}: has format version {version}, this program reads {FORMAT_VERSION}; "
            f"{WRITE_AGAIN}"
        )
    return content
