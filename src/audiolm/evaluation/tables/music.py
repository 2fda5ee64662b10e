"""Continuations of music: do they stay with their prompt, and who is nearer to what follows it?

The paper continues prompts of 4 s by 20 s and asks raters which of a pair they prefer, AudioLM's or
that of a model of acoustic tokens alone (section IV-I). Here notes are written down by a
transcriber that knows nothing of the model, and counted is what a passage does
(`metrics/music.py`): harmony, rhythm, touch, motives. Two passages show how much each metric can
tell: the true continuation (ceiling) and that of another piece (floor), both through the codec. In
place of raters: which of a pair is nearer to the true continuation *by these metrics*. That is not
a preference, and is not called one. How well the transcriber writes down what was truly played
stands beside.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance, is_music, read_notes
from audiolm.evaluation.generated import Baseline, coarse_maker, levels_made, needed
from audiolm.evaluation.metrics import notes as note_tables
from audiolm.evaluation.metrics import transcription
from audiolm.evaluation.metrics.music import FEATURES, RELATIONS, Nearness, Passage, compare, divided
from audiolm.evaluation.metrics.statistics import Metric, binomial_test, mean_metric
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.transcriber import KeptTranscripts, Transkun
from audiolm.shapes import SAMPLE_RATE

NAMES = {
    "original": "True continuation (ceiling)",
    "audiolm": "AudioLM",
    "acoustic_only": "Acoustic-only baseline",
    "other": "Another piece's continuation (floor)",
}
ARE_NEARER = ("audiolm", "acoustic_only")
"""The two of a pair."""


@dataclass(frozen=True)
class Window:
    """A prompt and what truly follows it."""

    utterance: Utterance
    begin: float
    """Seconds, in the recording."""
    audio: Audio
    """Prompt and continuation."""

    @property
    def piece(self) -> str:
        """What intervals resample: see `Utterance.speaker`."""
        return self.utterance.speaker


@dataclass
class Heard:
    """Continuations of one kind: of each, its window and the two passages."""

    windows: list[int] = field(default_factory=list)
    pairs: list[tuple[Passage, Passage]] = field(default_factory=list)
    """The prompt, as the codec renders the true one, and the continuation."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Continuations by AudioLM, by its baseline, the true ones and another piece's.

    Raises:
        Skipped: the recordings are no music, or too short; the model lacks the stages; or there is
            no transcriber.
        CorpusError: a table of notes is none.
    """
    options, model = request.options.music, request.model
    needed(model, "semantic", coarse_maker(model, options))
    everything = request.utterances()
    if not options.unlabelled and not is_music(request.data, everything):
        raise Skipped(
            f"{request.data}: no recording has a table of notes (.tsv) beside it, so this is taken "
            "for no music",
            "for music without such tables: --set music.unlabelled=true",
        )
    transcriber = KeptTranscripts(Transkun(model.device), request.out / "transcripts")
    prompt_seconds = options.prompt_seconds or model.info.prompt_seconds
    seconds = options.seconds or model.info.seconds
    windows = windows_of(
        spread_over_speakers(everything, request.limit, request.seed),
        prompt_seconds + seconds,
        options.places,
    )
    heard, rest = {"original": Heard()}, 0.1
    for number, window in enumerate(windows):
        whole = model.reconstruction(window.audio, levels_made(model))
        pair = divided(whole, transcriber.transcribe(whole), seconds)
        heard["original"].windows.append(number)
        heard["original"].pairs.append(pair)
        request.progress(rest * (number + 1) / len(windows))
    heard["other"] = _of_other_pieces(heard["original"], windows, request.seed)

    generated = request.generated(options)
    prompts = [window.audio.first(prompt_seconds) for window in windows]
    kinds: list[tuple[str, Baseline | None]] = [
        ("audiolm", None),
        ("acoustic_only", "acoustic-only"),
    ]
    if not options.baseline or "acoustic_only" not in model.stages:
        kinds = kinds[:1]
    rounds = len(kinds) * options.samples
    for turn, (kind, baseline) in enumerate(kinds):
        heard[kind] = Heard()
        for sample in range(options.samples):
            begun = rest + 0.8 * (turn * options.samples + sample) / rounds
            answers = generated.continuations(
                prompts,
                seconds,
                request.seed + sample,
                baseline,
                _between(request.progress, begun, begun + 0.4 / rounds),
            )
            for number, answer in enumerate(answers):
                _, after = divided(answer, transcriber.transcribe(answer), seconds)
                heard[kind].windows.append(number)
                heard[kind].pairs.append((heard["original"].pairs[number][0], after))
                done = (number + 1) / len(answers)
                request.progress(begun + (0.4 + 0.4 * done) / rounds)

    accuracy = _transcriber_table(transcriber, windows, request)
    conditions = {
        "prompts": f"{len(windows)} of {prompt_seconds:g} s, at up to {options.places} places of "
        f"{len({w.utterance.recording.id for w in windows})} recordings of "
        f"{len({w.piece for w in windows})} pieces; intervals resample pieces",
        "continuations": f"{options.samples} of {seconds:g} s each",
        "transcriber": transcriber.name,
        "originals": f"through the codec, {levels_made(model)} levels",
    }
    if len(kinds) == 1:
        conditions["baseline"] = "none: not asked for, or the model has no stage acoustic_only"
    return _result(heard, windows, accuracy, conditions, request.seed)


def windows_of(chosen: Sequence[Utterance], seconds: float, places: int) -> list[Window]:
    """Up to so many stretches of each recording, one after the other, from its first sound on.

    Raises:
        Skipped: no recording is long enough, or there is one piece only.
    """
    windows = []
    for utterance in chosen:
        audio = read(utterance.recording.path, SAMPLE_RATE)
        begin, length = first_sound(audio), round(seconds * SAMPLE_RATE)
        for place in range(places):
            samples = audio.samples[begin + place * length :][:length]
            if len(samples) == length and samples.any():
                at = (begin + place * length) / SAMPLE_RATE
                windows.append(Window(utterance, at, Audio(samples, SAMPLE_RATE)))
    if len({window.piece for window in windows}) < 2:
        raise Skipped(
            f"there are no recordings of two pieces that last {seconds:g} s from their first sound",
            "give longer ones, or set music.prompt_seconds and music.seconds (--set KEY=VALUE)",
        )
    return windows


def first_sound(audio: Audio) -> int:
    """The sample at which a recording first comes within 40 dB of its peak, in steps of 20 ms.

    A prompt of the silence before the first note would be none.
    """
    step = audio.sample_rate // 50
    steps = np.abs(audio.samples[: len(audio.samples) // step * step]).reshape(-1, step).max(axis=1)
    loud = np.flatnonzero(steps > 0.01 * steps.max(initial=0.0))
    return int(loud[0]) * step if len(loud) else 0


def other_pieces(pieces: Sequence[str], seed: int) -> list[int]:
    """For each window, one of another piece, drawn by the seed."""
    draw = random.Random(seed)
    return [draw.choice([j for j, other in enumerate(pieces) if other != own]) for own in pieces]


def _of_other_pieces(original: Heard, windows: Sequence[Window], seed: int) -> Heard:
    """Each prompt with the true continuation of another.

    Its silence and motives stay those that it has with its own prompt: that is what the music is
    like, whatever stands before it.
    """
    chosen = other_pieces([window.piece for window in windows], seed)
    pairs = [(original.pairs[i][0], original.pairs[j][1]) for i, j in enumerate(chosen)]
    return Heard(list(range(len(windows))), pairs)


def _between(
    progress: Callable[[float], None], low: float, high: float
) -> Callable[[float], None]:
    return lambda share: progress(low + (high - low) * share)


def _result(
    heard: dict[str, Heard],
    windows: Sequence[Window],
    accuracy: tuple[dict[str, Metric], Table] | None,
    conditions: dict[str, str],
    seed: int,
) -> ExperimentResult:
    metrics: dict[str, Metric] = {}
    kinds = [kind for kind in NAMES if kind in heard]
    for kind in kinds:
        one = heard[kind]
        pieces = [windows[number].piece for number in one.windows]
        relations = [compare(*pair) for pair in one.pairs]
        features = [rest.description for _, rest in one.pairs]
        for prefix, units, values in (("to_prompt", RELATIONS, relations), ("", FEATURES, features)):
            for name, unit in units.items():
                found = _mean([value[name] for value in values], pieces, unit, seed)
                if found is not None:
                    metrics[".".join(filter(None, [prefix, name, kind]))] = found
    tables = [_relations_table(metrics, kinds), _features_table(metrics, kinds)]
    nearness = _nearness(heard, windows, seed)
    if nearness is not None:
        metrics |= nearness[0]
        tables.append(nearness[1])
    if accuracy is not None:
        metrics |= accuracy[0]
        tables.append(accuracy[1])
    return ExperimentResult(metrics, tables, [], conditions)


def _mean(
    values: Sequence[float | None], pieces: Sequence[str], unit: str, seed: int
) -> Metric | None:
    """Over those that have an answer; None where none has."""
    known = [(v, piece) for v, piece in zip(values, pieces, strict=True) if v is not None]
    if not known:
        return None
    found, whose = zip(*known, strict=True)
    return mean_metric(found, whose, unit=unit, seed=seed)


def _relations_table(metrics: dict[str, Metric], kinds: Sequence[str]) -> Table:
    """Each continuation beside its prompt, and how far it comes from the floor to the ceiling."""
    rows: list[list[TableCell]] = [
        [NAMES[kind], *(metrics.get(f"to_prompt.{name}.{kind}") for name in RELATIONS)]
        for kind in kinds
    ]
    for kind in ARE_NEARER:
        if kind in kinds:
            ways = [way(metrics, name, kind) for name in RELATIONS]
            rows.append([f"{NAMES[kind]}: way from floor to ceiling, %", *ways])
    titles = [
        *("Pitch-class distance", "Key score", "Fit to the prompt's key", "Same tempo, %"),
        *("Density change, octaves", "Polyphony change, octaves", "Register change, semitones"),
        *("Velocity change", "Level change, dB"),
    ]
    note = (
        "Distances and changes: lower is nearer; score, fit and tempo: higher is. Key score: "
        "MIREX, keys by Krumhansl and Schmuckler. Means over continuations. No way is given where "
        "floor and ceiling do not differ as they should."
    )
    return Table("Continuations and their prompts", ["Continuation", *titles], rows, note)


def way(metrics: dict[str, Metric], name: str, kind: str) -> float | None:
    """Percent of the way from another piece's continuation (0) to the true one (100)."""
    keys = [f"to_prompt.{name}.{each}" for each in (kind, "other", "original")]
    if any(key not in metrics for key in keys):
        return None
    value, floor, ceiling = (metrics[key].value for key in keys)
    higher_is_nearer = name in ("key_score", "key_fit", "tempo")
    span = ceiling - floor
    if span == 0 or (span > 0) != higher_is_nearer:
        return None
    return round(100 * (value - floor) / span, 1)


