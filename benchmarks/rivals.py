"""The coarse stage beside audiolm-pytorch's, beside GPT-2, and beside what memory allows."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from audiolm.stages import AutoregressiveStage
from audiolm.stages.cache import quick_weights
from document import Section, number, ratio, share
from machine import bandwidth, threads
from stage_speed import PROMPT_FRAMES, Size, decoding, stage_of
from timing import in_turns

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / "build" / "benchmarks" / "rivals"
PACKAGES = (
    "audiolm-pytorch==2.4.0",
    "transformers==5.24.0",
    "tokenizers==0.23.3",
    "accelerate==1.15.0",
    "einops==0.8.2",
    "einx==0.4.3",
    "ema-pytorch==0.8.3",
    "encodec==0.1.1",
    "frozendict==2.5.1",
    "gateloop-transformer==0.2.5",
    "hyper-connections==0.4.11",
    "local-attention==1.11.2",
    "loguru==0.7.3",
    "pytorch-warmup==0.2.0",
    "regex==2026.11.19",
    "rotary-embedding-torch==0.9.1",
    "torch-einops-utils==0.2.0",
    "vector-quantize-pytorch==1.32.0",
)
"""What audiolm-pytorch truly imports, beyond what `pip install -e ".[dev]"` brings. Installed
without their own dependencies: fairseq no longer installs, and PyTorch shall be ours."""
RIVALS = ("audiolm-pytorch", "gpt2")
FRAMES = {"audiolm": 26, "gpt2": 26, "audiolm-pytorch": 8}
"""Made in one turn: few where a token takes long."""


class UnavailableError(Exception):
    """A rival cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Rival:
    """Another program's network, in a process of its own that waits for its turns."""

    process: subprocess.Popen[str]
    version: str

    def seconds_a_token(self, frames: int) -> float:
        """Let it make so many frames."""
        assert self.process.stdin is not None
        print(frames, file=self.process.stdin, flush=True)
        return float(json.loads(_line(self.process)))


def environment() -> Path:
    """The Python of an environment with the rivals, made if it is not there; PyTorch is ours.

    Raises:
        UnavailableError: it cannot be made, as without a network.
    """
    python, marker = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "packages.json"
    wanted = json.dumps(PACKAGES)
    if marker.exists() and marker.read_text() == wanted:
        return python
    ours = str(Path(torch.__file__).parents[1])
    _do([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)])
    where = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    packages = Path(_do([str(python), "-c", where]).strip())
    (packages / "ours.pth").write_text(ours)  # looked into last
    _do([str(python), "-m", "pip", "install", "--quiet", "--no-deps", *PACKAGES])
    marker.write_text(wanted)
    return python


def _do(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UnavailableError(f"{' '.join(command[:5])} ...: {last}")
    return done.stdout


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise UnavailableError(f"{' '.join(map(str, process.args[1:]))} stopped")  # type: ignore[index]
    return line


@contextmanager
def rival(python: Path, name: str, size: Size, count: int) -> Iterator[Rival]:
    """One of `RIVALS` of a size, on so many threads."""
    program = Path(__file__).with_name("rival.py")
    command = [str(python), str(program), name, *map(str, (size.layers, size.width, count))]
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
        with process:
            try:
                told = json.loads(_line(process))
                yield Rival(process, f"{told['package']} {told['version']}")
            except UnavailableError as error:
                complaints.seek(0)
                last = (complaints.read().strip().splitlines() or ["no message"])[-1]
                raise UnavailableError(f"{error}: {last}") from None
            finally:
                process.kill()


def bytes_a_token(stage: AutoregressiveStage, positions: int) -> int:
    """What one cached step must read: each matrix once, one head, and keys and values so far."""
    config = stage.transformer.config
    of_a_weight = (stage.decoding_weights or quick_weights(torch.device("cpu"))).itemsize
    matrices = sum(p.numel() for p in stage.transformer.blocks.parameters() if p.ndim > 1)
    head = stage.transformer.heads[0].numel() * stage.transformer.heads.element_size()
    kept = 2 * config.layers * config.width * positions * 4  # float32
    return matrices * of_a_weight + head + kept


def measure(
    sizes: tuple[Size, ...], cores: Sequence[int], repeats: int, bandwidth_repeats: int
) -> Section:
    """Tokens a second of three programs, and of a machine that does nothing but read."""
    rows, versions, notes = [], set[str](), []
    python: Path | None = None
    try:
        python = environment()
    except UnavailableError as error:
        notes.append(f"Others are left out, their environment cannot be made: {error}")
    for count in cores:
        with threads(count):
            moved = bandwidth(bandwidth_repeats)
            for size in sizes:
                stage = stage_of("coarse", size)
                assert isinstance(stage, AutoregressiveStage)
                run, tokens = decoding("coarse", stage, FRAMES["audiolm"])
                actions: dict[str, Callable[[], float]] = {"audiolm": _per_token(run, tokens)}
                with ExitStack() as stack:
                    for name in RIVALS:
                        if python is None:
                            continue
                        try:
                            other = stack.enter_context(rival(python, name, size, count))
                        except UnavailableError as error:
                            notes.append(f"{name} at {size} is left out: {error}")
                            continue
                        versions.add(other.version)
                        actions[name] = partial(other.seconds_a_token, FRAMES[name])
                    times = in_turns(actions, repeats)
                frames = PROMPT_FRAMES + FRAMES["audiolm"]
                positions = 1 + frames // 2 + 4 * (frames - FRAMES["audiolm"] // 2)  # on average
                floor = bytes_a_token(stage, positions) / moved
                row = [str(size), str(count), number(1 / median(times["audiolm"]))]
                for name in RIVALS:
                    others = times.get(name)
                    row.append(number(1 / median(others)) if others else number(None))
                    row.append(ratio(_times_as_fast(times["audiolm"], others) if others else None))
                row += [number(1 / floor), share(floor / median(times["audiolm"]))]
                rows.append(row)
            notes.append(f"Memory with {count} thread{'s' * (count > 1)}: {moved / 1e9:.1f} GB/s.")
    return Section(
        "The coarse stage beside others, and beside what memory allows",
        "Tokens a second at batch 1 after 88 semantic ids and 3 s of codes; reading these does "
        "not count, sampling does. The programs take turns, each in a process of its own with the "
        f"same PyTorch and as many threads; medians of {repeats} turns, ratios turn by turn. "
        "audiolm-pytorch: `CoarseTransformerWrapper.generate` with its cache, as it comes (one "
        "head of keys and values, four residual streams). GPT-2: transformers' with its cache in a "
        "plain loop, one output head over all 5122 ids. Floor: the bytes of weights, output head "
        "and keys and values that a token needs, over the memory's measured bandwidth (the better "
        "of a sum over 512 MiB and a copy of it); a network that fits the processor's cache can "
        "be faster than that.",
        [
            "size",
            "threads",
            "audiolm",
            "audiolm-pytorch",
            "audiolm is",
            "GPT-2",
            "audiolm is",
            "floor",
            "share of the floor's speed",
        ],
        rows,
        [*notes, *([f"With {', '.join(sorted(versions))}."] if versions else [])],
    )


def _per_token(run: Callable[[], float], tokens: int) -> Callable[[], float]:
    return lambda: run() / tokens


def _times_as_fast(ours: Sequence[float], others: Sequence[float]) -> float:
    return median(other / own for own, other in zip(ours, others, strict=True))
