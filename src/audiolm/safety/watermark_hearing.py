"""How deep the mark may be where, so that an ear does not notice.

An ear hears what lies within about one equivalent rectangular bandwidth (ERB) as one loudness: 46
Hz at 200 Hz, 240 Hz at 2 kHz, 670 Hz at 6 kHz (Glasberg and Moore, 1990). Two things follow.

Where a band of the ear is not much wider than a cell of the mark, as in the voice's lower
harmonics, cells cannot balance each other within it: they are changed less there.

And a harmonic that stands in one cell is most of what its band holds. Making that cell louder makes
the band louder, whatever becomes of its neighbour. So the power of every band is put back to what
it was, window by window: the strong cell stays, and the weak one beside it, which it masks, carries
the difference. A pure tone keeps its level.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from audiolm.safety.watermark_pattern import BIN, BINS, EDGES

FULL_DEPTH_ERB = 240.0
"""Hz of the ear's bandwidth from which on the mark has its whole depth; in proportion below."""

SPREAD = 0.35
"""Standard deviation of what is heard together, in ERB: narrower than an ear's band, so that within
one the balance holds as well."""

NARROWEST = 25.0
"""Hz; the least standard deviation: in less there is no second cell to balance with."""


_HERTZ: NDArray[np.float64] = BIN * np.arange(BINS, dtype=np.float64)
"""Of each bin."""


def bandwidth(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ear's equivalent rectangular bandwidth in Hz around frequencies (n,)."""
    return 24.7 * (4.37 * hertz / 1000 + 1)


@cache
def depths() -> NDArray[np.float64]:
    """Share of its whole depth that the mark has in each bin: (BINS,), 0 outside its bands."""
    share = np.minimum(1.0, bandwidth(_HERTZ) / FULL_DEPTH_ERB)
    share[: EDGES[0]] = share[EDGES[-1] :] = 0
    return share


@cache
def heard_together() -> NDArray[np.float64]:
    """How much the power of each bin (rows) counts in what is heard around each other one.

    Returns:
        (BINS, BINS), a bell in every column.
    """
    deviation = np.maximum(NARROWEST, SPREAD * bandwidth(_HERTZ))  # (BINS,)
    return np.asarray(np.exp(-0.5 * ((_HERTZ[:, None] - _HERTZ) / deviation) ** 2))


def balanced(power: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors of amplitudes (n, BINS) that leave what is heard around each bin as loud as it was.

    Args:
        power: of the windows' bins, (n, BINS).
        factors: what the mark would make of their amplitudes, (n, BINS).

    Returns:
        (n, BINS), still 1 outside the mark's bands.
    """
    marked = slice(EDGES[0], EDGES[-1])
    together = heard_together()[:, marked]
    power = power + 1e-20  # silence stays silent
    ratio = (power @ together) / ((power * factors**2) @ together)
    made = factors.copy()
    made[:, marked] *= np.sqrt(ratio)
    return made
