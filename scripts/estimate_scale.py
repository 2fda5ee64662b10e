"""What a corpus of a given size costs: measured here, and by arithmetic for GPUs.

    python scripts/estimate_scale.py --hours 60000 --gpus 8

First it measures on this machine: how long the codec and the tokenizer of a model take for an hour
of sound, how many steps a second the stages of a small preset make, and how many floating-point
operations each of these is, counted by PyTorch. The counts check a formula; the formula gives the
operations of the large preset; and those, divided by what a GPU is assumed to do, the hours.
Nothing about a GPU is measured here: its peak, and the share of it that is reached, are
assumptions, printed with the result, to be replaced by what is measured where one is.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from audiolm.audio.files import read
from audiolm.codec import Codec, build_codec
from audiolm.codec.discriminators import Discriminators
from audiolm.model_io.folder import load_part
from audiolm.pretrained import example_prompt, find
from audiolm.semantic import SemanticTokenizer
from audiolm.semantic.w2v_bert import W2vBert
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE, SEMANTIC_HOP
from audiolm.stages import Layout, Stage, StageConfig, Streams, build_stage
from audiolm.training.preset import Preset, load_preset
from audiolm.training.sharding import blocks

STEPS_PER_SECOND, FRAMES_PER_SECOND = SAMPLE_RATE // SEMANTIC_HOP, SAMPLE_RATE // CODEC_HOP
BYTES_PER_PARAMETER = 20
"""In training, float32: weights, gradients, two moments of AdamW, averaged weights."""
PASSES = 3
"""A backward pass is twice the work of the forward pass."""
DISCRIMINATOR_PASSES = 9
"""Of a discriminator's forward pass in one step of the codec: in the codec's turn the real and the
made waveform and a backward pass through the latter to the decoder (1 + 1 + 1), in its own turn
both with whole backward passes (3 + 3)."""


def main() -> None:
    """Measure, compute, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--model", default="speech", help="whose codec and tokenizer are timed")
    add("--measured-preset", default="small", help="whose stages are timed")
    add("--preset", default="paper", help="what the costs are of")
    add("--hours", type=float, default=60_000, help="sound in the corpus")
    add("--gpus", type=int, default=8)
    add("--peak-tflops", type=float, default=989.0, help="of a GPU in dense bf16 (H100 SXM: 989)")
    add("--utilisation", type=float, default=0.35, help="share of the peak that is reached")
    add("--price", type=float, help="of a GPU for an hour, to print costs as well")
    add("--seconds", type=float, default=20.0, help="sound that codec and tokenizer are timed on")
    add("--threads", type=int, default=1)
    add("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    large = load_preset(asked.preset)
    measured = {
        "parts": measure_parts(asked.model, asked.seconds),
        "stages": measure_stages(load_preset(asked.measured_preset)),
    }
    costs = estimate(large, asked.hours, asked.gpus, asked.peak_tflops * 1e12 * asked.utilisation)
    report = {
        "assumed": vars(asked),
        "torch": torch.__version__,
        "measured": measured,
        "costs": costs,
        "disk": disk(large, asked.hours),
    }
    print(json.dumps(report) if asked.json else "\n".join(lines(report)))


@contextmanager
def counted(found: list[float]) -> Iterator[None]:
    """Append the floating-point operations of products and convolutions within."""
    with FlopCounterMode(display=False) as counter:
        yield
    found.append(float(counter.get_total_flops()))


def timed(action: Callable[[], object], repeats: int = 2) -> float:
    """The least seconds of some repeats, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def measure_parts(model: str, seconds: float) -> dict[str, dict[str, float]]:
    """What reading a FLAC, codec and tokenizer take for an hour of sound on this machine."""
    folder = find(model)
    codec, tokenizer = load_part(folder, "codec"), load_part(folder, "semantic")
    assert isinstance(codec, Codec)
    assert isinstance(tokenizer, SemanticTokenizer)
    generator = torch.Generator().manual_seed(0)
    waveform = 0.1 * torch.randn(1, round(seconds * SAMPLE_RATE), generator=generator)  # (1, T)
    recording = example_prompt()
    lasts = read(recording).seconds
    took = timed(lambda: read(recording, SAMPLE_RATE), repeats=20)
    told = {"decoding": {"seconds per hour": took * 3600 / lasts, "x real time": lasts / took}}
    with torch.inference_mode():
        for name, action in (
            ("codec", lambda: codec.encode(waveform)),
            ("tokenizer", lambda: tokenizer.encode(waveform)),
        ):
            took, operations = timed(action), list[float]()
            with counted(operations):
                action()
            told[name] = {
                "seconds per hour": took * 3600 / seconds,
                "x real time": seconds / took,
                "GFLOP per second of sound": operations[0] / seconds / 1e9,
                "GFLOP/s reached": operations[0] / took / 1e9,
            }
    return told


def measure_stages(preset: Preset, crops: int = 2) -> dict[str, dict[str, float]]:
    """Training steps of a preset's stages on this machine, with so many crops; and their work."""
    told = {}
    for name in preset.recipe:
        if name not in preset.stages:
            continue
        config, seconds = preset.stages[name], preset.training.stages[name].crop_seconds
        stage = build_stage(name, config).train()
        optimizer = torch.optim.AdamW(stage.parameters())
        streams = random_streams(config, seconds, crops)

        def step(stage: Stage, optimizer: torch.optim.Optimizer, streams: Streams) -> None:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = stage(streams).loss
            loss.backward()
            optimizer.step()

        took, operations = timed(lambda: step(stage, optimizer, streams)), list[float]()  # noqa: B023
        with counted(operations):
            step(stage, optimizer, streams)
        formula = PASSES * crops * forward_operations(stage, positions(config, seconds))
        told[name] = {
            "parameters": parameters(stage),
            "positions": positions(config, seconds),
            "steps/s": 1 / took,
            "crops": crops,
            "GFLOP/s reached": operations[0] / took / 1e9,
            "counted / formula": operations[0] / formula,
        }
    return told


def kept_bytes(name: str, config: StageConfig, seconds: float, layers: int) -> int:
    """What the forward pass of one crop keeps for the backward pass, weights aside."""
    transformer = config.transformer.model_copy(update={"layers": layers})
    stage = build_stage(name, config.model_copy(update={"transformer": transformer})).train()
    weights = {parameter.data_ptr() for parameter in stage.parameters()}
    found: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16):
            loss = stage(random_streams(config, seconds, 1)).loss
        del loss
    return sum(found.values())


