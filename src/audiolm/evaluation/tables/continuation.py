"""Continuations of prompts, and the acoustic-only baseline beside them (sections IV-F, III-B).

Four questions about what follows a prompt of 3 s. Is it the prompt's voice? A classifier says, of
the whole and of every second: does the voice drift?
Does it hang together as speech does? The semantic stage says how many bits a semantic token of it
takes, once it is tokenized again. Does it have words? A recogniser writes some down; counted are
how many there are in a second, and which share other speakers of the corpus use. That share falls
for babble where the recogniser spells what it hears (CTC); one with a language model of its own,
like pocketsphinx, hears frequent words in babble too. And does it go on at all? Counted are the
steps that are silent beside the prompt. The recording's own continuation, through the codec, shows
how far each metric could get.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from audiolm.audio.files import read
from audiolm.audio.silence import DEPTH
from audiolm.audio.waveform import Audio
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import Utterance, needs_speech
from audiolm.evaluation.generated import Baseline, coarse_maker, levels_made, needed
from audiolm.evaluation.metrics.error_rates import normalise_text
from audiolm.evaluation.metrics.silence import silent_steps
from audiolm.evaluation.metrics.statistics import Metric, mean_metric, ratio_metric
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.selection import between, prompts_of, spread_over_speakers
from audiolm.evaluation.tables import voice_by_second
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.evaluation.tables.recogniser import POCKETSPHINX, Recogniser, load_recogniser
from audiolm.evaluation.tables.voice_by_second import VoiceBySecond
from audiolm.evaluation.tables.voices import PAPER, Voices, learn_voices
from audiolm.evaluation.transcripts import transcribed, transcript_files
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP
from audiolm.stages import Streams

if TYPE_CHECKING:
    from audiolm.model import AudioLM

SHORTEST_REST = 1.0
"""Seconds of a recording behind its prompt, at least: what the classifier hears at once."""

NAMES = {
    "original": "Original, through the codec",
    "audiolm": "AudioLM",
    "acoustic_only": "Acoustic-only baseline",
    "shuffled": "Original, its semantic tokens in random order",
}


@dataclass
class Measurements:
    """What was measured of one kind of continuation, item by item."""

    speakers: list[str] = field(default_factory=list)
    same_voice: list[bool] = field(default_factory=list)
    bits: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    words: list[float] = field(default_factory=list)
    known_words: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    silent: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Instruments:
    """What sound is measured with; the last two may be absent."""

    model: "AudioLM"
    voices: Voices | None
    recogniser: Recogniser | None
    users: dict[str, set[str]]
    """By word: the speakers that say it somewhere in the corpus."""

    def measure(self, whole: Audio, seconds: float, said_by: Utterance, into: Measurements) -> None:
        """Measure the last `seconds` of prompt and continuation."""
        rest = whole.last(seconds)
        into.speakers.append(said_by.speaker)
        silent = silent_steps(whole, seconds)
        into.silent.append(float(silent.sum()))
        into.steps.append(len(silent))
        if self.voices is not None:
            into.same_voice.append(self.voices.classifier.classify(rest) == said_by.speaker)
        ids = self.model.tokenize(whole).semantic  # (S,)
        bits, tokens = conditional_bits(self.model, ids, whole.seconds - seconds)
        into.bits.append(bits)
        into.tokens.append(tokens)
        if self.recogniser is not None:
            words = normalise_text(self.recogniser.transcribe(rest)).split()
            known = [w for w in words if self.users.get(w, set()) - {said_by.speaker}]
            into.words.append(len(words))
            into.known_words.append(len(known))
            into.seconds.append(rest.seconds)


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Metrics for AudioLM, its baseline and the recordings themselves.

    Raises:
        Skipped: no recording is long enough, the model lacks the stages, or the recordings are
            music.
    """
    options, model = request.options.continuation, request.model
    needed(model, "semantic", coarse_maker(model, options))
    conditions: dict[str, str] = {}
    everything = request.utterances()
    needs_speech(request.data, everything, "the table `music` measures their continuations")
    voices = _voices(request, conditions)
    recogniser, users = _words(request, everything, conditions)
    candidates = everything if voices is None else voices.validation
    longest = between(
        candidates,
        options.prompt_seconds + SHORTEST_REST,
        settings="continuation.prompt_seconds",
    )
    chosen = spread_over_speakers(longest, request.limit, request.seed)
    prompts = prompts_of(chosen, options.prompt_seconds)
    instruments = Instruments(model, voices, recogniser, users)
    by_second = None if voices is None else VoiceBySecond(voices.classifier)
    measured = {"original": Measurements(), "shuffled": Measurements()}
    generator = torch.Generator().manual_seed(request.seed)

    for number, utterance in enumerate(chosen):
        audio = read(utterance.recording.path, SAMPLE_RATE)
        whole = model.reconstruction(
            audio.first(options.prompt_seconds + options.seconds), levels_made(model)
        )
        rest = whole.seconds - options.prompt_seconds
        instruments.measure(whole, rest, utterance, measured["original"])
        if by_second is not None:
            by_second.hear("original", whole, rest, utterance.speaker)
        _measure_shuffled(model, whole, rest, utterance, generator, measured["shuffled"])
        request.progress(0.2 + 0.1 * (number + 1) / len(chosen))

    generated = request.generated(options)
    kinds: list[tuple[str, Baseline | None]] = [
        ("audiolm", None),
        ("acoustic_only", "acoustic-only"),
    ]
    if not options.baseline or "acoustic_only" not in model.stages:
        kinds = kinds[:1]
        conditions["baseline"] = "none: not asked for, or the model has no stage acoustic_only"
    done, rounds = 0, len(kinds) * options.samples
    for kind, baseline in kinds:
        measured[kind] = Measurements()
        for sample in range(options.samples):
            answers = generated.continuations(
                prompts, options.seconds, request.seed + sample, baseline
            )
            for utterance, answer in zip(chosen, answers, strict=True):
                instruments.measure(answer, options.seconds, utterance, measured[kind])
                if by_second is not None:
                    by_second.hear(kind, answer, options.seconds, utterance.speaker)
            done += 1
            request.progress(0.3 + 0.7 * done / rounds)

    conditions |= {
        "prompts": f"{len(chosen)}, the first {options.prompt_seconds:g} s of a recording",
        "continuations": f"{options.samples} of {options.seconds:g} s each",
        "silence": f"steps of 40 ms more than {DEPTH:g} dB below the prompt's loud parts",
        "bits": "of the semantic stage, given the prompt; what is generated is drawn at a low "
        "temperature and so takes fewer bits than speech does",
    }
    result = _result(measured, conditions, request.seed)
    if by_second is not None:
        seconds = by_second.metrics(request.seed)
        result.metrics.update(seconds)
        result.tables.append(voice_by_second.table(seconds))
        result.plots.extend(voice_by_second.drawn(seconds, request.out / "voice.svg"))
    return result


