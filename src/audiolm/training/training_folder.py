"""The folder that a training keeps its own things in; no second training may use it meanwhile."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from audiolm.data.names import printable
from audiolm.errors import TrainingError
from audiolm.locking import HeldError, locked
from audiolm.model_io.manifest import MANIFEST
from audiolm.training import distributed
from audiolm.training.distributed import World
from audiolm.training.step_folder import write_text

if TYPE_CHECKING:  # a preset names steps, and those use this
    from audiolm.training.preset import Preset

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def training_folder(out: Path, preset: "Preset", world: World) -> Iterator[Path]:
    """The training folder of a model folder, which is made if need be, and ours until the end.

    Args:
        out: the model folder.
        preset: written down there.
        world: the processes that train together; the first one holds the folder for all.

    Raises:
        TrainingError: when `out` is something else, cannot be written, or another training holds
            it; also for a disk that is full in the end.
    """
    folder = out / "training"
    try:
        if not world.writes:
            distributed.wait(world)
            yield folder
            return
        _refuse_something_else(out, folder)
        with _held(out, folder):
            resolved = preset.model_dump(mode="json")
            write_text(folder / "preset.json", json.dumps(resolved, indent=1))
            distributed.wait(world)
            yield folder
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise TrainingError(
            f"{out}: the disk is full; what is there is kept: make room and give the same "
            "command again"
        ) from error


def _refuse_something_else(out: Path, folder: Path) -> None:
    """Make the training folder, in a model folder or a new one."""
    if printable(str(out)) != str(out):
        # TensorBoard cannot write there.
        raise TrainingError(
            f"{printable(str(out))}: is no name in UTF-8; name another folder with --out"
        )
    try:
        ours = (out / MANIFEST).exists() or folder.exists()
        if out.is_dir() and any(out.iterdir()) and not ours:
            raise TrainingError(
                f"{out}: is not empty and not a model; name a new or empty folder with --out"
            )
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        if error.errno in _FULL:
            raise  # another folder is not what helps
        raise TrainingError(
            f"{out}: cannot be written ({error.strerror}); name another folder with --out"
        ) from None


@contextmanager
def _held(out: Path, folder: Path) -> Iterator[None]:
    """Hold the folder: two trainings in one would each take the other's steps for its own."""
    try:
        with locked(folder / "lock", wait=False):
            yield
    except HeldError as held:
        raise TrainingError(
            f"{out}: another training is at work in it (process {held}); wait for its end, or name "
            "another folder with --out"
        ) from None
