"""How fast everything is on this machine, as one Markdown document.

    python benchmarks/run.py --out docs/PERFORMANCE.md     # a quiet machine, a quarter of an hour
    python benchmarks/run.py --quick --only stages         # tiny networks: does the program run?

Each question is a section with its table: a module beside this one. Of a question that fails the
document says so, and the others are answered. The first full run needs a network, for the
environment of the programs that are compared (`rivals.py`); without one they are left out.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import torch

import command_speed
import model_speed
import rivals
import stage_speed
import training_speed
from audiolm.atomic import replacing
from audiolm.model_io.manifest import read_manifest
from audiolm.pretrained import find, load
from audiolm.training.model_parts import made_by
from document import Section, markdown
from machine import Machine, describe


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 where a question failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, help="where the document goes; printed when not given")
    add("--model", default="speech", help="a bundled name or a folder")
    add("--only", help=f"some of {','.join(QUESTIONS)}")
    add("--repeats", type=int, default=3, help="of everything that is timed")
    add("--quick", action="store_true", help="tiny networks, one repeat: the figures mean nothing")
    asked = parser.parse_args(arguments)
    names = asked.only.split(",") if asked.only else list(QUESTIONS)
    unknown = [name for name in names if name not in QUESTIONS]
    if unknown:
        parser.error(f"--only: no question {', '.join(unknown)}; there are {', '.join(QUESTIONS)}")
    if asked.out and not asked.out.parent.is_dir():
        parser.error(f"--out: there is no folder {asked.out.parent}")
    if asked.quick:
        asked.repeats = 1

    machine = describe()
    if machine.is_busy:
        print(f"warning: {_busy(machine)}", file=sys.stderr)
    sections, took, failed = [], {}, []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        begun = time.monotonic()
        try:
            sections.append(QUESTIONS[name](asked, machine))
        except Exception as error:  # a quarter of an hour of other answers shall not be lost
            traceback.print_exc()
            failed.append(name)
            sections.append(Section(name, f"Could not be measured: {error}", [], []))
        took[name] = time.monotonic() - begun
    text = markdown(opening(asked, machine), sections, closing(took))
    if asked.out is None:
        print(text, end="")
    else:
        with replacing(asked.out) as path:
            path.write_text(text)
    return 1 if failed else 0


def opening(asked: argparse.Namespace, machine: Machine) -> str:
    """What was run, where."""
    command = "python benchmarks/run.py" + (" --quick" if asked.quick else "")
    memory = f", {machine.memory_bytes / 2**30:.0f} GiB" if machine.memory_bytes else ""
    load = f", load average {machine.load:.2f} at the start" if machine.load is not None else ""
    capability = torch.backends.cpu.get_cpu_capability()
    lines = [
        "# Performance",
        f"Printed by `{command}` on {date.today()}: {machine.processor}, {machine.cores} "
        f"core{'s' * (machine.cores > 1)}{memory}; Python {sys.version.split()[0]}, PyTorch "
        f"{torch.__version__} ({capability}){load}. Everything on the CPU, seed 0. {made_by()}; "
        f"model `{asked.model}` of fingerprint "
        f"{read_manifest(find(asked.model)).fingerprint[:16]}.",
    ]
    if machine.is_busy:
        lines.append(f"**Warning: {_busy(machine)}**")
    if asked.quick:
        lines.append("**A quick run: networks are tiny, and the figures mean nothing.**")
    return "\n\n".join(lines)


def _busy(machine: Machine) -> str:
    return (
        f"others computed on this machine when the run began (load average {machine.load:.2f}, "
        f"{machine.cores} cores): figures are too low; run it again on a quiet machine."
    )


def closing(took: Mapping[str, float]) -> str:
    """How long it all took."""
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    return f"The whole run took {sum(took.values()) / 60:.1f} minutes: {parts}."


Question = Callable[[argparse.Namespace, Machine], Section]


def _threads(machine: Machine) -> tuple[int, ...]:
    """Numbers of threads that are compared."""
    return (1, machine.cores) if machine.cores > 1 else (1,)


def stages(asked: argparse.Namespace, machine: Machine) -> Section:
    """Tokens a second of each stage."""
    sizes = stage_speed.QUICK_SIZES if asked.quick else stage_speed.SIZES
    return stage_speed.measure(load(asked.model, "cpu"), sizes, _frames(asked), asked.repeats)


def _frames(asked: argparse.Namespace) -> int:
    return 6 if asked.quick else 50


def others(asked: argparse.Namespace, machine: Machine) -> Section:
    """The coarse stage beside other programs."""
    sizes = stage_speed.QUICK_SIZES if asked.quick else stage_speed.SIZES
    cores = (1,) if asked.quick else _threads(machine)
    return rivals.measure(sizes, cores, asked.repeats, bandwidth_repeats=3 * asked.repeats)


def conditions(asked: argparse.Namespace, machine: Machine) -> Section:
    """The model alone and beside a busy process."""
    return model_speed.measure_conditions(asked.model, machine.cores, asked.repeats, asked.quick)


def ways(asked: argparse.Namespace, machine: Machine) -> Section:
    """End to end, autoregressively and in parallel."""
    lm, cores = load(asked.model, "cpu"), (1,) if asked.quick else _threads(machine)
    return model_speed.measure_ways(lm, cores, asked.repeats, _seconds(asked))


def batches(asked: argparse.Namespace, machine: Machine) -> Section:
    """Several prompts at once."""
    lm, sizes = load(asked.model, "cpu"), (1, 2) if asked.quick else (1, 2, 4, 8)
    repeats = min(2, asked.repeats)  # eight prompts take long
    return model_speed.measure_batches(lm, sizes, repeats, _seconds(asked))


def _seconds(asked: argparse.Namespace) -> float:
    return 0.4 if asked.quick else model_speed.SECONDS


def commands(asked: argparse.Namespace, machine: Machine) -> Section:
    """Whole commands."""
    return command_speed.measure(asked.model, asked.repeats, asked.quick)


def training(asked: argparse.Namespace, machine: Machine) -> Section:
    """Steps of every task."""
    preset = "tiny" if asked.quick else "small"
    return training_speed.measure(preset, machine.cores, asked.repeats)


QUESTIONS: dict[str, Question] = {
    "stages": stages,
    "others": others,
    "conditions": conditions,
    "ways": ways,
    "batches": batches,
    "commands": commands,
    "training": training,
}

if __name__ == "__main__":
    sys.exit(main())