def inputs(request: ExperimentRequest) -> dict[str, Any]:
    """What the metrics of words want: once it is there, the table is made again."""
    name = request.options.continuation.recogniser
    if not name:
        return {}
    package = name if name == POCKETSPHINX else "transformers"
    return {
        "recogniser": find_spec(package) is not None,
        "transcripts": bool(transcript_files(request.data)),
    }


def conditional_bits(
    model: "AudioLM", ids: torch.Tensor, prompt_seconds: float
) -> tuple[float, int]:
    """Bits that the semantic stage takes for what follows a prompt, and for how many tokens.

    Args:
        model: whose semantic stage judges.
        ids: (S,) of prompt and continuation, on the 25 Hz clock.
        prompt_seconds: how much of it is the prompt.
    """
    stage = model.stages["semantic"]
    known = round(prompt_seconds * SAMPLE_RATE / SEMANTIC_HOP)
    judged = stage.log_likelihood(Streams(semantic=ids[None].to(model.device)))
    nats = -judged.per_token[0][judged.predicted[0]]  # (tokens,)
    # Without repeats, a prompt has as many tokens as it has changes.
    if stage.config.layout.remove_repeats:
        known = len(torch.unique_consecutive(ids[:known]))
    return float(nats[known:].sum()) / math.log(2), len(nats[known:])


