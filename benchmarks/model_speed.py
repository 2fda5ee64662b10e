"""The bundled model as a whole: alone and beside others, both ways of making codes, batches."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from statistics import median
from typing import Any

import numpy as np

from audiolm.audio.waveform import Audio
from audiolm.model import AudioLM
from audiolm.shapes import SAMPLE_RATE
from audiolm.stages import MAKERS, Acoustic, ParallelStage, build_stage
from audiolm.training.preset import load_preset
from document import Section, number
from machine import busy_process, threads
from timing import in_turns, run_command, timed

PROMPT_SECONDS, SECONDS = 3.0, 7.0


def measure_conditions(model: str, cores: int, repeats: int, quick: bool) -> Section:
    """`audiolm benchmark` on one core, on all, and with a process that computes beside it."""
    # Name, cores that it is kept to, threads, whether another process computes beside it.
    conditions: list[tuple[str, int | None, int, bool]] = [("one core", 1, 1, False)]
    if cores > 1 and not quick:
        conditions += [
            (f"{cores} cores", cores, cores, False),
            ("one thread beside a busy process", None, 1, True),
            (f"{cores} threads beside a busy process", None, cores, True),
        ]
    reports = []
    for _, kept_to, count, beside in conditions:
        command = [sys.executable, "-m", "audiolm", "benchmark", model, "--json"]
        command += ["--repeats", str(repeats), "--threads", str(count)]
        with busy_process() if beside else nullcontext():
            reports.append(json.loads(run_command(command, kept_to).output))
    rows = [[name, *(number(tell(one)) for one in reports)] for name, tell in _rows(reports[0])]
    streams = reports[0]["stream"]["streams"]
    return Section(
        f"The model `{reports[0]['model']}`, alone and beside a busy process",
        f"`audiolm benchmark --repeats {repeats} --threads N`: 7 s after a prompt of 3 s, medians; "
        f"the first chunk of a stream of {streams} prompts, reading the prompt included. The busy "
        f"process multiplies matrices on one thread; {cores} cores are there.",
        ["", *(name for name, *_ in conditions)],
        rows,
    )


def _rows(report: dict[str, Any]) -> list[tuple[str, Callable[[dict[str, Any]], float | None]]]:
    """Names of rows, and what each tells of a report."""

    def at(*keys: str, factor: float = 1.0) -> Callable[[dict[str, Any]], float | None]:
        def tell(report: dict[str, Any]) -> float | None:
            value: Any = report
            for key in keys:
                value = value[key]
            return None if value is None else factor * float(value)

        return tell

    first = "stream", "first_chunk"
    return [
        *(
            (f"{part.replace('_', ', ')}, x real time", at("parts_x_real_time", part))
            for part in report["parts_x_real_time"]
        ),
        *(
            (f"stage {kind}, tokens/s", at("stages", kind, "tokens_per_second"))
            for kind in report["stages"]
        ),
        ("continuation, seconds for 7 s", at("continuation", "took")),
        ("continuation, x real time", at("continuation", "x_real_time")),
        (f"first {report['stream']['first_chunk']['lasts']:g} s of a stream, ms, p50",
         at(*first, "p50", factor=1e3)),
        ("the same, p95", at(*first, "p95", factor=1e3)),
        ("stream, x real time", at("stream", "x_real_time")),
        ("peak memory, MB", at("peak_memory_bytes", factor=1e-6)),
    ]  # fmt: skip


def with_parallel_stage(lm: AudioLM) -> tuple[AudioLM, str]:
    """The model with both ways of making codes, and what is to be said of that.

    How long the parallel stage takes depends on its size and passes, not on what it has learnt.
    """
    if MAKERS["parallel"] in lm.stages:
        return lm, ""
    preset = load_preset("small").stages["parallel"]
    own = lm.stages["coarse"].config
    layout = preset.layout.model_copy(
        update={name: getattr(own.layout, name) for name in _SAME_IDS}
    )
    passes = (16,) + (1,) * (layout.coarse_levels - 1)
    changes = {
        "layout": layout,
        "passes": passes,
        "codec_fingerprint": own.codec_fingerprint,
        "semantic_fingerprint": own.semantic_fingerprint,
    }
    stage = build_stage("parallel", preset.model_copy(update=changes))
    assert isinstance(stage, ParallelStage)
    both = AudioLM(lm.codec, lm.semantic, {**lm.stages, "parallel": stage}, lm.name, lm.info)
    network = preset.transformer
    said = (
        f"`{lm.name}` has no parallel stage: one of random weights stands in "
        f"({network.layers} x {network.width}, passes {', '.join(map(str, passes))})."
    )
    return both, said


_SAME_IDS = ("clusters", "codebook_size", "coarse_levels", "levels")


def noise(seed: int) -> Audio:
    """A prompt: how long things take does not depend on what is said."""
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(PROMPT_SECONDS * SAMPLE_RATE))
    return Audio(samples.astype(np.float32), SAMPLE_RATE)


def measure_ways(lm: AudioLM, cores: Sequence[int], repeats: int, seconds: float) -> Section:
    """A whole continuation, its coarse codes made in either way."""
    both, said = with_parallel_stage(lm)
    rows, prompt = [], noise(0)
    for count in cores:
        with threads(count):
            times = in_turns(
                {way: timed(_continuing(both, [prompt], seconds, way)) for way in MAKERS}, repeats
            )
        one, other = (median(times[way]) for way in ("autoregressive", "parallel"))
        rows.append([str(count), *map(number, (one, seconds / one, other, seconds / other))])
    return Section(
        "End to end: coarse codes one after the other, and in parallel",
        f"`lm.continuation` of {seconds:g} s after 3 s, reading the prompt and decoding included; "
        f"both ways in turns, medians of {repeats}.",
        ["threads", "autoregressive, s", "x real time", "parallel, s", "x real time"],
        rows,
        [said] if said else [],
    )


def measure_batches(lm: AudioLM, sizes: Sequence[int], repeats: int, seconds: float) -> Section:
    """Several prompts at once."""
    both, said = with_parallel_stage(lm)
    rows = []
    with threads(1):
        for size in sizes:
            prompts = [noise(number) for number in range(size)]
            times = in_turns(
                {way: timed(_continuing(both, prompts, seconds, way)) for way in MAKERS}, repeats
            )
            took = [median(times[way]) for way in ("autoregressive", "parallel")]
            told = [text for one in took for text in (number(one), number(size * seconds / one))]
            rows.append([str(size), *told])
    return Section(
        "Several prompts at once",
        f"`lm.continuation` of a list, {seconds:g} s after 3 s each, one thread; all sound that is "
        f"made counts. Medians of {repeats}, both ways in turns.",
        ["prompts", "autoregressive, s", "x real time", "parallel, s", "x real time"],
        rows,
        [said] if said else [],
    )


def _continuing(
    lm: AudioLM, prompts: list[Audio], seconds: float, acoustic: Acoustic
) -> Callable[[], object]:
    return lambda: lm.continuation(prompts, seconds, acoustic=acoustic)
