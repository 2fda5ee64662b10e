"""Phonetic ABX: is X nearer to A, the same phone, than to B, another one? (Table I, Fig. 3)

The protocol is that of Libri-Light. A token is a phone with its neighbours; A, B and X have the
same neighbours. Within speakers all three are of one speaker; across speakers X is of another one.
Of large groups of tokens and of many other speakers some are drawn by the seed, once, so that every
feature is judged by the same triples.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from audiolm.audio.files import info, read
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import find_audio, read_items
from audiolm.evaluation.halves import of_half
from audiolm.evaluation.metrics import abx
from audiolm.evaluation.metrics.abx import MODES, Item, Questions, cut
from audiolm.evaluation.metrics.dtw import Segments
from audiolm.evaluation.metrics.statistics import Metric
from audiolm.evaluation.metrics.threads import in_threads
from audiolm.evaluation.options import AbxConfig
from audiolm.evaluation.report import plots
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import limited
from audiolm.evaluation.tables.abx_features import (
    SPECTRA,
    Extractor,
    Feature,
    extractors,
    standardised,
)
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.shapes import SAMPLE_RATE

ABX_DATA = "https://dl.fbaipublicfiles.com/librilight/data/ABX_data.tgz"
END_TOLERANCE = 0.05
"""Seconds that a token may end behind its recording: lossy formats cut or add a little."""
BAND_FILES = 20
"""Recordings whose spectrum is looked at to say how high the sound goes."""
BAND_FLOOR = 1e-7
"""Part of the strongest frequency's power (-70 dB) below which there is no sound."""


class ItemWarning(UserWarning):
    """Tokens of an item file are left out."""


