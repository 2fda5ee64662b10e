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

from collections.abc import Callable, Sequence

from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import is_music
from audiolm.evaluation.generated import Baseline, coarse_maker, levels_made, needed
from audiolm.evaluation.metrics.music import FEATURES, RELATIONS, compare, divided
from audiolm.evaluation.metrics.statistics import Metric, mean_of_known
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.music_nearness import NAMES, PAIR, Heard, nearness
from audiolm.evaluation.tables.music_windows import Window, other_pieces, windows_of
from audiolm.evaluation.tables.transcriber import KeptTranscripts, Transkun
from audiolm.evaluation.tables.transcriber_errors import transcriber_errors

ORIGINALS, ERRORS = 0.1, 0.9
"""Share of the progress when the true continuations are heard, and when all of them are."""


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
    heard = {"original": Heard()}
    for number, window in enumerate(windows):
        whole = model.reconstruction(window.audio, levels_made(model))
        heard["original"].add(number, divided(whole, transcriber.transcribe(whole), seconds))
        request.progress(ORIGINALS * (number + 1) / len(windows))
    heard["other"] = _of_other_pieces(heard["original"], windows, request.seed)
    prompts = [window.audio.first(prompt_seconds) for window in windows]
    kinds: list[tuple[str, Baseline | None]] = [("audiolm", None)]
    if options.baseline and "acoustic_only" in model.stages:
        kinds.append(("acoustic_only", "acoustic-only"))
    share = (ERRORS - ORIGINALS) / len(kinds)
    for turn, (kind, baseline) in enumerate(kinds):
        begun = ORIGINALS + turn * share

        def advance(done: float, begun: float = begun) -> None:
            request.progress(begun + share * done)

        answers = _continuations(request, prompts, seconds, baseline, lambda d: advance(0.5 * d))
        heard[kind] = Heard()
        for count, (number, answer) in enumerate(answers, start=1):
            _, rest = divided(answer, transcriber.transcribe(answer), seconds)
            heard[kind].add(number, (heard["original"].pairs[number][0], rest))
            advance(0.5 + 0.5 * count / len(answers))

    accuracy = transcriber_errors(transcriber, windows, request)
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


def _continuations(
    request: ExperimentRequest,
    prompts: Sequence[Audio],
    seconds: float,
    baseline: Baseline | None,
    progress: Callable[[float], None],
) -> list[tuple[int, Audio]]:
    """Every sample of every prompt: the prompt's number, and prompt and continuation."""
    options = request.options.music
    generated = request.generated(options)
    answers: list[tuple[int, Audio]] = []
    for sample in range(options.samples):

        def advance(done: float, sample: int = sample) -> None:
            progress((sample + done) / options.samples)

        made = generated.continuations(prompts, seconds, request.seed + sample, baseline, advance)
        answers += enumerate(made)
    return answers


def _of_other_pieces(original: Heard, windows: Sequence[Window], seed: int) -> Heard:
    """Each prompt with the true continuation of another.

    Its silence and motives stay those that it has with its own prompt: that is what the music is
    like, whatever stands before it.
    """
    chosen = other_pieces([window.piece for window in windows], seed)
    pairs = [(original.pairs[i][0], original.pairs[j][1]) for i, j in enumerate(chosen)]
    return Heard(list(range(len(windows))), pairs)


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
        for prefix, units, values in (
            ("to_prompt", RELATIONS, relations),
            ("", FEATURES, features),
        ):
            for name, unit in units.items():
                found = mean_of_known(
                    [value[name] for value in values], pieces, unit=unit, seed=seed
                )
                if found is not None:
                    metrics[".".join(filter(None, [prefix, name, kind]))] = found
    tables = [_relations_table(metrics, kinds), _features_table(metrics, kinds)]
    for more in (nearness(heard, windows, seed), accuracy):
        if more is not None:
            metrics |= more[0]
            tables.append(more[1])
    return ExperimentResult(metrics, tables, [], conditions)


def _relations_table(metrics: dict[str, Metric], kinds: Sequence[str]) -> Table:
    """Each continuation beside its prompt, and how far it comes from the floor to the ceiling."""
    rows: list[list[TableCell]] = [
        [NAMES[kind], *(metrics.get(f"to_prompt.{name}.{kind}") for name in RELATIONS)]
        for kind in kinds
    ]
    for kind in PAIR:
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
