"""What a model makes of recordings, for every experiment; made once and kept on disk.

Generation takes longer than any judgement of it, and a person interrupts it. So each piece is kept
as soon as it is made, as 16-bit FLAC, under a name that depends on all that it depends on: the
model, the sound that it was made from, the settings and the seed. It is marked, as users hear it,
unless an experiment asks for it without.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from audiolm import pipeline
from audiolm.audio.files import ClippingWarning, read
from audiolm.audio.waveform import Audio
from audiolm.errors import AudioError
from audiolm.evaluation.options import MakingConfig
from audiolm.evaluation.requirements import Skipped
from audiolm.shapes import SAMPLE_RATE
from audiolm.stages import MAKERS

if TYPE_CHECKING:
    from audiolm.model import AudioLM

TOGETHER = 16
"""Prompts that are continued as one batch. What is made depends on it, so it is no setting."""

OWN_WAY = MakingConfig()

Baseline = Literal["acoustic-only"]


class Generated:
    """Makes sound with a model, or takes it from a folder where it has been made before.

    Args:
        model: makes it.
        folder: keeps it; made where it is missing.
        making: how; in the model's own way when left out.
        best_of: draws of each piece, of which the best is kept.
    """

    def __init__(
        self,
        model: "AudioLM",
        folder: Path,
        making: MakingConfig = OWN_WAY,
        best_of: int = 1,
    ) -> None:
        self._model = model
        self._folder = folder
        self._making = making
        self._best_of = best_of

    def acoustic_generation(self, audio: Audio, seed: int) -> Audio:
        """The content of a recording in another voice."""

        def make() -> list[Audio]:
            return [
                self._model.acoustic_generation(
                    audio, seed=seed, best_of=self._best_of, **self._how
                )
            ]

        return self._kept(make, [audio], mode="acoustic generation", seed=seed)[0]

    def continuations(
        self,
        prompts: Sequence[Audio],
        seconds: float,
        seed: int,
        baseline: Baseline | None = None,
        progress: Callable[[float], None] = lambda share: None,
        mark: bool = True,
    ) -> list[Audio]:
        """Each prompt and its continuation, by the model or its baseline.

        The last `seconds` of an answer are new; what is before them is the codec's rendering of the
        prompt.

        Args:
            prompts: all of one length; they are used whole.
            seconds: what is added.
            seed: one seed gives one result for the same list of prompts.
            baseline: leave the semantic stage out.
            progress: is told which share is done.
            mark: as users hear it, or without the mark.
        """
        made: list[Audio] = []
        for first in range(0, len(prompts), TOGETHER):
            some = prompts[first : first + TOGETHER]

            def make(some: Sequence[Audio] = some) -> list[Audio]:
                return self._model.continuation(
                    some,
                    seconds,
                    prompt_seconds=None,
                    seed=seed,
                    best_of=self._best_of,
                    baseline=baseline,
                    mark=mark,
                    **({} if baseline else self._how),
                )

            settings = {"seconds": seconds, "seed": seed, "baseline": baseline, "mark": mark}
            made += self._kept(make, some, mode="continuation", **settings)
            progress(len(made) / len(prompts))
        return made

    def stream(self, prompt: Audio, seconds: float, seed: int) -> Audio:
        """What follows a prompt, which is used whole, made as a stream, so always of one draw."""

        def make() -> list[Audio]:
            chunks = self._model.stream(prompt, seconds, prompt_seconds=None, seed=seed)
            samples = np.concatenate([chunk.samples for chunk in chunks])  # (T,)
            return [Audio(samples, SAMPLE_RATE)]

        return self._kept(make, [prompt], mode="stream", seconds=seconds, seed=seed)[0]

    def edit(
        self, audio: Audio, start: float, end: float, keep_content: bool, seed: int, best_of: int
    ) -> Audio:
        """A recording with what stands between two points said anew, or its sound made anew."""

        def make() -> list[Audio]:
            passes = self._making.passes
            return [
                self._model.edit(
                    audio,
                    start,
                    end,
                    keep_content=keep_content,
                    seed=seed,
                    best_of=best_of,
                    passes=passes,
                )
            ]

        settings = {"start": start, "end": end, "keep_content": keep_content, "draws": best_of}
        return self._kept(make, [audio], mode="edit", seed=seed, **settings)[0]

    @property
    def _how(self) -> dict[str, Any]:
        return {"acoustic": self._making.acoustic, "passes": self._making.passes}

    def _kept(
        self, make: Callable[[], list[Audio]], sources: Sequence[Audio], **settings: Any
    ) -> list[Audio]:
        """What `make` gives for each of `sources`, from disk if all of it is there."""
        settings = {"mark": True, **settings}
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        key.update(self._model.fingerprint.encode())
        sampling = {kind: s.model_dump() for kind, s in self._model.sampling.items()}
        key.update(json.dumps(sampling, sort_keys=True).encode())
        key.update(f"{self._model.levels} levels".encode())
        if self._best_of > 1:
            key.update(f"best of {self._best_of}".encode())
        acoustic = self._making.acoustic or self._model.info.acoustic
        if acoustic == "parallel" and not settings.get("baseline"):
            key.update(f"parallel {self._making.passes}".encode())
        for source in sources:
            key.update(f"{source.sample_rate} {len(source.samples)} ".encode())
            key.update(source.samples.tobytes())
        name = f"{str(settings['mode']).replace(' ', '-')}-{key.hexdigest()[:24]}"
        paths = [self._folder / f"{name}-{row:02d}.flac" for row in range(len(sources))]
        kept = [_read(path) for path in paths]
        if not all(kept):
            self._folder.mkdir(parents=True, exist_ok=True)
            made = make()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ClippingWarning)
                for path, audio in zip(paths, made, strict=True):
                    audio.write(path)
            kept = [_read(path) for path in paths]
        return [audio for audio in kept if audio is not None]


def _read(path: Path) -> Audio | None:
    """What is kept; None where it is not there, or damaged: then it is made again."""
    try:
        return read(path) if path.exists() else None
    except AudioError:
        return None


def levels_made(model: "AudioLM") -> int:
    """Levels of the codec in what the model generates, for originals to be compressed alike."""
    return pipeline.levels_made(model.stages, model.levels)


def coarse_maker(model: "AudioLM", making: MakingConfig) -> str:
    """The kind of stage that makes coarse codes of semantic ids."""
    return MAKERS[making.acoustic or model.info.acoustic or "autoregressive"]


def needed(model: "AudioLM", *stages: str) -> None:
    """Check that the model has these stages.

    Raises:
        Skipped: naming those that it has not.
    """
    lacking = [stage for stage in stages if stage not in model.stages]
    if lacking:
        raise Skipped(
            f"the model has no stage {' and no stage '.join(lacking)}",
            f"audiolm train FOLDER --out MODEL --only {','.join(lacking)}",
        )