def _features_table(metrics: dict[str, Metric], kinds: Sequence[str]) -> Table:
    rows: list[list[TableCell]] = [
        [NAMES[kind], *(metrics.get(f"{name}.{kind}") for name in FEATURES)] for kind in kinds
    ]
    titles = [
        *("Notes a second", "Regularity", "Keys at once", "Range, semitones", "Median note"),
        *("Velocity", "Level, dB", "Silence, %", "Motives that come back, %"),
    ]
    note = "None is better as such: the true continuation is what to come near to."
    return Table("What is played", ["Continuation", *titles], rows, note)


def _nearness(
    heard: dict[str, Heard], windows: Sequence[Window], seed: int
) -> tuple[dict[str, Metric], Table] | None:
    """Which of each pair is nearer to the true continuation; None without a baseline."""
    true = [rest for _, rest in heard["original"].pairs]
    near = Nearness(true, [window.piece for window in windows])
    metrics: dict[str, Metric] = {}
    distances: dict[str, list[float]] = {}
    rows: list[list[TableCell]] = []
    for kind in (*ARE_NEARER, "other"):
        if kind not in heard:
            continue
        numbers = heard[kind].windows
        distances[kind] = [
            near.distance(true[number], rest)
            for number, (_, rest) in zip(numbers, heard[kind].pairs, strict=True)
        ]
        pieces = [windows[number].piece for number in numbers]
        metrics[f"distance_to_true.{kind}"] = mean_metric(
            distances[kind], pieces, unit="standard deviations", seed=seed
        )
        rows.append([NAMES[kind], metrics[f"distance_to_true.{kind}"], None, None, None])
    if not all(kind in distances for kind in ARE_NEARER):
        return metrics, _nearness_table(rows)
    numbers = heard["audiolm"].windows
    pieces = [windows[number].piece for number in numbers]
    ahead = np.subtract(distances["acoustic_only"], distances["audiolm"])
    wins = [1.0 if lead > 0 else 0.5 if lead == 0 else 0.0 for lead in ahead]
    metrics["nearer_by_metrics.pairs"] = mean_metric(
        wins, pieces, unit="%", scale=100, note="pieces resampled", seed=seed
    )
    by_piece = [float(ahead[[p == piece for p in pieces]].mean()) for piece in sorted(set(pieces))]
    shares = [1.0 if lead > 0 else 0.5 if lead == 0 else 0.0 for lead in by_piece]
    metrics["nearer_by_metrics.pieces"] = mean_metric(shares, unit="%", scale=100, seed=seed)
    for name, leads in (("pairs", list(ahead)), ("pieces", by_piece)):
        found = metrics[f"nearer_by_metrics.{name}"]
        rows.append([f"AudioLM nearer than the baseline, {name}", None, found, *sign_test(leads)])
    return metrics, _nearness_table(rows)


