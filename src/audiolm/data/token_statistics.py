"""How often each id is used, counted shard by shard.

It tells a collapsed codebook at a glance, and what a model would reach that knows the frequencies
of ids and nothing else (unigram entropy).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP

LONGEST_PERIOD = 50
"""Ids, two seconds: what comes again after longer is no loop, but a theme."""


def semantic_statistics(shards: Sequence[Path], clusters: int) -> dict[str, Any]:
    """Use of the semantic ids.

    Args:
        shards: files with `semantic` (sum of S,) and `steps` (R,).
        clusters: K.

    Returns:
        `semantic_entropy`: bits per id of the distribution of single ids, at most log2 K;
        `semantic_used`: how many ids occur;
        `semantic_rate`: ids per second once consecutive repeats are removed (paper, III-C);
        `semantic_counts`: how often each id occurs (K,);
        `semantic_run_counts`: how often once consecutive repeats are removed (K,).
    """
    counts, runs = (np.zeros(clusters, dtype=np.int64) for _ in range(2))  # (K,)
    for path in shards:
        with safe_open(path, framework="numpy") as file:
            ids, steps = file.get_tensor("semantic"), file.get_tensor("steps")
        counts += np.bincount(ids, minlength=clusters)
        begins = np.ones(len(ids), dtype=bool)  # a run of one id begins here
        begins[1:] = ids[1:] != ids[:-1]
        begins[(np.cumsum(steps) - steps)[steps > 0]] = True  # and at each recording's start
        runs += np.bincount(ids[begins], minlength=clusters)
    seconds = counts.sum() * SEMANTIC_HOP / SAMPLE_RATE
    return {
        "semantic_entropy": _entropy(counts),
        "semantic_used": int((counts > 0).sum()),
        "semantic_rate": float(runs.sum() / seconds) if seconds else 0.0,
        "semantic_counts": counts.tolist(),
        "semantic_run_counts": runs.tolist(),
    }


def repetition_statistics(shards: Sequence[Path], clusters: int) -> dict[str, Any]:
    """How long recordings stay silent, and how long they say the same again.

    Args:
        shards: files with `semantic` (sum of S,), `steps` (R,) and, where it was noted, `silent`
            (sum of S,): 1 where a step is.
        clusters: K.

    Returns:
        `semantic_longest_loops`: for each period of 1 to `LONGEST_PERIOD` ids, the longest stretch
        in which every id is the one that came a period before;
        `semantic_silent_ids`: the ids that are silent more often than not;
        `semantic_longest_silence`: the longest stretch of these;
        and the same with `run` in place of `semantic`, once consecutive repeats are removed.
    """
    heard, silent = (np.zeros(clusters, dtype=np.int64) for _ in range(2))  # (K,)
    for path in shards:
        with safe_open(path, framework="numpy") as file:
            if "silent" in file.keys():  # noqa: SIM118
                ids = file.get_tensor("semantic")
                heard += np.bincount(ids, minlength=clusters)
                where = file.get_tensor("silent").astype(bool)
                silent += np.bincount(ids[where], minlength=clusters)
    silent_ids = 2 * silent > heard  # (K,)
    found: dict[str, Any] = {}
    for name in ("semantic", "run"):
        found[f"{name}_longest_loops"] = [0] * LONGEST_PERIOD
        found[f"{name}_silent_ids"] = np.flatnonzero(silent_ids).tolist()
        found[f"{name}_longest_silence"] = 0
    for path in shards:
        with safe_open(path, framework="numpy") as file:
            ids, steps = file.get_tensor("semantic"), file.get_tensor("steps")
        recording = np.repeat(np.arange(len(steps)), steps)  # (sum of S,)
        begins = np.ones(len(ids), dtype=bool)
        begins[1:] = (ids[1:] != ids[:-1]) | (recording[1:] != recording[:-1])
        for name, kept in (("semantic", slice(None)), ("run", begins)):
            some, of = ids[kept], recording[kept]
            loops = found[f"{name}_longest_loops"]
            for period in range(1, LONGEST_PERIOD + 1):
                again = (some[period:] == some[:-period]) & (of[period:] == of[:-period])
                loops[period - 1] = max(loops[period - 1], _longest_run(again, of[period:]))
            silence = _longest_run(silent_ids[some], of)
            found[f"{name}_longest_silence"] = max(found[f"{name}_longest_silence"], silence)
    return found


def _longest_run(flags: np.ndarray, recording: np.ndarray) -> int:
    """The most flags (n,) that are set one after the other within one recording (n,)."""
    begins = ~flags | np.diff(recording, prepend=-1).astype(bool)  # nothing goes on here
    return int(np.bincount(np.cumsum(begins), weights=flags).max(initial=0))


def code_statistics(shards: Sequence[Path], levels: int, codebook_size: int) -> dict[str, Any]:
    """Use of the codes.

    Args:
        shards: files with `codes` (sum of F, Q).
        levels: Q.
        codebook_size: N.

    Returns:
        `codebook_perplexity`: 2 ** entropy of each level, at most N;
        `codebook_used`: how many ids occur on each level;
        `code_counts`: how often each id occurs on each level (Q, N).
    """
    counts = np.zeros((levels, codebook_size), dtype=np.int64)  # (Q, N)
    for path in shards:
        with safe_open(path, framework="numpy") as file:
            codes = file.get_tensor("codes")  # (sum of F, Q)
        for level in range(levels):
            counts[level] += np.bincount(codes[:, level], minlength=codebook_size)
    return {
        "codebook_perplexity": [2.0 ** _entropy(of_level) for of_level in counts],
        "codebook_used": [int((of_level > 0).sum()) for of_level in counts],
        "code_counts": counts.tolist(),
    }


def _entropy(counts: np.ndarray) -> float:
    """Bits per id of the distribution that `counts` are of."""
    shares = counts[counts > 0] / max(1, counts.sum())
    return max(0.0, -float((shares * np.log2(shares)).sum()))
