"""What a training says and writes down.

`Reporter` speaks to the user between the steps: what is done, what it came to, what is wrong.
`TrainingLog` is of one training: a line of JSON for each record, TensorBoard, a progress bar.
All that is said goes to stderr, and one of several processes speaks for all. What is wrong is told
even to those who want quiet.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from tqdm import tqdm

from audiolm.shapes import SAMPLE_RATE
from audiolm.training.step_folder import write_text


class Reporter:
    """Messages to the user.

    Args:
        quiet: nothing but warnings is wanted.
        writes: this is the process that speaks; the others say nothing at all.
    """

    def __init__(self, *, quiet: bool, writes: bool = True) -> None:
        self.writes = writes
        self.quiet = quiet or not writes

    def say(self, message: str) -> None:
        """Tell the user, unless they want quiet."""
        if not self.quiet:
            self.warn(message)

    def warn(self, message: str) -> None:
        """Tell the user in any case."""
        if self.writes:
            tqdm.write(message, file=sys.stderr)  # above a bar, where one is shown

    def report(self, name: str, metrics: Mapping[str, float], warnings: Sequence[str] = ()) -> None:
        """Say what the step `name` came to, and warn of what is not as it should be."""
        self.say(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in metrics.items()))
        for warning in warnings:
            self.warn(f"{name}: warning: {warning}")

    def report_skipped(self, reasons: Sequence[str], path: Path, left_out: str = "") -> None:
        """Say how many files are left out, and list them in the file `path`.

        Args:
            reasons: why, each naming its file.
            path: where to list them.
            left_out: how many for which reason: `3 files cannot be read, 12 end in .m4a`.

        Raises:
            OSError: when the list cannot be written.
        """
        if reasons and self.writes:
            write_text(path, "\n".join(reasons))
            what = left_out or f"{len(reasons)} files cannot be read"
            self.warn(
                f"recordings: warning: {what} and are left out, listed in {path}; "
                f"the first: {reasons[0]}"
            )

    def bar(self, name: str) -> "ProgressBar":
        """A progress bar, which is not shown to those who want quiet."""
        return ProgressBar(name, self.quiet)


class TrainingLog:
    """The log of one training: `log.jsonl` always, TensorBoard where it is installed."""

    def __init__(self, folder: Path, name: str, *, quiet: bool, writes: bool = True) -> None:
        self.name = name
        self.writes = writes
        self.quiet = quiet or not writes
        self._file: Any = None
        self._board: Any = None
        self._bar: Any = None
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            _cut_to_whole_lines(folder / "log.jsonl")
            self._file = (folder / "log.jsonl").open("a", encoding="utf-8")
            self._board = _open_tensorboard(folder)

    def __enter__(self) -> Self:
        self._excepthook, threading.excepthook = threading.excepthook, _say_nothing_of_the_disk
        self._bar = tqdm(
            total=100.0,
            desc=self.name,
            file=sys.stderr,
            disable=True if self.quiet else None,  # None: where stderr is no terminal
            bar_format="{desc} {percentage:5.1f}%|{bar}| {elapsed}<{remaining} {postfix}",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        for log in (self._file, self._board):
            if log:
                with suppress(OSError):  # a full disk, which whoever wrote last was told of
                    log.close()
        threading.excepthook = self._excepthook

    def show(self, progress: float, step: int, metrics: Mapping[str, float]) -> None:
        """Move the progress bar."""
        self._bar.n = min(100.0, 100 * progress)
        text = " ".join(f"{name} {value:.3g}" for name, value in list(metrics.items())[:4])
        self._bar.set_postfix_str(f"step {step} {text}")

    def record(self, kind: str, step: int, metrics: Mapping[str, float]) -> None:
        """Write down metrics of one step; `kind` is `train` or `validation`."""
        if not self.writes:
            return
        line = {"kind": kind, "step": step, "time": round(time.time(), 1), **metrics}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board:
            for name, value in metrics.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def keep_audio(self, step: int, audio: Mapping[str, Tensor]) -> None:
        """Keep waveforms (T,) and their spectrograms in TensorBoard."""
        if self._board:
            for name, waveform in audio.items():
                samples = waveform.detach().float().cpu().clamp(-1, 1)
                self._board.add_audio(name, samples, step, sample_rate=SAMPLE_RATE)
                self._board.add_image(f"{name}/spectrogram", _spectrogram(samples), step)

    def say(self, message: str) -> None:
        """Tell the user, unless they want quiet, on a line of its own, on stderr."""
        if not self.quiet:
            tqdm.write(f"{self.name}: {message}", file=sys.stderr)

    def warn(self, message: str) -> None:
        """Tell the user in any case."""
        if self.writes:
            tqdm.write(f"{self.name}: warning: {message}", file=sys.stderr)


class ProgressBar:
    """A progress bar that is called with how much is done, 0 to 1."""

    def __init__(self, name: str, quiet: bool) -> None:
        self._bar: Any = tqdm(
            total=100.0,
            desc=name,
            disable=True if quiet else None,  # None: where stderr is no terminal
            file=sys.stderr,
            bar_format="{desc} {percentage:5.1f}%|{bar}| {elapsed}<{remaining}",
        )

    def __enter__(self) -> Callable[[float], None]:
        return self._move

    def _move(self, progress: float) -> None:
        self._bar.n = 100 * progress
        self._bar.refresh()

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _cut_to_whole_lines(path: Path) -> None:
    """Take away what a kill or a full disk has left of a last line."""
    if path.exists():
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


def _say_nothing_of_the_disk(trouble: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread raises what it cannot write once more in ours, which can handle it."""
    if not issubclass(trouble.exc_type, OSError):
        threading.__excepthook__(trouble)


def _open_tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def _spectrogram(samples: Tensor) -> Tensor:
    """A grey log-magnitude picture (1, 257, frames) of a waveform (T,), low frequencies below."""
    window = torch.hann_window(512)
    spectrum = torch.stft(samples, 512, 128, window=window, return_complex=True).abs()
    level = spectrum.clamp_min(1e-5).log10()  # -5 .. about 2
    return ((level + 4) / 6).clamp(0, 1).flip(0).unsqueeze(0)
