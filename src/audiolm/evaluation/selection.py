"""What an experiment measures: long enough, spread over the speakers, the same every time."""

import random
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.requirements import Skipped
from audiolm.shapes import SAMPLE_RATE

T = TypeVar("T")


def between(
    utterances: Sequence[Utterance],
    shortest: float,
    longest: float | None = None,
    settings: str = "",
) -> list[Utterance]:
    """The utterances that last from `shortest` to `longest` seconds.

    Args:
        utterances: of any length.
        shortest: of those that are taken, in seconds.
        longest: likewise; no bound when None.
        settings: the options that these bounds come from, for the message where there are any.

    Raises:
        Skipped: if there are none.
    """
    most = float("inf") if longest is None else longest
    chosen = [u for u in utterances if shortest <= u.recording.seconds <= most]
    if not chosen:
        bounds = f"{shortest:g} s or more" if longest is None else f"{shortest:g} to {longest:g} s"
        remedy = "give a folder that has such recordings"
        if settings:
            remedy += f", or set {settings} to other lengths (--set KEY=VALUE)"
        raise Skipped(f"no recording lasts {bounds}", remedy)
    return chosen


def spread_over_speakers(
    utterances: Sequence[Utterance], count: int | None, seed: int
) -> list[Utterance]:
    """At most `count` utterances, about as many of each speaker, drawn by the seed; sorted by id.

    Fewer are a part of more: what is drawn for a count is drawn for any larger one too.
    """
    if count is None or count >= len(utterances):
        return sorted(utterances, key=_id)
    voices: dict[str, list[Utterance]] = {}
    for utterance in sorted(utterances, key=_id):
        voices.setdefault(utterance.speaker, []).append(utterance)
    generator = random.Random(seed)
    queues = [generator.sample(own, len(own)) for own in voices.values()]
    generator.shuffle(queues)
    in_turn = [u for u in chain.from_iterable(zip_longest(*queues)) if u is not None]
    return sorted(in_turn[:count], key=_id)


def limited(
    things: Sequence[T], group: Callable[[T], str], limit: int | None, seed: int
) -> list[T]:
    """The things of at most `limit` groups, drawn by the seed, in their order; all when None."""
    groups = sorted({group(thing) for thing in things})
    if limit is None or limit >= len(groups):
        return list(things)
    kept = set(random.Random(seed).sample(groups, limit))
    return [thing for thing in things if group(thing) in kept]


def _id(utterance: Utterance) -> str:
    return utterance.recording.id


def prompts_of(chosen: Sequence[Utterance], seconds: float) -> list[Audio]:
    """The first `seconds` of each recording."""
    return [read(u.recording.path, SAMPLE_RATE).first(seconds) for u in chosen]
