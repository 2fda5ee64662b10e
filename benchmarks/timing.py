"""Times: of actions in turns, and of whole commands with the memory that they took."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Seconds = float


def in_turns(
    actions: Mapping[str, Callable[[], Seconds]], repeats: int
) -> dict[str, list[Seconds]]:
    """Each action `repeats` times, after one that warms up; an action tells how long it took.

    They take turns, so that a change of the machine's speed meets all of them alike.
    """
    times: dict[str, list[Seconds]] = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, action in actions.items():
            took = action()
            if turn:
                times[name].append(took)
    return times


def timed(action: Callable[[], object]) -> Callable[[], Seconds]:
    """An action that tells how long it took, made of one that does not."""

    def run() -> Seconds:
        begun = time.perf_counter()
        action()
        return time.perf_counter() - begun

    return run


@dataclass(frozen=True)
class CommandRun:
    """One run of a command, from its start to its end."""

    seconds: Seconds
    peak_bytes: int
    """The most memory that its process held (resident set size)."""
    output: str
    """What it printed."""


_LAUNCHER = """
import json, os, sys, time
cores, said, complained, *command = sys.argv[1:]
if cores != "all":
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:int(cores)])
begun = time.perf_counter()
process = os.fork()
if not process:
    os.dup2(os.open(said, os.O_WRONLY), 1)
    os.dup2(os.open(complained, os.O_WRONLY), 2)
    os.execvp(command[0], command)
_, status, used = os.wait4(process, 0)  # of this child alone
seconds = time.perf_counter() - begun
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss]))
"""
"""A process counts the memory of the one it was forked from, so a small one starts the command."""


def run_command(arguments: Sequence[str], cores: int | None = None) -> CommandRun:
    """Run a command, on the first `cores` cores where that is asked for (Linux).

    Raises:
        RuntimeError: it failed; the end of what it said on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        said, complained = Path(folder) / "stdout", Path(folder) / "stderr"
        said.touch()
        complained.touch()
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(cores or "all")]
        answer = subprocess.run(
            [*launcher, str(said), str(complained), *arguments], stdout=subprocess.PIPE, check=True
        )
        status, seconds, peak = json.loads(answer.stdout)
        if status:
            raise RuntimeError(f"{' '.join(arguments)}: {complained.read_text()[-500:].strip()}")
        unit = 1 if sys.platform == "darwin" else 1024
        return CommandRun(seconds, unit * peak, said.read_text())
