"""A classifier of a corpus' voices, which several tables ask whose voice something is.

It is trained once for a report and kept beside it.
"""

import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiolm.data.store import pack
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.safety.classifier import Classifier, ClassifierFile, train_classifier

PAPER = {"codec": 100.0, "acoustic_generation": 3.2, "continuation": 92.6}
"""Table III, in percent."""


@dataclass(frozen=True)
class Voices:
    """A classifier of the corpus' speakers, and recordings of theirs that it has not heard."""

    classifier: Classifier
    validation: list[Utterance]


def learn_voices(
    request: ExperimentRequest, progress: Callable[[float], None] = lambda share: None
) -> Voices:
    """Train a classifier of the corpus' speakers, or take the one trained before.

    It depends on the corpus, the section `speaker` of the options and the seed, not on the model.

    Raises:
        Skipped: no speaker is known.
        CorpusError: there is one speaker only, or one recording of each.
    """
    options = request.options.speaker
    known = [
        u
        for u in request.utterances(validation=not options.training_speakers)
        if u.recording.speaker is not None
    ]
    if not known:
        raise Skipped(
            f"{request.data} does not say who speaks",
            "lay the recordings out as LibriSpeech: speaker/chapter/speaker-chapter-number.flac",
        )
    speakers = sorted({u.speaker for u in known})
    if len(speakers) < 2:
        raise CorpusError(
            f"{request.data}: {speakers[0]} is its only speaker, and there are no voices to tell "
            "apart; give recordings of two or more"
        )
    train, validation = split(known, options.validation_share, request.seed)
    if not validation:
        raise CorpusError(
            f"{request.data}: there is one recording of each speaker, so none is left to be judged "
            "by; give two or more of each"
        )
    folder = request.out.parent / "speaker-classifier"
    settings = options.model_dump(include={"epochs", "minutes"}) | {"seed": request.seed}
    names = [[u.recording.id, u.speaker, u.recording.seconds] for u in train]
    file = ClassifierFile(folder, recordings=names, **settings)
    classifier = file.load(request.model.device)
    if classifier is None:
        classifier = _trained(train, request, folder, progress)
        file.save(classifier)
    progress(1.0)
    return Voices(classifier, validation)


def _trained(
    train: Sequence[Utterance],
    request: ExperimentRequest,
    folder: Path,
    progress: Callable[[float], None],
) -> Classifier:
    options = request.options.speaker
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as packed:
        store = pack([u.recording for u in train], Path(packed))
        labels = [str(recording.speaker) for recording in store.recordings]
        return train_classifier(
            store,
            labels,
            options.epochs,
            options.minutes,
            request.model.device,
            request.seed,
            progress,
        )


def split(
    known: Sequence[Utterance], fraction: float, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Divide each speaker's recordings into what a classifier learns from and what it is judged by.

    About `fraction` of the recordings is held out, at least one of each speaker who has two. Those
    of a corpus' training split are learnt from only: the model has been trained on them.
    """
    judged_by = {u.recording.id for u in known if u.recording.split != "train"}
    judged_by = judged_by or {u.recording.id for u in known}  # a corpus of nothing else
    voices: dict[str, list[Utterance]] = {}
    for utterance in sorted(known, key=lambda u: u.recording.id):
        voices.setdefault(utterance.speaker, []).append(utterance)
    validation: list[Utterance] = []
    for speaker, own in sorted(voices.items()):
        candidates = [u for u in own if u.recording.id in judged_by]
        count = max(1, round(fraction * len(own))) if len(own) > 1 else 0
        generator = random.Random(f"{seed} {speaker}")
        validation += generator.sample(candidates, min(count, len(candidates)))
    apart = {u.recording.id for u in validation}
    return [u for u in known if u.recording.id not in apart], validation