def random_streams(config: StageConfig, seconds: float, crops: int) -> Streams:
    """Tokens of so many crops, whichever kinds of them a stage reads; no two equal in a row."""
    layout, steps = config.layout, round(seconds * STEPS_PER_SECOND)
    semantic = (torch.arange(steps) % layout.clusters).repeat(crops, 1)  # (B, S)
    codes = torch.zeros(crops, layout.levels, 2 * steps, dtype=torch.int64)  # (B, Q, F)
    return Streams(semantic, codes, torch.zeros(crops, dtype=torch.bool))


def positions(config: StageConfig, seconds: float) -> int:
    """Positions of one crop: no repeats to remove, so it is the most there can be."""
    streams = random_streams(config, seconds, 1)
    if config.layout.kind == "parallel":
        return round(seconds * FRAMES_PER_SECOND)
    return Layout(config.layout).flatten(streams).ids.shape[1]


def forward_operations(network: nn.Module, length: int) -> float:
    """Floating-point operations of one forward pass over so many positions.

    Two for each weight of a matrix and position, and attention's two products of (L, D) and (L, D).
    Of the output matrices of several kinds each position needs one; embeddings are looked up.
    """
    total = 0.0
    for block in blocks(network):
        matrices = [p for p in block.parameters() if p.ndim == 2]
        total += 2.0 * length * sum(p.numel() for p in matrices)
        width = max(min(p.shape) for p in matrices)
        total += attention_operations(length, width)
    heads = [p for name, p in network.named_parameters() if name.endswith("heads") and p.ndim == 3]
    return total + sum(2.0 * length * p[0].numel() for p in heads)


