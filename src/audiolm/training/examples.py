"""What a detector learns from: continuations without their prompts, and what no model made.

Each shard is of one batch of prompts, all continued in one way that is drawn: with other
temperatures, guidance, best of several, every way of making codes that the model has, and its
acoustic-only baseline. Beside each continuation stand what the recording holds at that place, as it
is and through the codec at the same levels, and another recording through the codec. Codings such
as MP3 take long, so copies under drawn conditions are made here, once.

Shards are complete or absent, and a function of the seed and their number: what was interrupted
goes on. Nothing unconditional is among them, and no prompt.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import safe_open
from safetensors.numpy import save_file

from audiolm.arguments import MOST_DRAWS
from audiolm.atomic import replacing
from audiolm.audio.files import from_int16, to_int16
from audiolm.audio.waveform import Audio
from audiolm.configuration import Configuration
from audiolm.data.waveforms import Waveforms
from audiolm.errors import TrainingError
from audiolm.model import AudioLM
from audiolm.pipeline import levels_made
from audiolm.safety.conditions import CONDITIONS, applied, through_codec
from audiolm.safety.detector import hidden
from audiolm.safety.watermark import Payload, mark
from audiolm.shapes import SAMPLE_RATE
from audiolm.stages import MAKERS, Acoustic, Sampling

Kind = Literal["raw", "codec", "made"]
KINDS: tuple[Kind, ...] = ("raw", "codec", "made")
"""A recording as it is, a recording through the codec, a continuation; shards hold the index."""
MARKED_SHARE = 0.5
"""Of the sounds of every kind, those that carry a mark."""
SHORTEST = 1.0
"""Seconds that a recording must hold behind its prompt."""


class ExamplesConfig(Configuration):
    """How many examples there are, and how they are made."""

    continuations: int = Field(default=400, gt=0)
    """To learn from; as many recordings as they are stand beside them three times."""
    validation_continuations: int = Field(default=96, gt=0)
    """Of the recordings for validation, to judge the training and to calibrate by."""
    prompt_seconds: float = Field(default=3.0, ge=0.5)
    """Length of a prompt."""
    seconds: float = Field(default=7.0, ge=SHORTEST)
    """Length of a continuation."""
    together: int = Field(default=16, gt=0)
    """Prompts that are continued as one batch, in one way."""
    temperature_spread: float = Field(default=0.25, ge=0)
    """Temperatures are the model's own times a factor from 1 / (1 + this) to 1 + this."""
    guidance: tuple[float, ...] = Field(default=(1.0, 1.5, 2.0), min_length=1)
    """Drawn from, where the stage that makes codes has learnt to be guided."""
    best_of: int = Field(default=4, ge=2, le=MOST_DRAWS)
    """Draws, where there are several."""
    best_of_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the batches of which the best of several draws is taken."""
    baseline_share: float = Field(default=0.15, ge=0, le=1)
    """Share of the batches that the acoustic-only baseline makes, where the model has it."""
    copies: int = Field(default=2, ge=0)
    """Copies of each example under conditions that are drawn."""


@dataclass(frozen=True)
class Way:
    """How one batch is continued."""

    seed: int
    baseline: bool
    acoustic: Acoustic | None
    best_of: int
    sampling: dict[str, Sampling]


def make_examples(
    lm: AudioLM,
    store: Waveforms,
    folder: Path,
    config: ExamplesConfig,
    count: int,
    seed: int,
    *,
    rank: int = 0,
    processes: int = 1,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Make the shards of `count` continuations that are not there yet.

    Args:
        lm: the model whose sound is to be found.
        store: recordings to continue, and to stand beside.
        folder: where the shards lie; made where it is missing.
        config: how they are made.
        count: continuations.
        seed: of everything that is drawn.
        rank, processes: of several processes each makes its own shards.
        progress: is told which share is done.

    Raises:
        TrainingError: no recording is long enough.
    """
    prompt, behind = _samples(config.prompt_seconds), _samples(SHORTEST)
    usable = [i for i in range(len(store)) if store.length(i) >= prompt + behind]
    if not usable:
        needed = config.prompt_seconds + SHORTEST
        raise TrainingError(
            f"training.detector.examples.prompt_seconds: no recording lasts {needed:g} s, which is "
            f"a prompt and {SHORTEST:g} s behind it; set a shorter one, or add recordings"
        )
    folder.mkdir(parents=True, exist_ok=True)
    shards = range(-(-count // config.together))
    for number in shards[rank::processes]:
        path = _shard_path(folder, number)
        if not path.exists():
            rows = min(config.together, count - number * config.together)
            _make_shard(lm, store, usable, path, config, rows, (seed, number))
        progress((number + 1) / len(shards))


def _make_shard(
    lm: AudioLM,
    store: Waveforms,
    usable: Sequence[int],
    path: Path,
    config: ExamplesConfig,
    rows: int,
    key: tuple[int, int],
) -> None:
    """One batch of prompts, what follows them, and its copies."""
    draw = np.random.default_rng(key)
    prompt, length = _samples(config.prompt_seconds), _samples(config.seconds)
    chosen = draw.choice(usable, rows, replace=len(usable) < rows).tolist()
    pieces = []  # each (prompt + what follows it,)
    for index in chosen:
        whole = store.length(index)
        start = int(draw.integers(0, whole - prompt - _samples(SHORTEST) + 1))
        pieces.append(store.crop(index, start, min(prompt + length, whole - start)))
    way = drawn_way(lm, config, draw)
    made = continued(lm, [Audio(p[:prompt], SAMPLE_RATE) for p in pieces], config.seconds, way)

    same = levels_made(lm.stages, lm.levels)
    sounds: list[tuple[Kind, NDArray[np.float32]]] = [("made", audio.samples) for audio in made]
    for piece in pieces:
        sounds.append(("raw", piece[prompt:]))
        sounds.append(("codec", _coded(lm, piece, same)[prompt:]))
    others = draw.choice(len(store), rows).tolist()
    for index in others:
        start = int(draw.integers(0, max(0, store.length(index) - length) + 1))
        other = store.crop(index, start, min(length, store.length(index) - start))
        sounds.append(("codec", _coded(lm, other, int(draw.choice([same, lm.codec.levels])))))

    # A mark is no trace of the model: half of all sounds carry one, whatever their kind. On what is
    # made alone, a detector would learn the mark, and miss everything from which it was left out.
    payload = Payload.of_model(lm.name, lm.fingerprint)
    sounds = [
        (kind, mark(samples, payload) if draw.random() < MARKED_SHARE else samples)
        for kind, samples in sounds
    ]

    names = [name for name in CONDITIONS if name != "clean"]
    versions = [[samples for _, samples in sounds]]
    for copy in range(config.copies):
        versions.append(
            [
                applied(str(draw.choice(names)), samples, int(draw.integers(2**32)) + copy)
                for _, samples in sounds
            ]
        )
    padded = np.zeros((len(versions), len(sounds), length), dtype=np.int16)
    lengths = np.zeros(padded.shape[:2], dtype=np.int64)  # (versions, rows)
    for number, version in enumerate(versions):
        for row, samples in enumerate(version):
            there = min(len(samples), length)
            padded[number, row, :there] = to_int16(samples[:there])
            lengths[number, row] = there
    kinds = np.array([KINDS.index(kind) for kind, _ in sounds], dtype=np.int64)  # (rows,)
    recordings = [store.recordings[index] for index in (*chosen, *others)]
    speakers = sorted({hidden(r.speaker or f"recording {r.id}") for r in recordings})
    with replacing(path) as draft:
        save_file(
            {"samples": padded, "lengths": lengths, "kinds": kinds},
            draft,
            metadata={"speakers": json.dumps(speakers), "way": json.dumps(_told(way))},
        )


def drawn_way(lm: AudioLM, config: ExamplesConfig, draw: np.random.Generator) -> Way:
    """How a batch is continued: one of the ways that the model has, with settings about its own."""
    baseline = "acoustic_only" in lm.stages and draw.random() < config.baseline_share
    ways = [acoustic for acoustic, kind in MAKERS.items() if kind in lm.stages]
    acoustic = None if baseline else ways[int(draw.integers(len(ways)))]
    widest = np.log1p(config.temperature_spread)
    factor = float(np.exp(draw.uniform(-widest, widest)))
    guidance = float(draw.choice(config.guidance))
    sampling = {}
    for kind, own in lm.sampling.items():
        changed: dict[str, Any] = {"temperature": own.temperature * factor}
        stage = lm.stages.get(kind)
        if stage is not None and stage.config.conditioning_dropout is not None:
            changed["guidance"] = guidance
        sampling[kind] = own.model_copy(update=changed)
    several = draw.random() < config.best_of_share
    best_of = config.best_of if several else 1
    return Way(int(draw.integers(2**31)), baseline, acoustic, best_of, sampling)


def continued(lm: AudioLM, prompts: list[Audio], seconds: float, way: Way) -> list[Audio]:
    """What follows each prompt, in one way; without a mark, which `_make_shard` puts on."""
    return lm.continuation(
        prompts,
        seconds,
        prompt_seconds=None,
        seed=way.seed,
        sampling=way.sampling,
        best_of=way.best_of,
        acoustic=way.acoustic,
        baseline="acoustic-only" if way.baseline else None,
        continuation_only=True,
        mark=False,
    )


class Examples:
    """Shards as examples: any second of any of them.

    Args:
        folder: what `make_examples` has filled.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob("shard-*.safetensors"))
        self._files: dict[int, Any] = {}  # opened, by shard
        kinds, lengths, speakers = [], [], set[str]()
        self._rows: list[tuple[int, int]] = []  # shard, and row in it
        for shard in range(len(self._paths)):
            file = self._file(shard)
            kinds.append(file.get_tensor("kinds"))
            lengths.append(file.get_tensor("lengths"))
            speakers |= set(json.loads(file.metadata()["speakers"]))
            self._rows += [(shard, row) for row in range(len(kinds[-1]))]
        self.kinds: NDArray[np.int64] = np.concatenate(kinds)  # (E,) index into `KINDS`
        self.lengths: NDArray[np.int64] = np.concatenate(lengths, axis=1)  # (versions, E)
        self.speakers = tuple(sorted(speakers))
        """Whose recordings are among them, hidden."""

    def __len__(self) -> int:
        """E, how many examples there are, copies not counted."""
        return len(self.kinds)

    @cached_property
    def of_kind(self) -> dict[Kind, NDArray[np.int64]]:
        """Indices of the examples of each kind."""
        return {kind: np.flatnonzero(self.kinds == n) for n, kind in enumerate(KINDS)}

    def crop(self, index: int, version: int, start: int, samples: int) -> NDArray[np.float32]:
        """(samples,) float32 of one example; one that is shorter is repeated.

        Args:
            index: of the example.
            version: 0 as it is, 1 and more its copies.
            start: first sample.
            samples: how many.
        """
        shard, row = self._rows[index]
        stored = self._file(shard).get_slice("samples")
        end = min(start + samples, int(self.lengths[version, index]))
        there = from_int16(stored[version, row, start:end])
        return there if len(there) == samples else np.resize(there, samples)

    def whole(self, index: int, version: int) -> NDArray[np.float32]:
        """All of one example, (T,) float32."""
        return self.crop(index, version, 0, int(self.lengths[version, index]))

    def _file(self, shard: int) -> Any:
        if shard not in self._files:
            self._files[shard] = safe_open(self._paths[shard], framework="numpy")
        return self._files[shard]


def _coded(lm: AudioLM, samples: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Through the codec of the model, (T,) to (T,)."""
    with torch.inference_mode():
        return through_codec(lm.codec, levels)(samples, np.random.default_rng(0))


def _told(way: Way) -> dict[str, Any]:
    """What a shard says of how it was made, for whoever looks."""
    sampling = {kind: one.model_dump(mode="json") for kind, one in way.sampling.items()}
    return {**vars(way), "sampling": sampling}


def _shard_path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.safetensors"


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
