"""Whole commands: how long from a start to the end, and how much memory they take."""

import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from audiolm.pretrained import example_prompt
from document import Section, number
from timing import CommandRun, in_turns, run_command


def measure(model: str, repeats: int, quick: bool) -> Section:
    """Seconds and memory of commands, each a process of its own."""
    prompt = str(example_prompt())
    with tempfile.TemporaryDirectory() as folder:
        out = ["-o", str(Path(folder) / "out.wav")]
        commands = {
            "audiolm --version": ["--version"],
            "audiolm continue --seconds 7": ["continue", prompt, *out, "--seconds", "7"],
            "audiolm continue --seconds 30": ["continue", prompt, *out, "--seconds", "30"],
            "audiolm resynthesize": ["resynthesize", prompt, *out],
            "audiolm reconstruct": ["reconstruct", prompt, *out],
        }
        if quick:
            del commands["audiolm continue --seconds 30"], commands["audiolm resynthesize"]
        runs: dict[str, list[CommandRun]] = {name: [] for name in commands}

        def run(name: str) -> float:
            arguments = commands[name]
            more = ["--quiet", "--model", model] if out[0] in arguments else []
            runs[name].append(run_command([sys.executable, "-m", "audiolm", *arguments, *more]))
            return runs[name][-1].seconds

        times = in_turns({name: partial(run, name) for name in commands}, repeats)
    rows = [
        [
            f"`{name}`",
            number(median(times[name])),
            number(max(one.peak_bytes for one in runs[name]) / 1e6),
        ]
        for name in commands
    ]
    return Section(
        "Whole commands, from a cold start",
        "From the start of the process to its end: Python, PyTorch and the model are loaded each "
        f"time (files lie in the system's cache, after one run that does not count). Medians of "
        f"{repeats}, commands in turns; the most memory of any run. The prompt is the model's "
        "example; of `continue` 3 s of it are heard.",
        ["command", "s", "peak memory, MB"],
        rows,
    )
