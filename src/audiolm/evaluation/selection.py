"""Which utterances a part measures: long enough, spread over the speakers, the same every time."""

import random
from collections.abc import Sequence
from itertools import chain, zip_longest

from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.protocol import Skipped


def between(
    utterances: Sequence[Utterance], shortest: float, longest: float | None = None
) -> list[Utterance]:
    """The utterances that last from `shortest` to `longest` seconds.

    Raises:
        Skipped: if there are none.
    """
    most = float("inf") if longest is None else longest
    chosen = [u for u in utterances if shortest <= u.recording.seconds <= most]
    if not chosen:
        bounds = f"{shortest:g} s or more" if longest is None else f"{shortest:g} to {longest:g} s"
        raise Skipped(f"no recording lasts {bounds}", "give a folder that has such recordings")
    return chosen


def spread(utterances: Sequence[Utterance], count: int | None, seed: int) -> list[Utterance]:
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


def _id(utterance: Utterance) -> str:
    return utterance.recording.id
