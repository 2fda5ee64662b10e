"""What an experiment needs and may lack: data of some layout, a stage, a package of an extra."""

from importlib import import_module
from types import ModuleType


class Skipped(Exception):  # noqa: N818 - nothing went wrong
    """An experiment cannot be made for want of data, of a stage or of an extra.

    Args:
        reason: what is missing.
        remedy: how to get it: a command, an address, an option.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


def extra(module: str) -> ModuleType:
    """A module that comes with the extra `evaluate`.

    Raises:
        Skipped: where it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise Skipped(
            f"{module.partition('.')[0]} is not installed ({error})",
            "pip install 'audiolm[evaluate]'",
        ) from None
