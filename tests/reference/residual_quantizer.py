"""A residual quantizer in plain loops over NumPy arrays, one vector at a time."""

import numpy as np


def nearest(vector, codebook, normalise):
    """The id of the code closest to `vector` in angle (normalise) or in distance."""
    best, best_distance = 0, np.inf
    for id_, code in enumerate(codebook):
        if normalise:
            distance = 1 - vector @ code / np.linalg.norm(vector) / np.linalg.norm(code)
        else:
            distance = np.sum((vector - code) ** 2)
        if distance < best_distance:
            best, best_distance = id_, distance
    return best


def quantize(x, codebooks, down=None, up=None, normalise=False):
    """Vectors (M, D) to codes (Q, M) and the vector (Q, M, D) that each level adds.

    Args:
        x: vectors (M, D).
        codebooks: (Q, N, d).
        down, up: per level (weight, bias) of the projections D -> d and d -> D; None for neither.
        normalise: look up by angle.
    """
    codes = np.zeros((len(codebooks), len(x)), dtype=int)
    added = np.zeros((len(codebooks), *x.shape))
    for m, vector in enumerate(x):
        left = vector.astype(np.float64)
        for q, codebook in enumerate(codebooks):
            key = left if down is None else down[q][0] @ left + down[q][1]
            codes[q, m] = nearest(key, codebook, normalise)
            chosen = codebook[codes[q, m]].astype(np.float64)
            added[q, m] = chosen if up is None else up[q][0] @ chosen + up[q][1]
            left = left - added[q, m]
    return codes, added


def follow(vectors, codes, counts, sums, decay):
    """One step of the moving averages: new counts (N,), sums (N, d) and codebook (N, d)."""
    counts, sums = counts.astype(np.float64), sums.astype(np.float64)
    for n in range(len(counts)):
        mine = [vector for vector, code in zip(vectors, codes, strict=True) if code == n]
        counts[n] = decay * counts[n] + (1 - decay) * len(mine)
        sums[n] = decay * sums[n] + (1 - decay) * sum(mine, np.zeros_like(sums[n]))
    return counts, sums, sums / counts[:, None]
