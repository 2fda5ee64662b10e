"""Distances between tokens of different length: dynamic time warping, many pairs at once.

Frames are compared by the angle between them, arccos(cosine) / pi. The cheapest path that aligns
two tokens may repeat frames of either, and its cost is divided by its length. Pairs of the same two
lengths are computed together, so that nothing is padded; one step of the recursion is then one
antidiagonal of all their tables.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

CELLS = 1 << 18
"""Cells of the tables that are computed at once: 1 MB, so that they stay in the cache."""


class Tokens:
    """Tokens as stretches of frames.

    Args:
        frames: of all recordings one after the other, (n, D), of any scale.
        starts: the first frame of each token.
        lengths: of each token, in frames, at least 1.
    """

    def __init__(
        self, frames: Float[Tensor, "n D"], starts: Sequence[int], lengths: Sequence[int]
    ) -> None:
        self.frames = directions(frames)  # (n, D + 1)
        self.starts = np.asarray(starts, dtype=np.int64)  # (tokens,)
        self.lengths = np.asarray(lengths, dtype=np.int64)  # (tokens,)

    def __len__(self) -> int:
        return len(self.lengths)


def directions(frames: Float[Tensor, "frames D"]) -> Tensor:
    """Frames (n, D) at length one, with one more column (n, D + 1) for those that are all zeros.

    A frame of zeros has no direction. The column puts it at the greatest distance from every other
    frame and at distance zero from its like, as Libri-Light's scripts do.
    """
    frames = frames.float()
    norms = torch.linalg.vector_norm(frames, dim=1, keepdim=True)  # (n, 1)
    silent = norms == 0
    # Products: with a usual frame 1e-12 * 1e-12 vanishes, with a silent one it is far below -1.
    column = torch.where(silent, -2e12, 1e-12)
    return torch.cat([frames / norms.masked_fill(silent, 1), column], dim=1)


def pair_distances(
    tokens: Tokens, pairs: np.ndarray, progress: Callable[[float], None] | None = None
) -> np.ndarray:
    """Distances of pairs of tokens.

    Args:
        tokens: the tokens.
        pairs: (P, 2) numbers of tokens. The order matters where paths of the same cost differ in
            length: then a step along the second token is preferred.
        progress: is told which share is done, 0 to 1.

    Returns:
        (P,) float32 in [0, 1].
    """
    shapes = tokens.lengths[pairs]  # (P, 2)
    order = np.lexsort((shapes[:, 1], shapes[:, 0]))
    borders = np.flatnonzero(np.diff(shapes[order], axis=0).any(axis=1)) + 1
    batches = []
    for group in np.split(order, borders):
        if len(group):
            size = max(1, CELLS // int(shapes[group[0]].prod()))
            batches += np.split(group, range(size, len(group), size))

    def measure(chosen: np.ndarray) -> np.ndarray:
        n, m = shapes[chosen[0]].tolist()
        first = _gather(tokens, pairs[chosen, 0], n)  # (p, n, D + 1)
        second = _gather(tokens, pairs[chosen, 1], m)  # (p, m, D + 1)
        found: np.ndarray = warped(angles(first, second)).cpu().numpy()
        return found

    out = np.empty(len(pairs), dtype=np.float32)
    done = 0
    # The tables are too small for PyTorch to share one among its threads.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for chosen, found in zip(batches, pool.map(measure, batches), strict=True):
            out[chosen] = found
            done += len(chosen)
            if progress is not None:
                progress(done / len(pairs))
    return out


def _gather(tokens: Tokens, chosen: np.ndarray, length: int) -> Tensor:
    places = tokens.starts[chosen][:, None] + np.arange(length)  # (p, length)
    frames = tokens.frames
    return frames[torch.from_numpy(places).to(frames.device)]


def angles(first: Float[Tensor, "P n D"], second: Float[Tensor, "P m D"]) -> Tensor:
    """Angles between directions as parts of pi, with the pairs last: (n, m, P) in [0, 1]."""
    cosines = torch.bmm(first, second.transpose(1, 2))  # (P, n, m)
    cosines = cosines.permute(1, 2, 0).contiguous().clamp_(-1, 1)
    return cosines.acos_().div_(math.pi)


def warped(distances: Float[Tensor, "n m P"]) -> Float[Tensor, "P"]:
    """Cost of the cheapest path through each table (n, m, P), divided by its length.

    A path goes from one corner to the other by steps along either axis or both. Of paths of the
    same cost the one counts that is found going back from the end, by a step along both where that
    is as cheap, else along the second axis, else along the first. Lengths are carried along with
    the costs, which spares going back.
    """
    n, m, P = distances.shape
    distances = distances.contiguous()
    # Row i holds cell (i, k - i) of antidiagonal k; row -1 and cells outside stay infinite.
    cost = [distances.new_full((n + 1, P), math.inf) for _ in range(3)]
    length = [distances.new_zeros(n + 1, P) for _ in range(3)]
    cost[0][1] = distances[0, 0]
    length[0][1] = 1
    for k in range(1, n + m - 1):
        low, high = max(0, k - m + 1), min(n, k + 1)
        now, before, twice = k % 3, (k - 1) % 3, (k - 2) % 3
        # Cell (i, k - i) lies at i * m + k - i = k + i * (m - 1) of the table.
        cells = distances.as_strided((high - low, P), ((m - 1) * P, 1), (k + low * (m - 1)) * P)
        along_first, along_both = slice(low, high), slice(low, high)
        along_second = here = slice(low + 1, high + 1)
        up, left = cost[before][along_first], cost[before][along_second]
        both = cost[twice][along_both]
        straight = torch.minimum(left, up)
        turn = torch.where(left <= up, length[before][along_second], length[before][along_first])
        length[now][here] = torch.where(both <= straight, length[twice][along_both], turn).add_(1)
        cost[now][here] = torch.minimum(straight, both).add_(cells)
        # What is outside of this antidiagonal must not be taken for cells of an older one.
        cost[now][low] = math.inf
        cost[now][high + 1 :] = math.inf
    last = (n + m - 2) % 3
    return cost[last][n] / length[last][n]