def sign_test(leads: Sequence[float]) -> tuple[str, str]:
    """How many of those that are not zero are above it, and the two-sided p of a fair coin."""
    above, below = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    p = binomial_test(above, above + below) if above + below else math.nan
    return f"{above} of {above + below}", f"{p:.2g}"


def _nearness_table(rows: list[list[TableCell]]) -> Table:
    names = ", ".join(FEATURES)
    return Table(
        "Nearer to the true continuation, by metrics",
        ["", "Distance", "Nearer, %", "Wins", "p, sign test"],
        rows,
        f"Distance: root mean square over {names} and pitch classes, each in standard deviations "
        "among true continuations. Pairs of one piece resemble each other: the test over pieces, "
        "each by its mean distances, is the honest one. This is no listener's preference (paper: "
        "83.3 % of 150 answers).",
    )


def _transcriber_table(
    transcriber: KeptTranscripts, windows: Sequence[Window], request: ExperimentRequest
) -> tuple[dict[str, Metric], Table] | None:
    """How well the transcriber writes down what was truly played; None without tables of notes."""
    of_recording: list[dict[str, float | None]] = []
    through_codec: list[dict[str, float | None]] = []
    pieces = []
    for number, window in enumerate(windows):
        table = window.utterance.notes
        if table is None:
            continue
        played = _played(read_notes(table), window, table.as_posix())
        codec = request.model.reconstruction(window.audio, levels_made(request.model))
        of_recording.append(transcription.evaluate(played, transcriber.transcribe(window.audio)))
        through_codec.append(transcription.evaluate(played, transcriber.transcribe(codec)))
        pieces.append(window.piece)
        request.progress(0.9 + 0.1 * (number + 1) / len(windows))
    if not pieces:
        return None
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    for kind, title, each in (
        ("recording", "Recordings", of_recording),
        ("codec", "Recordings through the codec", through_codec),
    ):
        for name, unit in transcription.UNITS.items():
            found = _mean([one[name] for one in each], pieces, unit, request.seed)
            if found is not None:
                metrics[f"transcriber_{name}.{kind}"] = found
        cells = [metrics.get(f"transcriber_{name}.{kind}") for name in transcription.UNITS]
        rows.append([title, *cells])
    columns = ["Of", "Precision, %", "Recall, %", "F1, %", "Velocity, correlation"]
    note = "Pitch right and onset within 50 ms (mir_eval.transcription), beside the tables of notes."
    return metrics, Table(f"The transcriber itself: {transcriber.name}", columns, rows, note)


def _played(notes: np.ndarray, window: Window, table: str) -> np.ndarray:
    """The notes that begin in a window, on its clock.

    Raises:
        CorpusError: they are no notes of a piano.
    """
    try:
        note_tables.validate(notes)
    except ValueError as error:
        raise CorpusError(
            f"{table}: {error}; give rows of onset, offset, note, velocity"
        ) from None
    inside = (notes[:, 0] >= window.begin) & (notes[:, 0] < window.begin + window.audio.seconds)
    return notes[inside] - np.array([window.begin, window.begin, 0, 0])
