"""Opening a training's recordings: which are trained on, which judge, which cannot be read."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from torch import device as Device

from audiolm.configuration import Configuration
from audiolm.data.corpus import Corpus, open_corpus, split_validation
from audiolm.errors import CorpusError
from audiolm.training.distributed import World
from audiolm.training.recordings import Recordings


class DataConfig(Configuration):
    """Which recordings are trained on, and which judge."""

    validation_share: float = Field(default=0.03, gt=0, lt=1)
    """Share of the speakers (of the recordings, where speakers are unknown) kept for validation."""
    validation: str | None = None
    """A folder of recordings to validate on, in place of a held-out share."""
    pack: bool = True
    """Decode every recording once into one 16-bit file; off for corpora larger than the disk."""


@dataclass(frozen=True)
class Opened:
    """Both parts of a corpus, and what was wrong with its other files."""

    train: Recordings
    validation: Recordings
    skipped: list[str]
    """Why files are left out, each naming its file."""

    @property
    def both(self) -> tuple[Recordings, Recordings]:
        """What is trained on, and what judges."""
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
        seed: draws the held-out speakers, and the crops.
        quiet: no progress bar.

    Raises:
        CorpusError: no recording is found or can be decoded, or none is left to judge by.
    """
    corpus = open_corpus(root)
    if config.validation:
        parts: tuple[Corpus, Corpus] = corpus, open_corpus(Path(config.validation))
    else:
        parts = split_validation(corpus, config.validation_share, seed)
    if not parts[1].recordings:
        raise CorpusError(
            f"{corpus.root}: has a single speaker or recording, which leaves none to judge "
            "by; add recordings, or name a folder of others with --validation"
        )
    train, validation = (
        Recordings.open(part, place / name, device, world, seed, packed=config.pack, quiet=quiet)
        for name, part in zip(("train", "validation"), parts, strict=True)
    )
    skipped = [
        reason
        for part, opened in zip(parts, (train, validation), strict=True)
        for _, reason in [*part.skipped, *opened.store.skipped]
    ]
    return Opened(train, validation, skipped)
