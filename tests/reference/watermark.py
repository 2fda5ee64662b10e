"""The mark, written out: every window transformed by a sum, every bin multiplied on its own."""

import cmath
import math

HOP, WINDOW, FIRST_BIN, CELL_BINS, FRAMES = 320, 640, 8, 2, 2


def marked(samples, signs, depth_db):
    """Samples (a list at 16 kHz) with cells louder or softer by signs[step][band] * depth_db."""
    shape = [math.sin(math.pi * (n + 0.5) / WINDOW) for n in range(WINDOW)]
    made = [0.0] * len(samples)
    roots = [cmath.exp(-2j * math.pi * n / WINDOW) for n in range(WINDOW)]
    for frame in range(-1, -(-len(samples) // HOP)):
        start = frame * HOP
        heard = [
            shape[n] * (samples[start + n] if 0 <= start + n < len(samples) else 0.0)
            for n in range(WINDOW)
        ]
        changed = list(heard)
        bands = 0 if frame < 0 else len(signs[0])
        for band in range(bands):
            sign = signs[frame // FRAMES % len(signs)][band]
            more = 10 ** (sign * depth_db / 20) - 1
            for bin_ in range(FIRST_BIN + band * CELL_BINS, FIRST_BIN + (band + 1) * CELL_BINS):
                value = sum(x * roots[bin_ * n % WINDOW] for n, x in enumerate(heard))
                for n in range(WINDOW):
                    turned = value * roots[bin_ * n % WINDOW].conjugate()
                    changed[n] += more * 2 * turned.real / WINDOW
        for n in range(WINDOW):
            if 0 <= start + n < len(samples):
                made[start + n] += shape[n] * changed[n]
    return made
