"""What callers pass, checked once at the door: seeds, numbers of levels, lengths.

NumPy's numbers, and arrays or tensors of a single one, are as good as Python's; truth values are no
numbers. Whatever cannot be meant is a ConfigurationError that names the argument.
"""

from numbers import Real

from audiolm.errors import ConfigurationError

PROMPT_SECONDS, SECONDS = 3.0, 7.0
"""How much of a prompt is used and how much is added, where a model says nothing of its own: the
paper's lengths for speech (section IV-B)."""
MINIMUM_PROMPT_SECONDS = 0.5
"""A shorter prompt says too little to be continued."""
MAXIMUM_SECONDS = 3600.0
"""Longer audio than this is refused: it is a slip of the keyboard more often than a wish."""
LARGEST_SEED = 2**63 - 1
MOST_DRAWS = 64
"""Of one recording, as one batch."""


def checked_seed(seed: object) -> int:
    """A seed from 0 to 2**63 - 1.

    Raises:
        ConfigurationError: it is no such number.
    """
    number = _whole(seed)
    if number is None or not 0 <= number <= LARGEST_SEED:
        raise ConfigurationError(
            f"seed: {_shown(seed)} is not a seed; give a whole number from 0 to 2**63 - 1"
        )
    return number


def checked_levels(levels: object, of: int) -> int:
    """A number of levels from 1 to `of`, those that the codec has.

    Raises:
        ConfigurationError: it is no such number.
    """
    number = _whole(levels)
    if number is None or not 1 <= number <= of:
        raise ConfigurationError(
            f"levels: {_shown(levels)} asked of a codec with {of}; give 1 to {of}"
        )
    return number


def checked_best_of(best_of: object) -> int:
    """A number of draws from 1 to `MOST_DRAWS`.

    Raises:
        ConfigurationError: it is no such number.
    """
    number = _whole(best_of)
    if number is None or not 1 <= number <= MOST_DRAWS:
        raise ConfigurationError(
            f"best_of: {_shown(best_of)} is not a number of draws; give 1 to {MOST_DRAWS}"
        )
    return number


def checked_seconds(name: str, seconds: object, most: float) -> float:
    """A length above 0 and up to `most` seconds; `name` is the argument's.

    Raises:
        ConfigurationError: it is no length.
    """
    number = _number(seconds)
    if number is None or not 0 < number <= most:  # NaN is not
        raise ConfigurationError(
            f"{name}: {_shown(seconds)} is not a length; give more than 0 and at most "
            f"{most:g} seconds"
        )
    return float(number)


def checked_time(name: str, time: object, end: float) -> float:
    """A point in a recording that lasts `end` seconds; `name` is the argument's.

    Raises:
        ConfigurationError: it is none.
    """
    number = _number(time)
    if number is None or not 0 <= number <= end:  # NaN is not
        raise ConfigurationError(
            f"{name}: {_shown(time)} is no time in the recording; give 0 to {end:g} seconds"
        )
    return float(number)


def _number(value: object) -> float | None:
    """`value` where it is a number, or holds exactly one; None otherwise."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()  # a NumPy scalar, an array or tensor of no dimensions
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return value if isinstance(value, int | float) else float(value)


def _whole(value: object) -> int | None:
    """`value` as an int where it is a whole number; None otherwise."""
    number = _number(value)
    if isinstance(number, float):
        return int(number) if number.is_integer() else None
    return number


def _shown(value: object) -> str:
    """`value` in an error message: one short line."""
    number = _number(value)
    text = f"{number:g}" if isinstance(number, float) else repr(value)
    first = text.splitlines()[0] if text else text
    return first if len(first) <= 60 else f"{first[:57]}..."
