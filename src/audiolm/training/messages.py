"""What a training tells the user between its steps: what is done, what it came to, what is wrong.

All of it goes to stderr, and one of several processes speaks for all. What is wrong is told even to
those who want quiet. The log of a single training is in `audiolm.training.logbook`.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from audiolm.training.logbook import ShareBar
from audiolm.training.step_folder import write_text


class Messages:
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

    def bar(self, name: str) -> ShareBar:
        """A progress bar, which is not shown to those who want quiet."""
        return ShareBar(name, self.quiet)
