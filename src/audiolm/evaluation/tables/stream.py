"""Streams of many minutes (not in the paper): do they fall silent, or go round in circles?

Each prompt is streamed for as long as asked, and measured minute by minute
(`metrics/long_form.py`), as it sounds: semantic ids are those of the sound. Beside it stands a
minute of the prompt's speaker, recordings one after the other through the codec: what speech is.

By default these are a few minutes of a few prompts. An hour of one prompt, minute by minute:

    audiolm evaluate speech --data dev --out hour --only stream --limit 1 --set stream.minutes=60
"""

import numpy as np

from audiolm.audio.files import read
from audiolm.audio.silence import DEPTH
from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.generated import levels_made, needed
from audiolm.evaluation.metrics import long_form
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.report import plots
from audiolm.evaluation.report.results import ExperimentResult, Table, TableCell
from audiolm.evaluation.selection import between, prompts_of, spread_over_speakers
from audiolm.evaluation.tables.contract import ExperimentRequest
from audiolm.shapes import SAMPLE_RATE

UNITS = {"level": "dB", "silence": "%", "distinct": "ids", "fresh": "%"}

Heard = list[tuple[str, dict[str, list[float]]]]
"""Of each prompt its speaker, and what was measured of its minutes."""


def evaluate(request: ExperimentRequest) -> ExperimentResult:
    """Level, silence, distinct ids and fresh runs of ids of every minute.

    Raises:
        Skipped: no recording is long enough, or the model lacks the stages.
    """
    options, model = request.options.stream, request.model
    needed(model, "semantic", "coarse")
    everything = request.utterances()
    longest = between(everything, options.prompt_seconds, settings="stream.prompt_seconds")
    count = options.prompts if request.limit is None else min(options.prompts, request.limit)
    chosen = spread_over_speakers(longest, count, request.seed)
    prompts = prompts_of(chosen, options.prompt_seconds)
    generated = request.generated()
    seconds = options.minutes * options.minute
    streams: Heard = []
    originals: Heard = []
    for number, (utterance, prompt) in enumerate(zip(chosen, prompts, strict=True), start=1):
        rendered = model.reconstruction(prompt, levels_made(model))
        stream = generated.stream(prompt, seconds, request.seed)
        streams.append((utterance.speaker, _measured(request, rendered, stream)))
        original = _original(request, everything, utterance)
        if original is not None:
            originals.append((utterance.speaker, _measured(request, rendered, original)))
        request.progress(number / len(chosen))
    conditions = {
        "prompts": f"{len(chosen)}, the first {options.prompt_seconds:g} s of a recording",
        "streams": f"one of each, of {options.minutes} minutes of {options.minute:g} s",
        "level": "dB above the prompt's",
        "silence": f"steps of 40 ms more than {DEPTH:g} dB below the prompt's loud parts",
        "fresh": f"runs of {long_form.RUN} semantic ids that did not occur before in the minute",
    }
    return _result(request, {"original": originals, "audiolm": streams}, conditions)


def _measured(request: ExperimentRequest, prompt: Audio, sound: Audio) -> dict[str, list[float]]:
    minutes = long_form.minutes_of(sound, request.options.stream.minute)
    ids = [request.model.tokenize(minute).semantic.numpy() for minute in minutes]
    return long_form.evaluate(prompt, minutes, ids)


def _original(
    request: ExperimentRequest, everything: list[Utterance], utterance: Utterance
) -> Audio | None:
    """A minute of a speaker's recordings through the codec; None where there is not so much."""
    length = round(request.options.stream.minute * SAMPLE_RATE)
    pieces: list[np.ndarray] = []
    for other in everything:
        if other.speaker == utterance.speaker and sum(map(len, pieces)) < length:
            pieces.append(read(other.recording.path, SAMPLE_RATE).samples)
    if sum(map(len, pieces)) < length:
        return None
    minute = Audio(np.concatenate(pieces)[:length], SAMPLE_RATE)
    return request.model.reconstruction(minute, levels_made(request.model))


def _result(
    request: ExperimentRequest, heard: dict[str, Heard], conditions: dict[str, str]
) -> ExperimentResult:
    metrics: dict[str, Metric] = {}
    rows: list[list[TableCell]] = []
    curves: dict[str, dict[float, Metric]] = {name: {} for name in UNITS}
    for kind, streams in heard.items():
        speakers = [speaker for speaker, _ in streams]
        minutes = len(streams[0][1]["level"]) if streams else 0
        for minute in range(minutes):
            cells = {
                name: mean_metric(
                    [found[name][minute] for _, found in streams],
                    speakers,
                    unit=unit,
                    seed=request.seed,
                )
                for name, unit in UNITS.items()
            }
            title = "Recordings, through the codec" if kind == "original" else str(minute + 1)
            rows.append([title, *cells.values()])
            for name, metric in cells.items():
                metrics[f"{name}_minute_{minute + 1}.{kind}"] = metric
                if kind == "audiolm":
                    curves[name][minute + 1] = metric
    columns = ["Minute", "Level", "Silence", "Distinct semantic ids", "Fresh runs of ids"]
    drawn = [
        path
        for name in ("silence", "fresh")
        for path in plots.lines(
            request.out / f"{name}.svg", "minute", f"{name}, {UNITS[name]}", {name: curves[name]}
        )
    ]
    table = Table("Long streams, minute by minute", columns, rows)
    return ExperimentResult(metrics, [table], drawn, conditions)
