"""Training the detector: seconds of continuations against seconds that no model made (IV-H)."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.audio.augment import Augment, AugmentConfig
from audiolm.part import Dtype
from audiolm.safety.calibration import Calibration, calibrated
from audiolm.safety.classifier import CROP
from audiolm.safety.detector import QUESTIONS, Detector, DetectorConfig
from audiolm.safety.windows import HOP_SECONDS, WINDOW_SECONDS, Heard, heard
from audiolm.training.examples import KINDS, Examples, ExamplesConfig, Kind
from audiolm.training.optimizer import OptimizationConfig
from audiolm.training.tasks.task import Loss, TaskTraining, Validation

SHARES: dict[Kind, float] = {"made": 0.4, "codec": 0.3, "raw": 0.3}
"""How a batch is made up."""
AS_IT_IS = 0.4
"""Share of a batch that is taken as it was made, not as one of its copies."""
CLIPPED = 0.1
"""Share of a batch that is clipped, at a quarter to three quarters of its peak."""
LENGTHS = (1.0, 3.0)
"""Seconds for which scores are calibrated, besides the length of the examples."""
VALIDATED_AT_ONCE = 64

PERTURBED = AugmentConfig(
    voice=0.0,
    equaliser=0.2,
    equaliser_db=8.0,
    band_limit=0.15,
    room=0.15,
    babble=0.1,
    babble_db=(10.0, 25.0),
    noise=0.3,
    noise_db=(8.0, 40.0),
    gain=0.5,
    gain_db=(-20.0, 6.0),
)
"""What is done to half of the seconds on the fly: what files meet in the world, and no more."""


class DetectorTraining(TaskTraining):
    """How the detector is trained."""

    optimization: OptimizationConfig = OptimizationConfig(
        steps=4000, batch_size=32, warm_up=100, weight_decay=0.05, ema_decay=0.0
    )
    """The optimizer, and how long. The last weights are kept, not an average: batch normalization's
    statistics are theirs."""
    examples: ExamplesConfig = ExamplesConfig()
    """What it learns from."""
    augment: AugmentConfig | None = PERTURBED
    """What is done to `augmented` of the seconds; null: nothing."""
    augmented: float = Field(default=0.5, ge=0, le=1)
    """Share of the seconds that are perturbed on the fly, besides the copies."""


class DetectorTask:
    """One detector, for one model.

    Args:
        config: the network, and for which model.
        training: how it is trained.
        train: examples to learn from.
        validation: examples of other speakers, to judge and to calibrate by.
        device: where it computes.
        world_size: processes that train together.
        seed: of what is drawn.
        storage: how the weights will be stored; they are calibrated as they will be.
    """

    name = "detector"

    def __init__(
        self,
        config: DetectorConfig,
        training: DetectorTraining,
        train: Examples,
        validation: Examples,
        device: torch.device,
        world_size: int,
        seed: int,
        storage: Dtype,
    ) -> None:
        self.optimization = training.optimization
        self.crops = training.optimization.crops_per_pass(world_size)
        self.training = training
        self.train, self.validation = train, validation
        self.device, self.seed, self.storage = device, seed, storage
        self.augment = Augment(training.augment) if training.augment else None
        self.networks = nn.ModuleDict({"detector": Detector(config)})

    def batch(self, step: int, rank: int, progress: float = 0.0) -> dict[str, Tensor]:
        """Seconds (B, T) of drawn examples, copies and places, and the kind of each (B,)."""
        key = np.random.SeedSequence((self.seed, step, rank))
        draw = np.random.Generator(np.random.Philox(key))
        kinds = draw.choice(len(KINDS), self.crops, p=[SHARES[kind] for kind in KINDS])  # (B,)
        rows = []
        for kind in kinds:
            index = int(draw.choice(self.train.of_kind[KINDS[kind]]))
            copies = len(self.train.lengths) - 1
            as_it_is = copies == 0 or draw.random() < AS_IT_IS
            version = 0 if as_it_is else int(draw.integers(1, copies + 1))
            room = max(0, int(self.train.lengths[version, index]) - CROP)
            rows.append(self.train.crop(index, version, int(draw.integers(room + 1)), CROP))
        clean = torch.from_numpy(np.stack(rows)).to(self.device)  # (B, T)
        generator = torch.Generator(self.device)
        generator.manual_seed(int(key.generate_state(1, np.uint64)[0]))
        chosen = torch.from_numpy(draw.random(self.crops) < self.training.augmented)
        return {
            "waveform": self._perturbed(clean, chosen.to(self.device), generator),
            "kinds": torch.from_numpy(kinds).to(self.device),
        }

    def loss(self, network: str, batch: Any, progress: float) -> Loss:
        """Cross-entropy of both answers, in nats, yes and no counting the same in each."""
        scores = self.networks[network](batch["waveform"])  # (B, 2)
        losses = balanced_entropies(scores, batch["kinds"])
        metrics = dict(zip(QUESTIONS, losses.detach(), strict=True))
        return Loss(losses.sum(), metrics)

    def validate(self, averaged: nn.Module) -> Validation:
        """The loss and balanced accuracies on the middle second of every example and copy."""
        places = [
            (index, version)
            for version in range(len(self.validation.lengths))
            for index in range(len(self.validation))
        ]
        scores = []
        for first in range(0, len(places), VALIDATED_AT_ONCE):
            rows = []
            for index, version in places[first : first + VALIDATED_AT_ONCE]:
                start = max(0, int(self.validation.lengths[version, index]) - CROP) // 2
                rows.append(self.validation.crop(index, version, start, CROP))
            scores.append(averaged(torch.from_numpy(np.stack(rows)).to(self.device)))
        kinds = torch.from_numpy(np.tile(self.validation.kinds, len(self.validation.lengths)))
        said, kinds = torch.cat(scores), kinds.to(self.device)  # (n, 2), (n,)
        losses = balanced_entropies(said, kinds)
        metrics = {"loss": float(losses.sum())}
        warnings = []
        for question, answers, wanted in zip(QUESTIONS, said.T, targets(kinds).T, strict=True):
            right = (answers > 0) == (wanted > 0)
            yes, no = right[wanted > 0].float().mean(), right[wanted == 0].float().mean()
            accuracy = float(100 * (yes + no) / 2)
            metrics[f"{question} accuracy"] = accuracy
            if accuracy < 60:
                warnings.append(
                    f"{question}: {accuracy:.0f} % of the seconds are told apart, where chance is "
                    "50: train longer, or with more examples"
                )
        return Validation(metrics, warnings=warnings)

    def export(self, averaged: nn.Module) -> Detector:
        """The detector as it is stored and used, calibrated on the examples for validation."""
        assert isinstance(averaged, Detector)
        detector = averaged.rounded(self.storage)
        versions = range(len(self.validation.lengths))
        pieces = [
            (int(self.validation.kinds[index]), heard(detector, [self.validation.whole(index, v)]))
            for index in range(len(self.validation))
            for v in versions
        ]
        speakers = sorted({*self.train.speakers, *self.validation.speakers})
        told = {
            "speakers": tuple(speakers),
            **{
                name: calibrations(pieces, question, self.training.examples.seconds)
                for question, name in enumerate(QUESTIONS)
            },
        }
        detector.config = detector.config.model_copy(update=told)
        return detector

    def _perturbed(self, clean: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Seconds (B, T) with those that are chosen (B,) perturbed, and some of all clipped."""
        perturbed = clean
        if self.augment is not None:
            perturbed = torch.where(chosen[:, None], self.augment(clean, generator), clean)
        drawn = torch.rand(2, len(clean), generator=generator, device=clean.device)
        peak = perturbed.abs().amax(dim=1)
        limit = torch.where(drawn[0] < CLIPPED, peak * (0.25 + 0.5 * drawn[1]), peak)[:, None]
        return torch.maximum(torch.minimum(perturbed, limit), -limit)


