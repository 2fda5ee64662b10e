"""`audiolm benchmark`: how fast a model is on this machine.

Every figure is the median of some repeats after one warm-up, on noise that stands for speech: the
time does not depend on what is said.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from audiolm.cli.options import THREADS, Settings, common_options, use_threads

if TYPE_CHECKING:
    from audiolm.model import AudioLM

PROMPT_SECONDS = 3.0
SECONDS = 7.0
STREAMS = 10
"""Streams begun for each repeat: how late the latest begin takes more of them than a median."""


@click.command("benchmark")
@click.argument("name", metavar="[MODEL]", required=False)
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="How often each thing is timed.",
)
@common_options
def command(settings: Settings, name: str | None, repeats: int) -> None:
    """Time MODEL: tokens a second of each stage, codec and tokenizer, and a whole continuation."""
    import torch

    if settings.threads is None:
        use_threads(THREADS)
    lm = settings.load(name)
    report = {
        "model": lm.name,
        "fingerprint": lm.fingerprint,
        "device": str(lm.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "repeats": repeats,
        **measure(lm, settings, repeats),
        "peak_memory_bytes": peak_memory(),
    }
    if lm.device.type == "cuda":
        report["device_name"] = torch.cuda.get_device_name(lm.device)
        report["peak_device_memory_bytes"] = torch.cuda.max_memory_allocated(lm.device)
    settings.tell(report, _lines(report))


def measure(lm: "AudioLM", settings: Settings, repeats: int) -> dict[str, Any]:
    """Times of the parts and of the whole, for a continuation of 7 s after a prompt of 3 s."""
    import torch

    from audiolm.audio.waveform import Audio
    from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP

    length, whole = round(PROMPT_SECONDS * SAMPLE_RATE), PROMPT_SECONDS + SECONDS
    frames, steps = (round(whole * SAMPLE_RATE) // hop for hop in (CODEC_HOP, SEMANTIC_HOP))
    generator = torch.Generator().manual_seed(settings.seed)
    noise = 0.1 * torch.randn(1, round(whole * SAMPLE_RATE), generator=generator)  # (1, T)
    prompt = Audio(noise[0, :length].numpy(), SAMPLE_RATE)
    waveform = noise.to(lm.device)
    sampling = settings.sampling(lm)
    run = lm.pipeline(settings.seed, sampling, levels=lm.codec.levels)

    def median_seconds(action: Callable[[], object]) -> float:
        times = []
        for _ in range(repeats + 1):
            _synchronise(lm)
            started = time.perf_counter()
            action()
            _synchronise(lm)
            times.append(time.perf_counter() - started)
        return statistics.median(times[1:])

    with torch.inference_mode():
        codes = lm.codec.encode(waveform)  # (1, Q, F)
        known = lm.codec.encode(waveform[:, :length])  # (1, Q, F of the prompt)
        ids = lm.semantic.encode(waveform)  # (1, S)
        said = lm.semantic.encode(waveform[:, :length])  # (1, S of the prompt)
        seconds = {
            "codec_encode": median_seconds(lambda: lm.codec.encode(waveform)),
            "codec_decode": median_seconds(lambda: lm.codec.decode(codes)),
            "tokenizer": median_seconds(lambda: lm.semantic.encode(waveform)),
        }
        actions: dict[str, Callable[[], object]] = {
            "semantic": lambda: run.semantic(said, SECONDS, steps),
            "coarse": lambda: run.coarse(ids, known, frames),
            "fine": lambda: run.fine(codes[:, : _coarse_levels(lm)], known),
        }
        stages = {}
        for kind in (kind for kind in actions if kind in lm.stages):
            took = median_seconds(actions[kind])
            stages[kind] = {"seconds": took, "tokens_per_second": _new_tokens(lm, kind) / took}
    total = median_seconds(
        lambda: lm.continuation(prompt, SECONDS, seed=settings.seed, sampling=sampling)
    )
    return {
        "parts_x_real_time": {part: whole / took for part, took in seconds.items()},
        "stages": stages,
        "continuation": {
            "prompt_seconds": PROMPT_SECONDS,
            "seconds": SECONDS,
            "took": total,
            "x_real_time": SECONDS / total,
        },
        "stream": measure_stream(lm, settings, STREAMS * repeats),
    }


def measure_stream(lm: "AudioLM", settings: Settings, count: int) -> dict[str, Any]:
    """How soon a stream begins, prompt and all, over `count` prompts, and how fast it is.

    The time that processors were busy with it is told apart: on a machine that others use too, the
    clock also counts what they do.
    """
    import numpy as np

    from audiolm.audio.waveform import Audio
    from audiolm.shapes import SAMPLE_RATE

    first, busy = [], []
    for number in range(count + 1):  # the first is a warm-up
        generator = np.random.default_rng((settings.seed, number))
        noise = 0.1 * generator.standard_normal(round(PROMPT_SECONDS * SAMPLE_RATE))
        prompt = Audio(noise.astype(np.float32), SAMPLE_RATE)
        started, busy_before = time.perf_counter(), time.process_time()
        chunks = lm.stream(prompt, SECONDS, seed=settings.seed, sampling=settings.sampling(lm))
        beginning = next(chunks)
        first.append(time.perf_counter() - started)
        busy.append(time.process_time() - busy_before)
        if number < count:
            chunks.close()
    for _ in chunks:  # the last one goes on to its end
        pass
    took, busy_took = time.perf_counter() - started, time.process_time() - busy_before
    return {
        "streams": count,
        "first_chunk": {
            "lasts": beginning.seconds,
            "p50": _quantile(first[1:], 0.5),
            "p95": _quantile(first[1:], 0.95),
            "p50_processor": _quantile(busy[1:], 0.5),
        },
        "x_real_time": SECONDS / took,
        "x_real_time_processor": SECONDS / busy_took,
    }


def _quantile(times: list[float], share: float) -> float:
    """The least of the times that `share` of them do not exceed."""
    return sorted(times)[math.ceil(share * len(times)) - 1]


def peak_memory() -> int | None:
    """The most memory that this process has held, in bytes; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _coarse_levels(lm: "AudioLM") -> int:
    levels: int = lm.stages["fine"].config.layout.coarse_levels
    return levels


