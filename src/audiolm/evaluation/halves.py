"""Two halves of the speakers: one to choose settings by, one that only what is reported has seen.

A number that served to choose a temperature or a layer is too good on the recordings it was chosen
by. So the speakers of a corpus are divided once and for all by their names: `choose` is for
choosing, `report` for what stands in a README or a paper, and nothing else.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

Speakers = Literal["all", "choose", "report"]
"""Whose recordings are measured."""

SALT = "audiolm speakers 92"
"""Decides who is in which half. Of those that were tried the first that divides LibriSpeech
test-clean and dev-clean as in this project's data into ten and ten, women and men alike."""

T = TypeVar("T")


def half_of(speaker: str) -> Speakers:
    """`choose` or `report`: the same for a name everywhere, whoever else is in the corpus."""
    digest = hashlib.sha256(f"{SALT} {speaker}".encode()).digest()
    return "report" if digest[0] % 2 else "choose"


def of_half(things: Sequence[T], speaker: Callable[[T], str], speakers: Speakers) -> list[T]:
    """The things (recordings, tokens) whose speaker is in the half, in their order."""
    return [t for t in things if speakers == "all" or half_of(speaker(t)) == speakers]
