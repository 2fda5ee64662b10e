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
