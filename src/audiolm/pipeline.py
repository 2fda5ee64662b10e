"""One run through the stages: what is said next, how it sounds, fine detail (paper, section III-C).

Each method takes tokens that are known, of the prompt if there is one, and returns them with those
that a stage drew. Each stage draws from a generator of its own, seeded by the seed and the stage's
name: one seed gives one result, whether stages work one after the other or take turns.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from audiolm.configuration import parse
from audiolm.errors import ConfigurationError, ModelFolderError
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, Codes, SemanticIds
from audiolm.stages import (
    KINDS,
    MAKERS,
    Acoustic,
    ParallelStage,
    Sampling,
    Stage,
    Streams,
    checked_passes,
    stretch,
)
from audiolm.stages.streams import MASK, SemanticSource

DEFAULT_SAMPLING: Mapping[str, Sampling] = {
    name: Sampling(temperature=kind.temperature) for name, kind in KINDS.items()
}
"""The paper's temperatures (section IV-B)."""

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how many of its steps are done, and of how many."""


@dataclass(frozen=True)
class Pipeline:
    """The stages of a model, and how this run draws from them."""

    stages: Mapping[str, Stage]
    sampling: Mapping[str, Sampling]
    generators: Mapping[str, torch.Generator]
    """By kind of stage, as `stage_generator` makes them."""
    progress: Progress | None = None
    levels: int | None = None
    """Levels of codes to make; as many as there are when None."""
    acoustic: Acoustic = "autoregressive"
    """How coarse codes are made of semantic ids."""

    def semantic(self, ids: SemanticIds, seconds: float, steps: int) -> SemanticIds:
        """Stage 1: ids (B, S of the prompt, perhaps 0) to ids (B, steps), `seconds` of them new."""
        new = steps - ids.shape[1]
        drawn = self.semantic_draws(seconds, new)
        made = self._generate("semantic", Streams(ids), drawn, of=drawn).semantic  # (B, drawn)
        assert made is not None
        return torch.cat([ids, stretch(made, new)], dim=1)

    def middle(self, sides: Streams, seconds: float, steps: int) -> SemanticIds:
        """Stage 1 between two sides: the ids (B, steps), `seconds` of them, that stand there.

        Args:
            sides: `semantic` (B, S) before them, `far` (B, S') after them, either of them perhaps
                none; and whether the recording has `ended` then.
            seconds: of what is made.
            steps: of what is made, on the 25 Hz clock.
        """
        drawn = self.semantic_draws(seconds, steps)
        if sides.far is not None and not sides.far.shape[1]:
            sides = Streams(sides.semantic)
        made = self._generate("semantic", sides, drawn, of=drawn).semantic  # (B, drawn)
        assert made is not None
        return stretch(made, steps)

    def semantic_draws(self, seconds: float, new: int) -> int:
        """How many ids stage 1 draws for `new` steps, which are `seconds`.

        A stage that says each id once, however long it lasts, draws as many as the training data
        has in so many seconds; they then last equally long.
        """
        config = self._stage("semantic").config
        if not config.layout.remove_repeats:
            return new
        return min(new, max(1, round(seconds * config.semantic_rate)))

    def coarse(self, ids: SemanticIds, known: Codes, frames: int) -> Codes:
        """Stage 2: ids (B, S) and the prompt's codes (B, Q, F of it) to codes (B, Q', frames)."""
        kind = MAKERS[self.acoustic]
        levels = self._stage(kind).config.layout.coarse_levels
        return self._codes(kind, Streams(ids, known[:, :levels]), frames - known.shape[2])

    def coarse_stream(self, later: SemanticSource, known: Codes, frames: int) -> Iterator[Codes]:
        """`coarse` as it is made, (B, Q', n) by n, of semantic ids that are made when needed."""
        levels = self._stage("coarse").config.layout.coarse_levels
        given = Streams(codes=known[:, :levels], later=later)
        return self._codes_stream("coarse", given, frames - known.shape[2])

    def acoustic_only(self, known: Codes, frames: int) -> Codes:
        """The baseline in place of stages 1 and 2 (section III-B): to codes (B, Q', frames)."""
        levels = self._stage("acoustic_only").config.layout.coarse_levels
        prefix = Streams(codes=known[:, :levels])
        return self._codes("acoustic_only", prefix, frames - known.shape[2])

    def acoustic_only_stream(self, known: Codes, frames: int) -> Iterator[Codes]:
        """`acoustic_only` as it is made, (B, Q', n) by n."""
        levels = self._stage("acoustic_only").config.layout.coarse_levels
        given = Streams(codes=known[:, :levels])
        return self._codes_stream("acoustic_only", given, frames - known.shape[2])

    def _codes_stream(self, kind: str, given: Streams, frames: int) -> Iterator[Codes]:
        for piece in self.decode_stream(kind, given, frames):
            assert piece.codes is not None
            yield piece.codes

    @property
    def makes_fine(self) -> bool:
        """Whether there are levels left to the fine stage."""
        if "fine" not in self.stages:
            return False
        coarse = self.stages["fine"].config.layout.coarse_levels
        return self.levels is None or self.levels > coarse

    def _codes(self, kind: str, prefix: Streams, frames: int) -> Codes:
        levels = self._stage(kind).config.layout.coarse_levels
        made = self._generate(kind, prefix, frames, of=frames * levels).codes
        assert made is not None
        return made

    def fine(self, coarse: Codes, known: Codes) -> Codes:
        """Stage 3: codes (B, Q', F) to (B, Q, F); the prompt's own fine codes are kept.

        Without a fine stage, as in the paper's piano model (IV-I), or where no more than `levels`
        of the coarse codes are asked for, these are all.
        """
        B, Q1, F = coarse.shape
        if not self.makes_fine:
            return coarse[:, : self.levels]
        config = self.stages["fine"].config
        codes = coarse.new_full((B, config.layout.levels, F), MASK)  # (B, Q, F)
        codes[:, :Q1] = coarse
        codes[:, Q1:, : known.shape[2]] = known[:, Q1 : config.layout.levels]
        # The stage works in chunks, side by side: about as many positions as one chunk has.
        chunk = min(F - known.shape[2], round(config.context_seconds * SAMPLE_RATE / CODEC_HOP))
        made = self._generate("fine", Streams(codes=codes), 0, of=chunk * (codes.shape[1] - Q1))
        assert made.codes is not None
        return made.codes[:, : self.levels]

    def filled(self, ids: SemanticIds, codes: Codes) -> Codes:
        """Stages 2 and 3 between what is known: codes (B, Q, F) with no `MASK` left.

        Args:
            ids: (B, S) of all frames.
            codes: (B, Q, F) of all levels of the codec, `MASK` at the frames to be filled, which
                the parallel stage does.
        """
        masked = int((codes[0, 0] == MASK).sum())  # frames
        coarse = self._stage("parallel").config.layout.coarse_levels
        given = Streams(ids, codes[:, :coarse])
        made = self._generate("parallel", given, 0, of=masked * coarse).codes  # (B, Q', F)
        assert made is not None
        if not self.makes_fine:
            return made[:, : self.levels]
        levels = self._stage("fine").config.layout.levels
        whole = torch.cat([made, codes[:, coarse:levels]], dim=1)  # (B, Q, F)
        made = self._generate("fine", Streams(codes=whole), 0, of=masked * (levels - coarse)).codes
        assert made is not None
        return made[:, : self.levels]

    def decode_stream(self, kind: str, given: Streams, steps: int) -> Iterator[Streams]:
        """A stage's `decode_stream`, which draws as the whole run does: for stages in turns."""
        return self._stage(kind).decode_stream(
            given, steps=steps, sampling=self.sampling[kind], generator=self.generators[kind]
        )

    def _generate(self, kind: str, prefix: Streams, steps: int, of: int) -> Streams:
        """Let a stage go on by `steps`; that takes about `of` positions."""
        done = 0

        def advance(positions: int) -> None:
            nonlocal done
            done = min(done + positions, of)
            if self.progress is not None:
                self.progress(kind, done, of)

        made = self._stage(kind).generate(
            prefix,
            steps=steps,
            sampling=self.sampling[kind],
            generator=self.generators[kind],
            progress=advance,
        )
        advance(of)
        return made

    def require(self, *kinds: str) -> None:
        """ModelFolderError where the model lacks a stage of one of these kinds."""
        for kind in kinds:
            self._stage(kind)

    def _stage(self, kind: str) -> Stage:
        return require_stage(self.stages, kind)


def chosen_sampling(
    own: Mapping[str, Sampling], asked: Mapping[str, Sampling] | None
) -> dict[str, Sampling]:
    """How each kind of stage is sampled: as asked, else the model's own way.

    Raises:
        ConfigurationError: `asked` names an unknown kind of stage, or is no sampling.
    """
    if asked is not None and not isinstance(asked, Mapping):
        raise ConfigurationError(
            f"sampling: need settings by kind of stage, got {type(asked).__name__}; "
            "e.g. {'coarse': audiolm.Sampling(temperature=0.7)}"
        )
    for kind, setting in (asked or {}).items():
        if kind not in KINDS:
            raise ConfigurationError(f"sampling: no stage {kind}; use {', '.join(KINDS)}")
        if not isinstance(setting, Sampling):
            raise ConfigurationError(
                f"sampling.{kind}: need a Sampling, got {type(setting).__name__}; "
                "e.g. audiolm.Sampling(temperature=0.7)"
            )
    return {**own, **(asked or {})}


def asked_sampling(
    kind: str,
    own: Mapping[str, Any],
    *,
    temperatures: tuple[float, float, float] | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    guidance: float | None = None,
) -> Sampling:
    """How a kind of stage is sampled: its `own` settings, with what was asked for in their place.

    Args:
        kind: of stage.
        own: settings of the model.
        temperatures: of the semantic, the coarse and the fine stage; whatever else makes coarse
            codes has that of the coarse stage.
        top_k, top_p: of every stage.
        guidance: of those that have semantic ids as conditioning.

    Raises:
        ConfigurationError: a number cannot be.
    """
    asked: dict[str, float | None] = {"top_k": top_k, "top_p": top_p}
    if temperatures is not None:
        semantic, coarse, fine = temperatures
        asked["temperature"] = {"semantic": semantic, "fine": fine}.get(kind, coarse)
    if KINDS[kind].roles.semantic == "conditioning":
        asked["guidance"] = guidance
    given = {key: value for key, value in asked.items() if value is not None}
    return parse(Sampling, {**own, **given}, "sampling")


def chosen_acoustic(
    stages: Mapping[str, Stage],
    own: Acoustic | None,
    asked: Acoustic | None,
    passes: Sequence[int] | None,
) -> tuple[Acoustic, Mapping[str, Stage]]:
    """How coarse codes are made: as asked, else the model's own way if it can, else one by one.

    Returns:
        It, and the stages, the parallel one with so many passes.

    Raises:
        ConfigurationError: `asked` is no way, or `passes` are not those of the parallel stage.
        ModelFolderError: the model lacks the stage that is asked for.
    """
    if asked is not None and asked not in tuple(MAKERS):
        raise ConfigurationError(f"acoustic: {asked!r} is not known; use {' or '.join(MAKERS)}")
    # A model in the making may not have the stage yet that its preset prefers.
    acoustic = asked or (own if own and MAKERS[own] in stages else None) or "autoregressive"
    if passes is not None and acoustic != "parallel":
        raise ConfigurationError(
            "passes: codes are made one after the other, not in passes; ask for acoustic = "
            "parallel, or leave passes out"
        )
    if asked is not None:
        require_stage(stages, MAKERS[asked])
    if passes is None:
        return acoustic, stages
    stage = require_stage(stages, "parallel")
    assert isinstance(stage, ParallelStage)
    checked = checked_passes(passes, stage.layout.levels)
    return acoustic, {**stages, "parallel": stage.with_passes(checked)}


def require_stage(stages: Mapping[str, Stage], kind: str) -> Stage:
    """The stage of this kind.

    Raises:
        ModelFolderError: the model has none; it says how to train one.
    """
    if kind not in stages:
        have = ", ".join(stages) or "none"
        raise ModelFolderError(
            f"stages: the model has no stage {kind} (it has: {have}); "
            f"train it with: audiolm train FOLDER --out MODEL --only {kind}"
        )
    return stages[kind]


def levels_made(stages: Mapping[str, Stage], levels: int) -> int:
    """Levels of the codec in what is generated where `levels` are asked for: what the stages make,
    and no more."""
    made = [stage.layout.levels for stage in stages.values() if stage.layout.roles.codes]
    return min(max(made), levels) if made else levels
