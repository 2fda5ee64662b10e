"""Flat sequences written out token by token, in plain Python lists."""

from itertools import groupby


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
):
    """One row: a list of (flat id, kind if predicted else -1, aligned), START first.

    `semantic` is a list of ids, `codes[level][frame]` nested lists.
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