def attention_operations(length: int, width: int) -> float:
    """Of one layer's two products, all of them: causal attention needs half, and few kernels do."""
    return 4.0 * length**2 * width


def parameters(network: nn.Module) -> int:
    """How many weights there are."""
    return sum(p.numel() for p in network.parameters())


def estimate(
    preset: Preset, hours: float, gpus: int, operations_per_second: float
) -> dict[str, dict[str, float]]:
    """Work, time and memory of every step of a preset's recipe."""
    told: dict[str, dict[str, float]] = {}

    def step(
        name: str, network: nn.Module, of_a_crop: float, training: Any, seconds: float
    ) -> None:
        optimization = training.optimization
        steps = optimization.steps or 0
        work = of_a_crop * optimization.batch_size * steps
        weights = parameters(network)
        told[name] = {
            "parameters": weights,
            "GFLOP a crop": of_a_crop / 1e9,
            "steps": steps,
            "passes over the corpus": steps * optimization.batch_size * seconds / 3600 / hours,
            "EFLOP": work / 1e18,
            "GPU hours": work / operations_per_second / 3600,
            "hours": work / operations_per_second / 3600 / gpus,
            "GB state, none": weights * BYTES_PER_PARAMETER / 1e9,
            "GB state, fsdp": weights * BYTES_PER_PARAMETER / 1e9 / gpus,
        }

    # The codec: counted, on a second of sound; it is small enough to be run here.
    training = preset.training.codec
    codec = build_codec(preset.codec)
    waveform = 0.1 * torch.randn(1, round(training.crop_seconds * SAMPLE_RATE))  # (1, T)
    found: list[float] = []
    with torch.no_grad():
        with counted(found):
            codes = codec.encode(waveform)
            codec.decode(codes)
        discriminators = Discriminators(training.discriminators)
        with counted(found):
            discriminators(waveform)
    of_a_crop = PASSES * found[0] + DISCRIMINATOR_PASSES * found[1]
    step("codec", codec, of_a_crop, training, training.crop_seconds)

    with torch.device("meta"):  # no memory, no numbers: sizes alone
        w2v_bert = W2vBert(preset.w2v_bert)
        stages = {name: build_stage(name, preset.stages[name]) for name in preset.stages}
    seconds = preset.training.w2v_bert.crop_seconds
    work = PASSES * forward_operations(w2v_bert, round(seconds * STEPS_PER_SECOND))
    step("w2v_bert", w2v_bert, work, preset.training.w2v_bert, seconds)

    layers = preset.training.clustering.layer / preset.w2v_bert.conformer.layers
    length = round(seconds * STEPS_PER_SECOND)
    of_an_hour = layers * forward_operations(w2v_bert, length) * 3600 / seconds
    clustered = min(hours, preset.training.clustering.hours or hours)
    for name, sound, more in (
        ("clustering", clustered, 0.0),
        ("tokens", hours, found[0] / 2 / training.crop_seconds * 3600),  # the encoder: about half
    ):
        work = sound * (of_an_hour + more)
        told[name] = {
            "EFLOP": work / 1e18,
            "GPU hours": work / operations_per_second / 3600,
            "hours": work / operations_per_second / 3600 / gpus,
        }
    for name in preset.recipe:
        if name in preset.stages:
            how = preset.training.stages[name]
            length = positions(preset.stages[name], how.crop_seconds)
            of_a_crop = PASSES * forward_operations(stages[name], length)
            step(name, stages[name], of_a_crop, how, how.crop_seconds)
            told[name]["positions"] = length
            transformer = preset.stages[name].transformer
            attention = transformer.layers * attention_operations(length, transformer.width)
            told[name]["attention share"] = PASSES * attention / of_a_crop
            one, two = (kept_bytes(name, preset.stages[name], how.crop_seconds, n) for n in (1, 2))
            told[name]["GB kept a crop"] = (one + (transformer.layers - 1) * (two - one)) / 1e9
            of_a_block = 4 * length * transformer.width  # its input, float32
            again = one + (transformer.layers - 1) * of_a_block
            told[name]["GB kept a crop, recomputed"] = again / 1e9
    return told


