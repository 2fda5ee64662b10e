"""Character and word error rates: how much of a transcript a recogniser gets wrong.

Definition: insertions, deletions and substitutions of the cheapest alignment, over the length of
the transcript, in percent; the alignment is jiwer's. Rates of many utterances are all errors over
all words, not means of rates.

Convention: the recognised text and then the transcript, both as `normalise_text` gives them.
"""

import re
import unicodedata
from dataclasses import dataclass

from audiolm.evaluation.requirements import extra


@dataclass(frozen=True)
class Errors:
    """How two texts differ: insertions, deletions and substitutions."""

    words: int
    of_words: int
    """Words of the transcript."""
    characters: int
    of_characters: int


def normalise_text(text: str) -> str:
    """Text as it is compared: lower case, single spaces, letters, digits and inner apostrophes."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    text = re.sub(r"[^\w' ]|_", " ", text)
    text = re.sub(r"(?<!\w)'|'(?!\w)", " ", text)
    return " ".join(text.split())


def validate(text: str, transcript: str) -> None:
    """Check a pair of texts.

    Raises:
        ValueError: one is not normalised, or the transcript is empty: nothing can be wrong of it.
    """
    for name, value in (("text", text), ("transcript", transcript)):
        if value != normalise_text(value):
            raise ValueError(f"{name} is not normalised: {value[:40]!r}")
    if not transcript:
        raise ValueError("transcript is empty")


def errors(text: str, transcript: str) -> Errors:
    """How a recognised text differs from the transcript, both normalised.

    Raises:
        Skipped: without jiwer.
        ValueError: as `validate`.
    """
    validate(text, transcript)
    jiwer = extra("jiwer")
    words = jiwer.process_words(transcript, text)
    characters = jiwer.process_characters(transcript, text)
    return Errors(
        words=words.substitutions + words.deletions + words.insertions,
        of_words=words.substitutions + words.deletions + words.hits,
        characters=characters.substitutions + characters.deletions + characters.insertions,
        of_characters=characters.substitutions + characters.deletions + characters.hits,
    )


def evaluate(text: str, transcript: str) -> dict[str, float]:
    """`cer` and `wer` of one utterance, in percent.

    Raises:
        Skipped: without jiwer.
        ValueError: as `validate`.
    """
    found = errors(text, transcript)
    return {
        "cer": 100 * found.characters / found.of_characters,
        "wer": 100 * found.words / found.of_words,
    }