def _new_tokens(lm: "AudioLM", kind: str) -> int:
    """How many tokens a stage draws for the continuation."""
    stage = lm.stages[kind]
    if stage.layout.roles.semantic == "predicted":
        no_repeats = stage.config.layout.remove_repeats
        return round(SECONDS * (stage.config.semantic_rate if no_repeats else 25))
    return round(SECONDS * 50) * len(stage.layout.kinds)


def _synchronise(lm: "AudioLM") -> None:
    """Wait until the device has done what it was given: a GPU's calls return at once."""
    import torch

    if lm.device.type == "cuda":
        torch.cuda.synchronize(lm.device)
    elif lm.device.type == "mps":
        torch.mps.synchronize()


def _lines(report: dict[str, Any]) -> list[str]:
    whole = report["continuation"]
    lines = [f"{report['model']} on {report['device']}, {report['threads']} threads"]
    lines += [
        f"{part:14} {speed:10.1f} x real time"
        for part, speed in report["parts_x_real_time"].items()
    ]
    lines += [
        f"stage {kind:8} {stage['tokens_per_second']:10.0f} tokens/s ({stage['seconds']:.2f} s)"
        for kind, stage in report["stages"].items()
    ]
    lines.append(
        f"continuation   {whole['x_real_time']:10.2f} x real time ({whole['seconds']:g} s after "
        f"{whole['prompt_seconds']:g} s of prompt: {whole['took']:.2f} s)"
    )
    stream = report["stream"]
    first = stream["first_chunk"]
    lines += [
        f"stream         {stream['x_real_time']:10.2f} x real time "
        f"({stream['x_real_time_processor']:.2f} x by the processor's clock)",
        f"first {first['lasts']:4.2f} s   {first['p50']:10.3f} s after the call, p95 "
        f"{first['p95']:.3f} s, of {stream['streams']} prompts ({first['p50_processor']:.3f} s by "
        "the processor's clock)",
    ]
    if report["peak_memory_bytes"] is not None:
        lines.append(f"peak memory    {report['peak_memory_bytes'] / 1e6:10.0f} MB")
    return lines
