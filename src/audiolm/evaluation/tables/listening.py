"""The paper's two listening tests: their material, and what raters said (sections IV-G, IV-I).

`original-or-synthetic`: clips of 10 s, half of them recordings through the codec, half
continuations of prompts of 3 s; raters say which is which. `preference`: pairs of continuations of
one prompt, by AudioLM and by its acoustic-only baseline; raters say which they prefer.

The first run builds a folder for each test, which goes to the raters as it is, and a key, which
does not. They send back CSV files; with those in the folder `answers`, the next run counts them,
and counts again whenever one is added or changed.
"""

import hashlib
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiolm.atomic import replacing
from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import Generated, coarse_maker, levels_made, needed
from audiolm.evaluation.metrics.listening import Answer, at_least
from audiolm.evaluation.metrics.listening import evaluate as metrics_of_answers
from audiolm.evaluation.metrics.statistics import Metric, binomial_test
from audiolm.evaluation.report.listening_page import ListeningTest, Question, page
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import between, prompts_of, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.listening_answers import (
    Key,
    KeyFile,
    read_answers,
    read_key,
    write_key,
)
from audiolm.shapes import SAMPLE_RATE

REAL_OR_NOT, PREFERENCE = "original-or-synthetic", "preference"
KEY = "key.json"
ANSWERS = "answers"


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Build the material, or count the answers to it.

    Raises:
        Skipped: there are no answers yet; or the model cannot make the clips, or no recording is
            long enough.
        CorpusError: answers that do not belong to the material, or a damaged key.
    """
    key_file, folder = request.out / KEY, request.out / ANSWERS
    settings = _settings(request)
    empty = key_file.exists() and not key_file.stat().st_size  # power failed while it was written
    if empty or not key_file.exists() or read_key(key_file).settings != settings:
        if any(folder.glob("*.csv")):
            raise Skipped(
                f"the answers in {folder} are to clips of another model or other settings",
                f"rename {request.out} to keep them, and run this again",
            )
        build(request, settings)
    key = read_key(key_file).tests
    answers = read_answers(list(folder.glob("*.csv")), key)
    if not answers:
        raise Skipped(
            f"the clips are in {request.out}, and there are no answers yet",
            f"send {' and '.join(key)} to raters (not {KEY}), put the CSV files that come back "
            f"into {folder}, and run this again",
        )
    return count(answers, key, request.seed)


def inputs(request: ExperimentRequest) -> dict[str, Any]:
    """The raters' answers: with new or changed ones the table is made again."""
    files = sorted(path for path in (request.out / ANSWERS).glob("*.csv") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def build(request: ExperimentRequest, settings: dict[str, Any]) -> None:
    """Make the clips and pages of both tests; the key is written last."""
    options, model = request.options.listening, request.model
    needed(model, "semantic", coarse_maker(model, options))
    generated = request.generated(options)
    everything = request.utterances()
    names = random.Random(request.seed)
    (request.out / KEY).unlink(missing_ok=True)
    for test in (REAL_OR_NOT, PREFERENCE):  # clips of earlier settings
        shutil.rmtree(request.out / test, ignore_errors=True)
    (request.out / ANSWERS).mkdir(exist_ok=True)

    long_enough = between(
        everything,
        options.prompt_seconds + options.seconds,
        settings="listening.prompt_seconds and listening.seconds",
    )
    if len(long_enough) < 2:
        raise Skipped("one recording is long enough, and two are needed", "give more recordings")
    wanted = min(options.clips, request.limit or options.clips, len(long_enough))
    clips = spread_over_speakers(long_enough, max(2, wanted - wanted % 2), request.seed)
    key: Key = {REAL_OR_NOT: _real_or_not(request, generated, clips, names)}
    request.progress(0.6)
    if options.pairs and "acoustic_only" in model.stages:
        enough = between(
            everything, options.pair_prompt_seconds, settings="listening.pair_prompt_seconds"
        )
        pairs = spread_over_speakers(
            enough, min(options.pairs, request.limit or options.pairs), request.seed
        )
        key[PREFERENCE] = _preference(request, generated, pairs, names)
    write_key(request.out / KEY, KeyFile(settings, key))
    request.progress(1.0)


def _real_or_not(
    request: ExperimentRequest,
    generated: Generated,
    chosen: Sequence[Utterance],
    names: random.Random,
) -> dict[str, str]:
    """The clips of the first test: by item, `original` or `synthetic`."""
    options, model = request.options.listening, request.model
    total = options.prompt_seconds + options.seconds
    mixed = names.sample(list(chosen), len(chosen))
    originals, prompted = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
    sounds: list[tuple[str, Audio]] = []
    for utterance in originals:
        audio = read(utterance.recording.path, SAMPLE_RATE).first(total)
        sounds.append(("original", model.reconstruction(audio, levels_made(model))))
    answers = generated.continuations(
        prompts_of(prompted, options.prompt_seconds), options.seconds, request.seed
    )
    sounds += [("synthetic", answer) for answer in answers]
    truth, questions = {}, []
    for kind, audio in sounds:
        item = f"{names.getrandbits(32):08x}"
        truth[item] = kind
        questions.append(Question(item, [f"clips/{item}.wav"]))
        _write(request.out / REAL_OR_NOT / questions[-1].clips[0], audio)
    test = ListeningTest(
        REAL_OR_NOT,
        "Recording or machine?",
        f"Each clip lasts {total:g} seconds. Its first {options.prompt_seconds:g} seconds are "
        "always an original recording. Decide about what follows them: is it the "
        "rest of the recording, or was it made by a machine?",
        {"original": "Recording", "synthetic": "Machine"},
        sorted(questions, key=lambda question: question.item),
    )
    _write_page(request.out / REAL_OR_NOT, test)
    return dict(sorted(truth.items()))


def _preference(
    request: ExperimentRequest,
    generated: Generated,
    chosen: Sequence[Utterance],
    names: random.Random,
) -> dict[str, str]:
    """The pairs of the second test: by item, whether `a` or `b` is AudioLM's."""
    options = request.options.listening
    prompts = prompts_of(chosen, options.pair_prompt_seconds)
    whole = generated.continuations(prompts, options.pair_seconds, request.seed)
    baseline = generated.continuations(prompts, options.pair_seconds, request.seed, "acoustic-only")
    truth, questions = {}, []
    for pair in zip(whole, baseline, strict=True):
        item, ours = f"{names.getrandbits(32):08x}", names.choice("ab")
        truth[item] = ours
        questions.append(Question(item, [f"clips/{item}-{side}.wav" for side in "ab"]))
        ordered = pair if ours == "a" else pair[::-1]
        for clip, audio in zip(questions[-1].clips, ordered, strict=True):
            _write(request.out / PREFERENCE / clip, audio)
    test = ListeningTest(
        PREFERENCE,
        "Which one do you prefer?",
        f"Both clips of a pair begin with the same {options.pair_prompt_seconds:g} seconds, and go "
        "on differently. Which of the two goes on better?",
        {"a": "A", "b": "B"},
        sorted(questions, key=lambda question: question.item),
    )
    _write_page(request.out / PREFERENCE, test)
    return dict(sorted(truth.items()))


def count(answers: Sequence[Answer], key: Key, seed: int) -> ExperimentResult:
    """Success rate and preference, with binomial tests."""
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    conditions: dict[str, str] = {}
    for test, title, paper in (
        (REAL_OR_NOT, "Right answers", 51.2),
        (PREFERENCE, "AudioLM preferred", 83.3),
    ):
        own = [answer for answer in answers if answer.test == test]
        if not own:
            continue
        found = metrics_of_answers(own, key[test], seed)
        if test == PREFERENCE:  # how often the better one was A says nothing
            found = {k: v for k, v in found.items() if k not in ("a", "b")}
        metrics |= {f"{test.replace('-', '_')}.{name}": f for name, f in found.items()}
        successes = sum(answer.answer == key[test][answer.item] for answer in own)
        for name, metric in found.items():
            whole = name == "all"
            rows.append(
                [
                    f"{title}, {name.replace('_', ' ')}",
                    metric,
                    paper if whole else None,
                    f"{binomial_test(successes, len(own)):.2g}" if whole else None,
                    f"{at_least(successes, len(own)):.2g}" if whole else None,
                ]
            )
        conditions[test] = (
            f"{len({a.rater for a in own})} raters, {len({a.item for a in own})} of "
            f"{len(key[test])} items, {len(own)} answers"
        )
    conditions["further answers"] = f"go into {ANSWERS}, and are counted by the next run"
    header = ["", "Share", "Paper", "p, two-sided", "p, one-sided"]
    note = (
        "p: of a fair coin. The paper's p = 0.23 for 51.2 % of 1000 answers is one-sided. "
        "Answers of one rater, or to one clip, resemble each other: see the intervals over both."
    )
    return ExperimentResult(metrics, [Table("Listening tests", header, rows, note)], [], conditions)


def _settings(request: ExperimentRequest) -> dict[str, Any]:
    """What the clips depend on."""
    return {
        "model": request.model.fingerprint,
        "sampling": {k: s.model_dump(mode="json") for k, s in request.model.sampling.items()},
        "levels": request.model.levels,
        "seed": request.seed,
        "limit": request.limit,
        "options": request.options.listening.model_dump(mode="json"),
        "data": hashlib.sha256(str(request.data.resolve()).encode()).hexdigest()[:16],
    }


def _write(path: Path, audio: Audio) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write(path)


def _write_page(folder: Path, test: ListeningTest) -> None:
    with replacing(folder / "index.html") as temporary:
        temporary.write_text(page(test), encoding="utf-8")
