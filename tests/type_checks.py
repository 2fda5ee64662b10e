"""The checker that `conftest.py` has the import hook put around functions of the package."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # as type checkers do: 7 is a float, too


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype, except for hints that cannot be checked as the program runs (Self, protocols)."""
    try:
        return CHECK(function)
    except BeartypeDecorHintException:
        return function