def disk(preset: Preset, hours: float) -> dict[str, float]:
    """GB of the corpus as 16-bit samples, and of its tokens."""
    levels = preset.codec.quantizer.levels
    a_second = STEPS_PER_SECOND * (2 + 1) + FRAMES_PER_SECOND * levels * 2  # ids, silent; codes
    return {
        "GB samples": hours * 3600 * SAMPLE_RATE * 2 / 1e9,
        "GB tokens": hours * 3600 * a_second / 1e9,
    }


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The report for people."""
    asked, measured = report["assumed"], report["measured"]
    yield f"measured here: torch {report['torch']}, CPU, {asked['threads']} threads"
    for name, told in measured["parts"].items():
        row = (
            f"  {asked['model']} {name:10} {told['seconds per hour']:8.1f} s for an hour of sound "
            f"({told['x real time']:.0f} x real time)"
        )
        if "GFLOP/s reached" in told:
            row += (
                f", {told['GFLOP per second of sound']:.2f} GFLOP for a second of it, "
                f"{told['GFLOP/s reached']:.1f} GFLOP/s"
            )
        yield row
    for name, told in measured["stages"].items():
        yield (
            f"  {asked['measured_preset']} {name:10} {told['steps/s']:6.2f} steps/s of "
            f"{told['crops']} crops, {told['positions']} positions each, "
            f"{told['parameters'] / 1e6:.1f} M weights, {told['GFLOP/s reached']:.1f} GFLOP/s; "
            f"counted / formula {told['counted / formula']:.2f}"
        )
    yield ""
    yield (
        f"by arithmetic: preset {asked['preset']}, {asked['hours']:g} hours of sound, "
        f"{asked['gpus']} GPUs of {asked['peak_tflops']:g} TFLOP/s, of which "
        f"{100 * asked['utilisation']:g} % are assumed to be reached"
    )
    yield (
        f"  {'step':12} {'M weights':>10} {'GFLOP/crop':>11} {'passes':>8} {'EFLOP':>10} "
        f"{'GPU hours':>10} {'hours':>9} {'GB none':>8} {'GB fsdp':>8}"
        + ("" if asked["price"] is None else f" {'cost':>10}")
    )
    for name, told in report["costs"].items():
        row = f"  {name:12} "
        if "parameters" in told:
            row += (
                f"{told['parameters'] / 1e6:10.1f} {told['GFLOP a crop']:11.1f} "
                f"{told['passes over the corpus']:8.2f} "
            )
        else:
            row += f"{'':10} {'':11} {'':8} "
        row += f"{told['EFLOP']:10.2f} {told['GPU hours']:10.1f} {told['hours']:9.1f} "
        if "parameters" in told:
            row += f"{told['GB state, none']:8.1f} {told['GB state, fsdp']:8.2f}"
        else:
            row += f"{'':8} {'':8}"
        yield row + (
            "" if asked["price"] is None else f" {asked['price'] * told['GPU hours']:10.0f}"
        )
    for name, told in report["costs"].items():
        if "positions" in told:
            yield (
                f"  {name}: {told['positions']:.0f} positions a crop, attention "
                f"{100 * told['attention share']:.0f} % of the work; kept for the backward pass "
                f"{told['GB kept a crop']:.2f} GB a crop, {told['GB kept a crop, recomputed']:.2f} "
                "GB where activations are computed again"
            )
    total = sum(told["GPU hours"] for told in report["costs"].values())
    yield f"  in all {total:.0f} GPU hours, {total / asked['gpus'] / 24:.1f} days"
    yield (
        f"  disk: {report['disk']['GB samples']:.0f} GB as 16-bit samples, "
        f"{report['disk']['GB tokens']:.0f} GB of tokens"
    )


if __name__ == "__main__":
    main()