def words_by_speaker(everything: Sequence[Utterance]) -> dict[str, set[str]]:
    """Each word of the transcripts, and who says it."""
    users: dict[str, set[str]] = {}
    for utterance in everything:
        for word in normalise_text(utterance.text or "").split():
            users.setdefault(word, set()).add(utterance.speaker)
    return users


def _measure_shuffled(
    model: "AudioLM",
    whole: Audio,
    seconds: float,
    said_by: Utterance,
    generator: torch.Generator,
    into: Measurements,
) -> None:
    """What the bits are when there is no order in the tokens: the worst that can be."""
    ids = model.tokenize(whole).semantic  # (S,)
    prompt = whole.seconds - seconds
    known = round(prompt * SAMPLE_RATE / SEMANTIC_HOP)
    rest = ids[known:]
    order = torch.randperm(len(rest), generator=generator)
    bits, tokens = conditional_bits(model, torch.cat([ids[:known], rest[order]]), prompt)
    into.speakers.append(said_by.speaker)
    into.bits.append(bits)
    into.tokens.append(tokens)


def _voices(request: ExperimentRequest, conditions: dict[str, str]) -> Voices | None:
    try:
        voices = learn_voices(request, lambda share: request.progress(0.2 * share))
    except (Skipped, CorpusError) as error:
        conditions["voices"] = f"not measured: {error}"
        return None
    conditions["voices"] = f"{len(voices.classifier.classes)} to tell apart, as for `speaker`"
    return voices


def _words(
    request: ExperimentRequest, everything: Sequence[Utterance], conditions: dict[str, str]
) -> tuple[Recogniser | None, dict[str, set[str]]]:
    """A recogniser and who says which word, where there are both; conditions say what is wrong."""
    name = request.options.continuation.recogniser
    try:
        if not name:
            raise Skipped("no recogniser is asked for", "set continuation.recogniser")
        users = words_by_speaker(transcribed(everything, request.data)[0])
        recogniser = load_recogniser(name, request.model.device)
    except (Skipped, CorpusError) as error:
        conditions["words"] = f"not measured: {error}"
        return None, {}
    conditions["words"] = (
        f"as {recogniser.name} hears them; known are those that other speakers use"
    )
    return recogniser, users


def _result(
    measured: dict[str, Measurements], conditions: dict[str, str], seed: int
) -> ExperimentResult:
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    for kind, name in NAMES.items():
        if kind not in measured:
            continue
        one = measured[kind]
        cells: dict[str, Metric] = {}
        if one.same_voice:
            paper = PAPER["continuation"] if kind == "audiolm" else None
            cells["voice"] = mean_metric(
                one.same_voice, one.speakers, unit="%", scale=100, paper=paper, seed=seed
            )
        if sum(one.tokens):
            cells["bits"] = ratio_metric(
                one.bits, one.tokens, one.speakers, unit="bits/token", seed=seed
            )
        if sum(one.words):
            cells["known_words"] = ratio_metric(
                one.known_words, one.words, one.speakers, unit="%", scale=100, seed=seed
            )
        if one.seconds:
            cells["words_per_second"] = ratio_metric(
                one.words, one.seconds, one.speakers, unit="words/s", seed=seed
            )
        if sum(one.steps):
            cells["silence"] = ratio_metric(
                one.silent, one.steps, one.speakers, unit="%", scale=100, seed=seed
            )
        metrics |= {f"{measure}.{kind}": metric for measure, metric in cells.items()}
        columns = ("voice", "bits", "known_words", "words_per_second", "silence")
        rows.append([name, *(cells.get(measure) for measure in columns)])
    header = ["Continuation", "Speaker's voice", "Semantic bits", "Known words", "Words", "Silence"]
    return ExperimentResult(metrics, [Table("Continuations", header, rows)], conditions=conditions)
