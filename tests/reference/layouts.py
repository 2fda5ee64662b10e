"""Flat sequences written out token by token, in plain Python lists."""

from itertools import groupby
from math import log


def tokens(
    kind,
    semantic,
    codes,
    *,
    clusters,
    codebook_size,
    coarse,
    levels,
    remove_repeats,
    conditioning,
    look_ahead,
    ended=False,
    far=None,
):
    """One row: a list of (flat id, kind if predicted else -1, aligned), START first.

    `semantic` is a list of ids, `codes[level][frame]` nested lists; `far` a list of ids, or None
    where the layout does not fill the middle.
    """
    first_code = 2 + (clusters if kind in ("semantic", "coarse") else 0)

    def flat_code(level, frame):
        return first_code + level * codebook_size + codes[level][frame]

    def shown(frame):
        if kind not in ("coarse", "fine") or conditioning == "prefix":
            return []
        result = []
        for ahead in range(look_ahead + 1):
            if kind == "coarse":
                step = frame // 2 + ahead
                result.append(semantic[step] if step < len(semantic) else -1)
            else:
                for level in range(coarse):
                    here = frame + ahead
                    result.append(codes[level][here] if here < len(codes[level]) else -1)
        return result

    if kind == "semantic" and far is not None:
        return two_sides(semantic, far, clusters, remove_repeats, ended)
    nothing = [-1] * len(shown(0)) if codes and codes[0] else None
    row = [(0, -1, nothing)]
    if kind == "semantic" or (kind == "coarse" and conditioning != "aligned"):
        ids = [key for key, _ in groupby(semantic)] if remove_repeats else semantic
        row += [(2 + z, 0 if kind == "semantic" else -1, nothing) for z in ids]
    if kind == "semantic" and ended:
        row.append((1, 0, nothing))
    if kind == "fine":
        frames = range(len(codes[0]))
        if conditioning != "aligned":
            row += [(flat_code(q, t), -1, nothing) for t in frames for q in range(coarse)]
        row += [(flat_code(q, t), q + 1, shown(t)) for t in frames for q in range(coarse, levels)]
    if kind in ("coarse", "acoustic_only"):
        frames = range(len(codes[0]))
        row += [(flat_code(q, t), q + 1, shown(t)) for t in frames for q in range(coarse)]
    return row


def two_sides(near, far, clusters, remove_repeats, ended):
    """Far side, separator, near side with a countdown; as ever where there is no far side."""
    if remove_repeats:
        near, far = ([key for key, _ in groupby(ids)] for ids in (near, far))
    row = [(0, -1, [-1])] + [(2 + z, 0, [-1]) for z in far]
    if far and ended:
        row.append((1, 0, [-1]))
    if far:
        row.append((2 + clusters, -1, [-1]))
    for place, z in enumerate(near):
        others = len(near) - place - 1  # that come between this one and the far side
        if others >= 32:
            others = min(63, 32 + int(32 * log(others / 32) / log(512 / 32)))
        row.append((2 + z, 0, [others] if far else [-1]))
    if not far and ended:
        row.append((1, 0, [-1]))
    return row
