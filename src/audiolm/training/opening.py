"""Opening a training's recordings: for training, for validation, and what is left out of both."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from torch import device as Device
from tqdm import tqdm

from audiolm.configuration import Configuration
from audiolm.data.corpus import Corpus, leave_out_test, open_corpus, split_validation
from audiolm.data.names import printable
from audiolm.errors import CorpusError
from audiolm.training.distributed import World
from audiolm.training.recordings import Recordings


class DataConfig(Configuration):
    """Which recordings are for training, and which for validation."""

    validation_share: float = Field(default=0.03, gt=0, lt=1)
    """Share of the speakers (of the recordings, where speakers are unknown) kept for validation."""
    validation: str | None = None
    """A folder of recordings to validate on, in place of a share. Those of its recordings that are
    in the training folder too are not trained on."""
    pack: bool = True
    """Decode every recording once into one 16-bit file; off for corpora larger than the disk."""


@dataclass(frozen=True)
class Opened:
    """Both parts of a corpus, and what is left out of both."""

    train: Recordings
    validation: Recordings
    skipped: list[str]
    """Why files are left out, each naming its file; text that can be written as UTF-8."""
    left_out: str = ""
    """The same in a phrase: `3 files cannot be read, 12 end in .m4a`."""

    @property
    def both(self) -> tuple[Recordings, Recordings]:
        """Those for training, and those for validation."""
        return self.train, self.validation

    def summary(self) -> dict[str, float]:
        """Files and hours, as model.json tells them."""
        return {
            "train files": len(self.train),
            "train hours": round(self.train.hours, 3),
            "validation files": len(self.validation),
            "validation hours": round(self.validation.hours, 3),
        }


def open_recordings(
    root: Path,
    config: DataConfig,
    place: Path,
    device: Device,
    world: World,
    seed: int,
    quiet: bool,
) -> Opened:
    """Find the recordings of a folder, divide them, and decode them once.

    Args:
        root: the folder of recordings, or a lhotse manifest.
        config: how they are divided, and whether they are packed.
        place: where packs, or lists of what can be read, are kept.
        device: where batches are wanted.
        world: the processes that train together.
        seed: draws the speakers for validation, and the crops.
        quiet: nothing is said, no progress is shown.

    Raises:
        CorpusError: no recording is found or can be decoded, or none is left for training or for
            validation.
    """
    corpus = open_corpus(root, place / "headers.jsonl")
    usable, test = leave_out_test(corpus)
    if config.validation:
        other = open_corpus(Path(config.validation), place / "validation-headers.jsonl")
        parts: tuple[Corpus, Corpus] = usable, other
    else:
        parts = split_validation(corpus, config.validation_share, seed)
    if not parts[1].recordings:
        raise CorpusError(
            f"{corpus.root}: has a single speaker or recording, which leaves none for validation; "
            "add recordings, or name a folder of others with --validation"
        )
    train, validation = (
        Recordings.open(part, place / name, device, world, seed, packed=config.pack, quiet=quiet)
        for name, part in zip(("train", "validation"), parts, strict=True)
    )
    undecoded = [*train.store.skipped, *validation.store.skipped]
    left_out = parts[0].left_out + parts[1].left_out + Counter({"cannot be read": len(undecoded)})
    reasons = [reason for _, reason in (*parts[0].skipped, *parts[1].skipped, *undecoded)]
    reasons += [f"{r.path}: is of the test split, on which nothing is trained" for r in test]
    left_out["are of the test split"] += len(test)
    if config.validation:
        train, twice = _without_validation(train, validation)
        reasons += twice
        left_out["are among the validation recordings too"] += len(twice)
    if train.stays_on_host and not quiet:
        hours = f"{train.hours:.0f} hours" if train.hours >= 1 else "the recordings"
        tqdm.write(
            f"recordings: {hours} do not fit beside a training into the GPU's memory and stay in "
            "the computer's",
            file=sys.stderr,
        )
    return Opened(train, validation, [printable(reason) for reason in reasons], _phrase(left_out))


def _without_validation(train: Recordings, validation: Recordings) -> tuple[Recordings, list[str]]:
    """Training recordings without those that are for validation too, sample by sample; which."""
    for_validation = {
        content: recording.path
        for content, recording in zip(
            validation.store.contents, validation.store.recordings, strict=True
        )
    }
    twice = {
        index: for_validation[content]
        for index, content in enumerate(train.store.contents)
        if content in for_validation
    }
    if not twice:
        return train, []
    recordings = train.store.recordings
    if len(twice) == len(recordings):
        raise CorpusError(
            f"{recordings[0].path}: is, as all training recordings are, among those for validation "
            f"too ({twice[0]}); name a folder of others with --validation"
        )
    reasons = [
        f"{recordings[index].path}: is among the validation recordings too ({path})"
        for index, path in twice.items()
    ]
    return train.without(twice), reasons


def _phrase(left_out: Counter[str]) -> str:
    """`3 files cannot be read, 12 end in .m4a`; empty for none."""
    counts = [(kind, count) for kind, count in left_out.most_common() if count]
    return ", ".join(
        f"{count} {kind}" if nth else f"{count} files {kind}"
        for nth, (kind, count) in enumerate(counts)
    )
