"""How many tokens a second each kind of stage makes, for the bundled model and larger networks."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from audiolm.model import AudioLM
from audiolm.shapes import CODEC_HOP, FRAMES_PER_STEP, SAMPLE_RATE
from audiolm.stages import (
    KINDS,
    AutoregressiveStage,
    ParallelStage,
    Sampling,
    Stage,
    Streams,
    TransformerConfig,
    build_stage,
)
from audiolm.stages.cache import quick_weights
from audiolm.stages.masked_decoding import quick_products
from audiolm.stages.streams import MASK
from audiolm.training.preset import load_preset
from document import Section, number
from machine import threads
from timing import in_turns

PROMPT_FRAMES = round(3 * SAMPLE_RATE / CODEC_HOP)
KINDS_TIMED = ("semantic", "coarse", "fine", "parallel")


@dataclass(frozen=True)
class Size:
    """A network: layers x width, heads of 64 as in the paper."""

    layers: int
    width: int
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"{self.layers} x {self.width}"

    @property
    def heads(self) -> int:
        """H: 64 of the width for each."""
        return self.width // 64


SIZES = (Size(6, 384), Size(8, 512), Size(12, 1024, "`paper` (12 x 1024)"))
QUICK_SIZES = (Size(1, 64),)


def stage_of(kind: str, size: Size) -> Stage:
    """A stage of the paper's layout and this size, with random weights, ready to decode."""
    config = load_preset("paper").stages[kind]
    network = TransformerConfig(
        layers=size.layers, width=size.width, heads=size.heads, feed_forward=4 * size.width
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_stage(kind, config.model_copy(update={"transformer": network})).eval()


def random_ids(below: int, *shape: int) -> torch.Tensor:
    """Ids (*shape), always the same ones."""
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(0))


def decoding(kind: str, stage: Stage, frames: int) -> tuple[Callable[[], float], int]:
    """What makes `frames` frames (or the ids of as much time) after 3 s, and of how many tokens.

    It tells the seconds that these took. Where tokens come one by one, those up to the first one,
    in which the prompt is read, do not count; the fine and the parallel stage are timed as a whole.
    """
    layout = stage.layout.config
    whole = PROMPT_FRAMES + frames
    ids = random_ids(layout.clusters, 1, -(-whole // FRAMES_PER_STEP))  # (1, S)
    codes = random_ids(layout.codebook_size, 1, layout.coarse_levels, whole)  # (1, Q', F)
    steps, per_piece = frames, layout.coarse_levels
    if kind == "semantic":
        ids, steps, per_piece = ids[:, : PROMPT_FRAMES // FRAMES_PER_STEP], frames // 2, 1
        given = Streams(ids)
    elif kind == "coarse":
        given = Streams(ids, codes[..., :PROMPT_FRAMES])
    elif kind == "fine":
        given, steps = Streams(codes=codes[..., :frames]), 0
    else:
        codes[..., PROMPT_FRAMES:] = MASK
        given, steps = Streams(ids, codes), 0

    def run() -> float:
        stamps = [time.perf_counter()]
        generator = torch.Generator().manual_seed(0)
        pieces = stage.decode_stream(given, steps=steps, sampling=Sampling(), generator=generator)
        stamps += [time.perf_counter() for _ in pieces]
        if not steps:
            return stamps[-1] - stamps[0]
        # The coarse stage gives the prompt first, the semantic one says last who has ended.
        made = stamps[2:] if kind == "coarse" else stamps[1:-1]
        return made[-1] - made[0]

    if kind == "fine":
        return run, frames * (layout.levels - layout.coarse_levels)
    if kind == "parallel":
        return run, frames * layout.coarse_levels
    return run, (steps - 1) * per_piece


def measure(lm: AudioLM, sizes: tuple[Size, ...], frames: int, repeats: int) -> Section:
    """Tokens a second of every kind of stage."""
    rows = []
    with threads(1):
        for kind in KINDS_TIMED:
            row = [KINDS[kind].name]
            stages = {"own": lm.stages.get(kind)} | {
                str(size): stage_of(kind, size) for size in sizes
            }
            timed = {name: decoding(kind, stage, frames) for name, stage in stages.items() if stage}
            times = in_turns({name: run for name, (run, _) in timed.items()}, repeats)
            for name in stages:
                row.append(number(timed[name][1] / median(times[name]) if name in timed else None))
            rows.append(row)
    device = torch.device("cpu")
    weights, products = (str(t(device)).split(".")[1] for t in (quick_weights, quick_products))
    own = lm.stages["coarse"]
    assert isinstance(own, AutoregressiveStage | ParallelStage)
    network = own.config.transformer
    return Section(
        "Tokens a second of each stage",
        f"One thread, one recording; {frames / 50:g} s made after a prompt of 3 s, random weights "
        f"but in the first column. Medians of {repeats}. Reading the prompt does not count, but "
        "with the fine and the parallel stage, which are timed as a whole. Weights of cached steps "
        f"are {weights}, of the fine stage float32, products of the parallel stage {products}; "
        f"sequences are the paper's (ids in front), those of `{lm.name}` its own.",
        ["stage", f"`{lm.name}` ({network.layers} x {network.width})", *map(str, sizes)],
        rows,
        ["A dash: the model has no such stage."],
    )
