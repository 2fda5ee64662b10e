"""What the mark looks like: which cells of the time-frequency plane are louder, which softer.

A cell is 50 Hz wide and 40 ms long. Two neighbours in frequency are a dipole: one is made louder,
the other softer by as much, so that no band that an ear resolves changes its level. Which of the
two is louder is drawn once for all, from SHA-256, over a period of 32 steps of time that repeats
for as long as the sound lasts. A part of the dipoles is the same for everybody, so that a reader
finds the mark and its clock (synchronisation); the rest is multiplied by the signs of a code word
of 64 bits, which holds a payload of 16: a BCH code, of whose words any two differ in 24 places.

The pattern is no secret: whoever reads this file can read marks, and could remove them.
"""

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

BIN = 25.0
"""Hz between bins of the transform: windows of 640 samples at 16 kHz."""
BINS = 321
"""Bins of the transform, 0 to 8 kHz."""
CELL_BINS = 2
"""Bins in a cell: 50 Hz, narrower than what an ear resolves."""
FIRST_BIN, DIPOLES = 8, 58
"""The dipoles lie from 200 to 6000 Hz."""
BANDS = 2 * DIPOLES
EDGES = FIRST_BIN + CELL_BINS * np.arange(BANDS + 1)
"""Bins at which bands begin and end, (BANDS + 1,)."""
STEPS = 32
"""Cells of a band in a period: 1.28 s."""
SYNCHRONISATION = 0.55
"""Share of the dipoles that find the mark; the rest holds the payload."""

PAYLOAD_BITS = 16
CODE_BITS = 64
_GENERATOR = 0o6331141367235453
"""Generator polynomial of the BCH code (63, 16), which corrects 11 errors (Lin and Costello,
appendix C); a bit of parity makes it (64, 16) with a minimum distance of 24."""

FAMILIES = ("other", "speech", "piano")
"""Families of models, by their number in a payload."""


@dataclass(frozen=True)
class Payload:
    """What a mark says: which model made the sound."""

    family: str
    """`speech` or `piano` for the bundled models, `other` for anybody's own."""
    fingerprint: str
    """The first 3 hex digits of the model's fingerprint: which version of it."""

    @classmethod
    def of_model(cls, name: str, fingerprint: str) -> "Payload":
        """The payload of a model of this name (`AudioLM.name`) and fingerprint."""
        return cls(name if name in FAMILIES else FAMILIES[0], fingerprint[:3])

    @classmethod
    def of_number(cls, number: int) -> "Payload":
        """The payload that 16 bits stand for; a family of a later version has its number only."""
        family = number >> 12
        known = FAMILIES[family] if family < len(FAMILIES) else f"family {family}"
        return cls(known, f"{number & 0xFFF:03x}")

    @property
    def number(self) -> int:
        """It as 16 bits: the family in the upper 4, the fingerprint in the lower 12."""
        return FAMILIES.index(self.family) << 12 | int(self.fingerprint, 16)


@cache
def synchronisation() -> NDArray[np.int64]:
    """Signs (STEPS, DIPOLES) of the dipoles that are the same in every mark, 0 for the others.

    1: the lower cell is the louder one.
    """
    return np.where(_is_payload(), 0, _signs("synchronisation"))


@cache
def payload_dipoles() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The other dipoles: signs (STEPS, DIPOLES), 0 elsewhere, and which bit each of them holds."""
    signs = np.where(_is_payload(), _signs("payload"), 0)
    # Bits are dealt out in the order of a shuffle, so that each has dipoles all over the plane.
    order = np.argsort(_uniform("bits"), axis=None, kind="stable")
    order = order[_is_payload().ravel()[order]]
    bits = np.zeros(STEPS * DIPOLES, dtype=np.int64)
    bits[order] = np.arange(len(order)) % CODE_BITS
    return signs, bits.reshape(STEPS, DIPOLES)


def signs_of(payload: Payload) -> NDArray[np.float32]:
    """Signs (STEPS, BANDS) of all cells in the mark with this payload."""
    signs, bits = payload_dipoles()
    dipoles = synchronisation() + signs * code_words()[payload.number][bits]
    return np.stack([dipoles, -dipoles], axis=2).reshape(STEPS, BANDS).astype(np.float32)


@cache
def code_words() -> NDArray[np.float32]:
    """The code word of each number of 16 bits as signs: (65536, 64)."""
    rows = [_GENERATOR << place for place in range(PAYLOAD_BITS)]
    generator = np.array([[row >> bit & 1 for bit in range(CODE_BITS - 1)] for row in rows])
    numbers = np.arange(1 << PAYLOAD_BITS)
    bits = numbers[:, None] >> np.arange(PAYLOAD_BITS) & 1  # (65536, 16)
    words = bits.astype(np.float32) @ generator.astype(np.float32) % 2  # (65536, 63)
    parity = words.sum(1, keepdims=True) % 2
    signs: NDArray[np.float32] = 1 - 2 * np.concatenate([words, parity], axis=1)
    return signs


def _is_payload() -> NDArray[np.bool_]:
    return _uniform("share") >= SYNCHRONISATION


def _signs(name: str) -> NDArray[np.int64]:
    return np.where(_uniform(name) < 0.5, -1, 1)


@cache
def _uniform(name: str) -> NDArray[np.float64]:
    """Numbers (STEPS, DIPOLES) in [0, 1) that depend on a name alone, in every version of NumPy."""
    count = STEPS * DIPOLES
    blocks = [
        hashlib.sha256(f"audiolm mark 1 {name} {block}".encode()).digest()
        for block in range(-(-4 * count // 32))
    ]
    words = np.frombuffer(b"".join(blocks), dtype="<u4")[:count]
    return (words / 2.0**32).reshape(STEPS, DIPOLES)
