"""Masked decoding and training masks as the papers say them, frame by frame, in plain Python."""

import math

MASK = -2


def fill_greedily(predict, codes, passes):
    """Fill one row: codes is a list of levels, each a list of ids, of which some are MASK.

    `predict(codes, level)` gives for every frame the list of log-probabilities of that level's ids.
    Always the likeliest id; in each pass those stay whose id is likeliest, and of `count` masks
    floor(count * cos(pi / 2 * done / passes)) are masked again.
    """
    codes = [list(level) for level in codes]
    for level, rounds in enumerate(passes):
        count = sum(1 for code in codes[level] if code == MASK)
        for done in range(1, rounds + 1):
            again = math.floor(count * math.cos(math.pi / 2 * done / rounds))
            masks = [frame for frame, code in enumerate(codes[level]) if code == MASK]
            if len(masks) <= again:
                continue
            told = predict(codes, level)
            best = {f: max(range(len(told[f])), key=lambda i, f=f: told[f][i]) for f in masks}
            surest_first = sorted(masks, key=lambda f: -told[f][best[f]])
            for frame in surest_first[: len(masks) - again]:
                codes[level][frame] = best[frame]
    return codes


def fill_in_windows(fill, codes, context):
    """`fill(codes, start)` on windows of `context` frames; half of a window lies before a mask."""
    codes = [list(level) for level in codes]
    frames = len(codes[0])
    while True:
        masked = [f for f in range(frames) if any(level[f] == MASK for level in codes)]
        if not masked:
            return codes
        start = max(0, masked[0] - context // 2)
        if start + context > frames:  # the last window is as long as the others
            start = max(0, frames - context)
            start += start % 2
        start -= start % 2
        stop = min(frames, start + context)
        filled = fill([level[start:stop] for level in codes], start)
        for level, new in zip(codes, filled, strict=True):
            level[start:stop] = new