def targets(kinds: Tensor) -> Tensor:
    """What each kind (B,) is to be answered with, (B, 2): made or not, been through the codec."""
    made, raw = kinds == KINDS.index("made"), kinds == KINDS.index("raw")
    return torch.stack([made, ~raw], dim=1).float()


def balanced_entropies(scores: Tensor, kinds: Tensor) -> Tensor:
    """Cross-entropy (2,) of both answers; yes and no have the same weight, whatever their number.

    Args:
        scores: (B, 2) log-odds.
        kinds: (B,) of the seconds.
    """
    wanted = targets(kinds)  # (B, 2)
    share = wanted.mean(dim=0).clamp(1 / len(wanted), 1 - 1 / len(wanted))  # (2,)
    weights = torch.where(wanted > 0, 0.5 / share, 0.5 / (1 - share))
    entropy = F.binary_cross_entropy_with_logits(scores.float(), wanted, reduction="none")
    return (entropy * weights).mean(dim=0)


def calibrations(
    pieces: list[tuple[int, Heard]], question: int, longest: float
) -> tuple[Calibration, ...]:
    """What scores mean, for each length for which there is sound of both classes.

    Args:
        pieces: kind and what was heard of each example for validation.
        question: index into `QUESTIONS`.
        longest: of an example, in seconds.
    """
    found = []
    for seconds in [*(length for length in LENGTHS if length < longest), longest]:
        windows = round((seconds - WINDOW_SECONDS) / HOP_SECONDS) + 1
        yes: list[float] = []
        no: list[float] = []
        for kind, piece in pieces:
            wanted = bool(targets(torch.tensor([kind]))[0, question])
            (yes if wanted else no).extend(means(piece, question, windows))
        if yes and no:
            found.append(calibrated(np.array(yes), np.array(no), seconds))
    return tuple(found)


def means(piece: Heard, question: int, windows: int) -> NDArray[np.float64]:
    """Mean scores of pieces of so many windows, side by side, without those of silence alone."""
    step = windows + round(WINDOW_SECONDS / HOP_SECONDS) - 1  # no second is in two pieces
    answers = []
    for first in range(0, len(piece.scores) - windows + 1, step):
        audible = ~piece.silent[first : first + windows]
        if audible.any():
            scores = piece.scores[first : first + windows, question][audible]
            answers.append(float(scores.mean(dtype=np.float64)))
    return np.array(answers)
