"""Recordings and continuations that a detector is asked about: two of a kind, from one place.

A continuation stands against what the same recording holds behind the same prompt, as it is and
through the codec: the voice, the text before it and the length tell nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.data.corpus import open_corpus
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import levels_made
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import between, prompts_of, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.safety.detector import hidden
from audiolm.shapes import SAMPLE_RATE


@dataclass(frozen=True)
class Pairs:
    """Recordings, each of them once continued and once as it is, from the same second on."""

    speakers: list[str]
    raw: list[Audio]
    """What is recorded."""
    coded: list[Audio]
    """The same through the codec."""
    made: list[Audio]
    """What the model says in its place."""
    whole: list[Audio]
    """The codec's rendering of each prompt, and what the model says behind it."""

    def some(self, count: int) -> "Pairs":
        """The first of them."""
        raw, coded, made, whole = (
            clips[:count] for clips in (self.raw, self.coded, self.made, self.whole)
        )
        return Pairs(self.speakers[:count], raw, coded, made, whole)

    def first(self, seconds: float) -> "Pairs":
        """The beginnings of what is recorded and of what is made."""
        raw, coded, made = (
            [clip.first(seconds) for clip in clips] for clips in (self.raw, self.coded, self.made)
        )
        return Pairs(self.speakers, raw, coded, made, self.whole)


def strangers_to(speakers: Sequence[str], everything: list[Utterance]) -> list[Utterance]:
    """The utterances of speakers that are not among those a detector was trained on (hidden).

    Raises:
        Skipped: there are none.
    """
    unheard = [u for u in everything if hidden(u.speaker) not in speakers]
    if not unheard:
        raise Skipped(
            "the detector was trained on every speaker of the corpus",
            "give recordings of other speakers",
        )
    return unheard


def continued_pairs(request: ExperimentRequest, pool: list[Utterance], seconds: float) -> Pairs:
    """Recordings that are long enough, continued from the same second on.

    Raises:
        Skipped: there are none.
    """
    options, model = request.options.detection, request.model
    longest = options.prompt_seconds + seconds
    chosen = spread_over_speakers(
        between(pool, longest, settings="detection.prompt_seconds and detection.seconds"),
        request.limit,
        request.seed,
    )
    answers = request.generated(options).continuations(
        prompts_of(chosen, options.prompt_seconds),
        seconds,
        request.seed,
        progress=lambda share: request.progress(0.4 * share),
        mark=False,  # it is the model's traces that are to be found
    )
    raw, coded = [], []
    for utterance in chosen:
        audio = read(utterance.recording.path, SAMPLE_RATE).first(longest)
        raw.append(audio.last(seconds))
        coded.append(model.reconstruction(audio, levels_made(model)).last(seconds))
    made = [answer.last(seconds) for answer in answers]
    return Pairs([u.speaker for u in chosen], raw, coded, made, answers)


def of_another_corpus(folder: Path) -> list[Utterance]:
    """All recordings of a corpus that has nothing to do with what is evaluated.

    Raises:
        CorpusError: it is not there.
    """
    return [Utterance(recording) for recording in open_corpus(folder).recordings]
