"""The mark, written out: every window transformed by a sum, every bin multiplied on its own."""

import cmath
import math

HOP, WINDOW, FIRST_BIN, CELL_BINS, FRAMES, BIN = 320, 640, 8, 2, 2, 25.0


def bandwidth(hertz):
    """The ear's, after Glasberg and Moore."""
    return 24.7 + 0.107939 * hertz


def marked(samples, signs, depth_db):
    """Samples (a list at 16 kHz) with cells louder or softer by signs[step][band] * depth_db,
    less where the ear's bands are narrower than 240 Hz, and every neighbourhood as loud as before.
    """
    shape = [math.sin(math.pi * (n + 0.5) / WINDOW) for n in range(WINDOW)]
    made = [0.0] * len(samples)
    roots = [cmath.exp(-2j * math.pi * n / WINDOW) for n in range(WINDOW)]
    bins = range(WINDOW // 2 + 1)
    for frame in range(-1, -(-len(samples) // HOP)):
        start = frame * HOP
        heard = [
            shape[n] * (samples[start + n] if 0 <= start + n < len(samples) else 0.0)
            for n in range(WINDOW)
        ]
        values = [sum(x * roots[k * n % WINDOW] for n, x in enumerate(heard)) for k in bins]
        factors = [1.0 for _ in bins]
        for band, sign in enumerate(signs[frame // FRAMES % len(signs)] if frame >= 0 else []):
            for k in range(FIRST_BIN + band * CELL_BINS, FIRST_BIN + (band + 1) * CELL_BINS):
                depth = depth_db * min(1, bandwidth(k * BIN) / 240)
                factors[k] = 10 ** (sign * depth / 20)
        changed = list(heard)
        for k in bins:
            if factors[k] == 1:
                continue
            width = max(25, 0.35 * bandwidth(k * BIN))
            before = after = 1e-20
            for other in bins:
                counts = math.exp(-(((k - other) * BIN / width) ** 2) / 2)
                before += counts * abs(values[other]) ** 2
                after += counts * abs(values[other] * factors[other]) ** 2
            more = factors[k] * math.sqrt(before / after) - 1
            for n in range(WINDOW):
                turned = values[k] * roots[k * n % WINDOW].conjugate()
                changed[n] += more * 2 * turned.real / WINDOW
        for n in range(WINDOW):
            if 0 <= start + n < len(samples):
                made[start + n] += shape[n] * changed[n]
    return made
