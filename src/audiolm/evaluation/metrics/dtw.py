"""Distances between tokens of different length: dynamic time warping, many pairs at once.

Frames are compared by the angle between them, arccos(cosine) / pi. The cheapest path that aligns
two tokens may repeat frames of either, and its cost is divided by its length. Pairs of about the
same two lengths are computed together, in tables of one size; one step of the recursion is then one
antidiagonal of all these tables. Where a token is shorter than its table, the rest is made of the
frames that follow: a path to the token's end never comes through it.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiolm.evaluation.metrics.threads import in_threads

CELLS = 1 << 19
"""Cells of the tables that are computed at once, 2 MB: steps long enough, and still in a cache."""
NUMBERS = 1 << 21
"""Numbers in the frames that are compared at once, 8 MB: fresh memory for more is slow to get."""


class Segments:
    """Segments as stretches of frames.

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
    tokens: Segments, pairs: np.ndarray, progress: Callable[[float], None] | None = None
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
    lengths = tokens.lengths[pairs]  # (P, 2)
    sizes = table_sizes(lengths)  # (P, 2)
    order = np.lexsort((sizes[:, 1], sizes[:, 0]))
    borders = np.flatnonzero(np.diff(sizes[order], axis=0).any(axis=1)) + 1
    batches = []
    for group in np.split(order, borders):
        if len(group):
            n, m = sizes[group[0]].tolist()
            most = max(1, min(CELLS // (n * m), NUMBERS // ((n + m) * tokens.frames.shape[1])))
            batches += np.split(group, range(most, len(group), most))

    def measure(chosen: np.ndarray) -> np.ndarray:
        n, m = sizes[chosen[0]].tolist()
        first = _gather(tokens, pairs[chosen, 0], n)  # (p, n, D + 1)
        second = _gather(tokens, pairs[chosen, 1], m)  # (p, m, D + 1)
        found: np.ndarray = warped(angles(first, second), lengths[chosen]).cpu().numpy()
        return found

    out = np.empty(len(pairs), dtype=np.float32)
    done = 0
    for chosen, found in zip(batches, in_threads(measure, batches), strict=True):
        out[chosen] = found
        done += len(chosen)
        if progress is not None:
            progress(done / len(pairs))
    return out


def table_sizes(lengths: np.ndarray) -> np.ndarray:
    """Lengths rounded up to three binary digits: 1 to 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, ...

    At 100 frames a second a seventh more cells are in a quarter as many batches.
    """
    unit = 2 ** np.maximum(np.ceil(np.log2(lengths)) - 3, 0).astype(np.int64)
    sizes: np.ndarray = -(-lengths // unit) * unit
    return sizes


def _gather(tokens: Segments, chosen: np.ndarray, length: int) -> Tensor:
    """So many frames from the beginning of each chosen token on: (p, length, D + 1)."""
    frames = tokens.frames
    places = tokens.starts[chosen][:, None] + np.arange(length)  # (p, length)
    places = places.clip(max=len(frames) - 1).reshape(-1)
    # Whole rows by their numbers: takes half as long as frames[places].
    rows = frames.index_select(0, torch.from_numpy(places).to(frames.device))
    return rows.view(len(chosen), length, -1)


def angles(first: Float[Tensor, "P n D"], second: Float[Tensor, "P m D"]) -> Tensor:
    """Angles between directions as parts of pi, with the pairs last: (n, m, P) in [0, 1]."""
    cosines = torch.bmm(first, second.transpose(1, 2))  # (P, n, m)
    cosines = cosines.permute(1, 2, 0).contiguous().clamp_(-1, 1)
    return cosines.acos_().div_(math.pi)


def warped(distances: Float[Tensor, "n m P"], lengths: np.ndarray) -> Float[Tensor, "P"]:
    """Cost of the cheapest path through each table, divided by its length.

    A path goes from the first cell to the last by steps along either axis or both. Of paths of the
    same cost the one counts that is found going back from the end, by a step along both where that
    is as cheap, else along the second axis, else along the first. Lengths are carried along with
    the costs, which spares going back.

    Args:
        distances: the tables, (n, m, P).
        lengths: (P, 2) rows and columns of each that count, from the first on.
    """
    n, m, P = distances.shape
    distances = distances.contiguous()
    # Row i + 1 holds cell (i, k - i) of antidiagonal k; rows not reached so far are infinite.
    cost = [distances.new_full((n + 1, P), math.inf) for _ in range(3)]
    length = [distances.new_zeros(n + 1, P) for _ in range(3)]
    cost[0][1] = distances[0, 0]
    length[0][1] = 1
    cheaper = distances.new_empty(n, P)
    out = distances.new_empty(P)
    ends = lengths.sum(axis=1) - 2  # the antidiagonal that holds the last cell of each table
    used, rows = set(ends.tolist()), torch.from_numpy(lengths[:, 0])
    for k in range(max(used) + 1):
        now, before, twice = k % 3, (k - 1) % 3, (k - 2) % 3
        if k > 0:
            low, high = max(0, k - m + 1), min(n, k + 1)
            # TableCell (i, k - i) lies at i * m + k - i = k + i * (m - 1) of the table.
            cells = distances.as_strided((high - low, P), ((m - 1) * P, 1), (k + low * (m - 1)) * P)
            along_first, along_both = slice(low, high), slice(low, high)
            along_second = here = slice(low + 1, high + 1)
            up, left = cost[before][along_first], cost[before][along_second]
            both = cost[twice][along_both]
            straight = torch.minimum(left, up)
            # One or zero, and lerp to choose by it: a third of the time of a mask and `where`.
            choice = torch.le(left, up, out=cheaper[: high - low])
            path = length[before][along_first].lerp(length[before][along_second], choice)
            choice = torch.le(both, straight, out=cheaper[: high - low])
            path = path.lerp(length[twice][along_both], choice)
            torch.add(path, 1, out=length[now][here])
            torch.add(torch.minimum(straight, both), cells, out=cost[now][here])
        if k in used:
            done = torch.from_numpy(np.flatnonzero(ends == k))
            out[done] = cost[now][rows[done], done] / length[now][rows[done], done]
    return out
