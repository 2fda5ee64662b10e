"""Phonetic ABX: is X nearer to A, the same phone, than to B, another one? (Table I, Fig. 3)

The protocol is that of Libri-Light. A token is a phone with its neighbours; A, B and X have the
same neighbours. Within speakers all three are of one speaker; across speakers X is of another one.
The error of a cell (X's, A's and B's of one context and of given speakers) is averaged over the
cells of a speaker and an ordered pair of phones, then over speakers, then over pairs of phones. Of
groups that are larger than `max_size_group` and of more than `max_x_across` other speakers, some
are drawn by the seed, once, so that every feature is judged by the same triples.
"""

import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiolm.audio.files import read
from audiolm.errors import CorpusError
from audiolm.evaluation import plots
from audiolm.evaluation.corpora import Item, find_audio, read_items
from audiolm.evaluation.dtw import Tokens, pair_distances
from audiolm.evaluation.frames import Extractor, Feature, extractors, normalised
from audiolm.evaluation.options import AbxConfig
from audiolm.evaluation.protocol import Cell as TableCell
from audiolm.evaluation.protocol import Figure, PartResult, Request, Skipped, Table
from audiolm.evaluation.statistics import HIGH, LOW, bootstrap_weights
from audiolm.shapes import SAMPLE_RATE

ABX_DATA = "https://dl.fbaipublicfiles.com/librilight/data/ABX_data.tgz"


@dataclass(frozen=True)
class Cell:
    """Triples of one context: every X with every A and every B, by their numbers."""

    speaker: str
    """Of A and B."""
    phones: tuple[str, str]
    """Of A (and X), and of B."""
    x: tuple[int, ...]
    a: tuple[int, ...]
    b: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """The errors of all cells, averaged as the protocol has it."""

    value: float
    """0 to 1."""
    low: float
    """Of the 95 % interval: speakers resampled."""
    high: float
    cells: int


def evaluate(request: Request) -> PartResult:
    """ABX errors of every feature that the options name, for each item file.

    Raises:
        Skipped: if there is no item file.
        CorpusError: if one cannot be used, or names recordings that are not there.
        ConfigurationError: if a feature is not known.
    """
    options = request.options.abx
    paths = _item_files(request.data, options)
    tools = extractors(options.features, options.levels, request.model)
    figures: dict[str, Figure] = {}
    tables, drawings = [], []
    conditions = _conditions(options)
    for number, path in enumerate(paths):
        items = read_items(path)
        audio = find_audio({i.file for i in items}, [path.parent, request.data], path)
        items = _limited(items, request.limit, request.seed)
        found: dict[str, tuple[Feature, dict[str, Figure]]] = {}
        band = 0.0
        for step, tool in enumerate(tools):
            share = 1 / (len(paths) * len(tools))
            begin = (number * len(tools) + step) * share

            def advance(done: float, begin: float = begin, share: float = share) -> None:
                request.progress(begin + done * share)

            for feature, scores in _measure(tool, items, audio, request, advance):
                found[feature.name] = feature, scores
        figures |= {
            f"{path.stem}.{name}.{mode}": figure
            for name, (_, scores) in found.items()
            for mode, figure in scores.items()
        }
        band = _bandwidth([audio[stem] for stem in sorted({i.file for i in items})[:20]])
        conditions[path.stem] = (
            f"{len(items)} tokens of {len({i.file for i in items})} recordings of "
            f"{len({i.speaker for i in items})} speakers; sound up to {band / 1000:.1f} kHz"
        )
        tables.append(_table(path, found))
        drawings += _plot(request.out / f"{path.stem}.svg", found)
    return PartResult(figures, tables, drawings, conditions)


def _item_files(data: Path, options: AbxConfig) -> list[Path]:
    if options.items:
        path = Path(options.items)
        if not path.is_file():
            raise CorpusError(f"abx.items: {path}: there is no such file; check the path")
        return [path]
    paths = sorted(data.rglob("*.item"))
    if not paths:
        raise Skipped(
            f"there is no item file (*.item) below {data}",
            f"put one of {ABX_DATA} beside its recordings, or name it by --set abx.items=FILE",
        )
    return paths


def _limited(items: list[Item], limit: int | None, seed: int) -> list[Item]:
    """The tokens of at most `limit` recordings."""
    files = sorted({item.file for item in items})
    if limit is None or limit >= len(files):
        return items
    kept = set(random.Random(seed).sample(files, limit))
    return [item for item in items if item.file in kept]


def _measure(
    tool: Extractor,
    items: list[Item],
    audio: dict[str, Path],
    request: Request,
    progress: Callable[[float], None],
) -> Iterator[tuple[Feature, dict[str, Figure]]]:
    """Errors within and across speakers of each feature of one extractor."""
    options = request.options.abx
    files = list(dict.fromkeys(item.file for item in items))
    frames: list[list[Tensor]] = [[] for _ in tool.features]
    with torch.inference_mode():
        for number, file in enumerate(files):
            waveform = torch.from_numpy(read(audio[file], SAMPLE_RATE).samples)[None]  # (1, T)
            for kept, piece in zip(frames, tool.extract(waveform.to(request.model.device)), strict=True):
                kept.append(piece)
            progress(0.5 * (number + 1) / len(files))
        for number, feature in enumerate(tool.features):
            counts = {file: len(f) for file, f in zip(files, frames[number], strict=True)}
            spans, kept_items = cut(items, feature.rate, counts, options.drop_last_frame)
            whole = torch.cat(frames[number])  # (all frames, D)
            frames[number] = []
            whole = normalised(whole) if feature.scaled else whole
            tokens = Tokens.cut(whole, spans)

            def advance(done: float, number: int = number) -> None:
                progress(0.5 + 0.5 * (number + done) / len(tool.features))

            yield feature, _scores(tokens, kept_items, feature, options, request.seed, advance)