ModeMetrics = dict[str, Metric]
"""By mode: within, across; a mode without triples is absent."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """ABX errors of every feature that the options name, for each item file.

    `request.limit` counts recordings.

    Raises:
        Skipped: if there is no item file.
        CorpusError: if one cannot be used, or names recordings that are not there.
        ConfigurationError: if a feature is not known.
    """
    options = request.options.abx
    paths = _item_files(request.data, options)
    tools = extractors(options.features, options.levels, request.model)
    result = ExperimentResult({}, [], [], _conditions(options))
    for number, path in enumerate(paths):

        def advance(done: float, number: int = number) -> None:
            request.progress((number + done) / len(paths))

        items = read_items(path)
        audio = find_audio({i.file for i in items}, [path.parent, request.data], path)
        items = of_half(items, lambda item: item.speaker, request.speakers)
        items = limited(items, lambda item: item.file, request.limit, request.seed)
        items, beyond = within_recordings(items, audio, path)
        found = _measured(tools, items, audio, request, advance)
        if not any(scores for _, scores in found):
            raise CorpusError(
                f"{path}: no speaker says two phones in one context in the {len(items)} tokens "
                f"used; use more recordings"
            )
        for feature, scores in found:
            for mode, metric in scores.items():
                result.metrics[f"{path.stem}.{feature.name}.{mode}"] = metric
        result.tables.append(_table(path, found))
        result.plots.extend(_plots(request.out, path.stem, found))
        result.conditions[path.name] = _described(items, audio) + beyond
    return result


def within_recordings(
    items: list[Item], audio: dict[str, Path], path: Path
) -> tuple[list[Item], str]:
    """The tokens that lie in their recordings, and a remark about those that do not.

    Frames of others would be few or none, and their triples a matter of chance.
    """
    seconds = {file: info(audio[file]).seconds for file in {item.file for item in items}}
    kept = [item for item in items if item.offset <= seconds[item.file] + END_TOLERANCE]
    if len(kept) == len(items):
        return kept, ""
    first = next(item for item in items if item.offset > seconds[item.file] + END_TOLERANCE)
    remark = (
        f"{len(items) - len(kept)} of {len(items)} tokens end behind their recording and are left "
        f"out, the first at {first.offset:g} s of {first.file}, which lasts "
        f"{seconds[first.file]:.2f} s"
    )
    warnings.warn(f"{path}: {remark}", ItemWarning, stacklevel=2)
    return kept, f"; {remark}"


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


def _measured(
    tools: list[Extractor],
    items: list[Item],
    audio: dict[str, Path],
    request: ExperimentRequest,
    progress: Callable[[float], None],
) -> list[tuple[Feature, ModeMetrics]]:
    """Every feature with its errors."""
    options = request.options.abx
    questions: dict[tuple[Item, ...], Questions] = {}
    """By the tokens that have frames: those of nearly all features are the same."""
    found = []
    for step, tool in enumerate(tools):

        def extracting(done: float, step: int = step) -> None:
            progress((step + 0.5 * done) / len(tools))

        kinds = _frames(tool, items, audio, request.model.device, extracting)
        for number, (feature, frames, counts) in enumerate(kinds):

            def comparing(done: float, step: int = step, number: int = number) -> None:
                share = 0.5 + 0.5 * (number + done) / len(tools[step].features)
                progress((step + share) / len(tools))

            kept, starts, lengths = cut(items, feature.rate, counts, options.drop_last_frame)
            if (same := tuple(kept)) not in questions:
                questions[same] = Questions(
                    kept,
                    options.max_size_group,
                    options.max_x_across,
                    options.context == "any",
                    request.seed,
                )
            segments = Segments(frames, starts, lengths)
            found.append((feature, _scores(feature, questions[same], segments, comparing)))
    return found


def _frames(
    tool: Extractor,
    items: list[Item],
    audio: dict[str, Path],
    device: torch.device,
    progress: Callable[[float], None],
) -> Iterator[tuple[Feature, Tensor, dict[str, int]]]:
    """Of each feature the frames (n, D) of all recordings, and how many each recording has."""
    files = list(dict.fromkeys(item.file for item in items))

    def extract(file: str) -> list[Tensor]:
        samples = read(audio[file], SAMPLE_RATE).samples
        return tool.extract(torch.from_numpy(samples)[None].to(device))

    pieces = []
    for piece in in_threads(extract, files):
        pieces.append(piece)
        progress(len(pieces) / len(files))
    for number, feature in enumerate(tool.features):
        counts = {file: len(piece[number]) for file, piece in zip(files, pieces, strict=True)}
        frames = torch.cat([piece[number] for piece in pieces])
        yield feature, standardised(frames) if feature.scaled else frames, counts


def _scores(
    feature: Feature, questions: Questions, segments: Segments, progress: Callable[[float], None]
) -> ModeMetrics:
    paper = dict(zip(MODES, feature.paper or (None, None), strict=True))
    scores = {}
    for mode, found in abx.evaluate(questions, segments, progress).items():
        note = f"{len(questions.cells[mode])} cells; speakers resampled"
        low, value, high = 100 * found.low, 100 * found.value, 100 * found.high
        scores[mode] = Metric(value, low, high, questions.tokens[mode], "%", note, paper[mode])
    return scores


def _table(path: Path, found: list[tuple[Feature, ModeMetrics]]) -> Table:
    rows: list[list[TableCell]] = [
        [
            feature.title,
            None if feature.bits is None else round(feature.bits),
            *(scores.get(mode) for mode in MODES),
        ]
        for feature, scores in found
    ]
    columns = ["feature", "bit/s", "within speakers, %", "across speakers, %"]
    note = (
        "Error in percent; lower is better, 50 is chance. The paper's metrics are of LibriSpeech "
        "dev-clean."
    )
    return Table(f"ABX error on {path.name}", columns, rows, note)


def _plots(folder: Path, stem: str, found: list[tuple[Feature, ModeMetrics]]) -> list[Path]:
    """All features beside each other, and the layers of w2v-BERT as a curve (Fig. 3)."""
    rows = {f"{m} speakers": {f.title: s[m] for f, s in found if m in s} for m in MODES}
    drawn = plots.dots(folder / f"{stem}.svg", "ABX error, %", {k: v for k, v in rows.items() if v})
    layers = {
        f"{m} speakers": {float(f.layer): s[m] for f, s in found if m in s and f.layer is not None}
        for m in MODES
    }
    if any(len(metrics) > 1 for metrics in layers.values()):
        axes = "layer of w2v-BERT, not quantized", "ABX error, %"
        drawn += plots.lines(folder / f"{stem}_layers.svg", *axes, layers)
    return drawn


def _conditions(options: AbxConfig) -> dict[str, str]:
    last = "left out" if options.drop_last_frame else "kept"
    return {
        "protocol": f"Libri-Light; at most {options.max_size_group} tokens of a phone, context and "
        f"speaker, at most {options.max_x_across} other speakers for X",
        "context": "the same before and after" if options.context == "within" else "any",
        "distance": "angle between frames, time-warped, divided by the length of the path",
        "last frame of a token": last,
        "spectra": SPECTRA,
    }


def _described(items: list[Item], audio: dict[str, Path]) -> str:
    files = sorted({item.file for item in items})
    band = highest_frequency([audio[file] for file in files[:BAND_FILES]])
    return (
        f"{len(items)} tokens of {len(files)} recordings of {len({i.speaker for i in items})} "
        f"speakers; the sound goes up to {band / 1000:.1f} kHz"
    )


def highest_frequency(paths: list[Path]) -> float:
    """Up to where there is sound in the recordings, in Hz: what a lossy format has left of it."""
    size = 2048
    power = torch.zeros(size // 2 + 1, dtype=torch.float64)
    window = torch.hann_window(size, dtype=torch.float64)
    for path in paths:
        samples = torch.from_numpy(read(path, SAMPLE_RATE).samples).double()  # (T,)
        if len(samples) < size:
            continue
        frames = samples.unfold(0, size, size // 2) * window
        power += torch.fft.rfft(frames).abs().square().sum(dim=0)
    sounding = (power > BAND_FLOOR * power.max()).nonzero()
    return float(sounding.max()) * SAMPLE_RATE / size if len(sounding) else 0.0
