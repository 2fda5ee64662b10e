"""What every part of `audiolm evaluate` is given, what it gives back, and the table of the parts.

A part is one table of the paper: a function `evaluate(request) -> PartResult` in a module of its
own. It knows nothing of the other parts, nor of how reports are written. Its protocol version goes
up whenever its figures are no longer comparable with earlier ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from audiolm.evaluation.options import EvaluationConfig

if TYPE_CHECKING:
    from audiolm.model import AudioLM


@dataclass(frozen=True)
class Figure:
    """One number of a report, with its 95 % interval."""

    value: float
    low: float
    high: float
    count: int
    """Items that the value is taken over: tokens, utterances, pairs, raters' answers."""
    unit: str
    """Of value, low and high: `%`, `dB`, `MOS`, `bits/token`; empty for a plain number."""
    note: str = ""
    """What a reader must know to compare it with another, in a few words."""
    paper: float | None = None
    """The paper's figure, in the same unit, where there is one."""


Cell = str | int | float | Figure | None
"""What stands in a table; None is printed as a dash."""


@dataclass(frozen=True)
class Table:
    """A table of the report, the way a paper would print it."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    """One cell per column in each."""
    note: str = ""
    """Printed below it."""


@dataclass(frozen=True)
class PartResult:
    """What one part found."""

    metrics: dict[str, Figure]
    """By a stable name such as `within.semantic`: lower case, words joined by `_` and `.`."""
    tables: list[Table] = field(default_factory=list)
    plots: list[Path] = field(default_factory=list)
    """PNG or SVG files in the part's folder, which the report takes in."""
    conditions: dict[str, str] = field(default_factory=dict)
    """What the figures depend on: choices of protocol, versions, the recordings' quality."""


@dataclass(frozen=True)
class Request:
    """What a part is asked for."""

    model: "AudioLM"
    data: Path
    """The folder that `--data` names. A part looks in it for the layout that it needs."""
    out: Path
    """A folder of this part alone, which exists: plots and what else it makes go there."""
    limit: int | None
    """At most so many items of the part's own kind (utterances, speakers, pairs); None: all."""
    seed: int
    progress: Callable[[float], None]
    """Is told which share of the part is done, 0 to 1."""
    options: EvaluationConfig = field(default_factory=EvaluationConfig)


class Skipped(Exception):  # noqa: N818 - nothing went wrong
    """A part cannot be measured for want of data or of an extra.

    Args:
        reason: what is missing.
        remedy: how to get it: a command, an address, an option.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason = reason
        self.remedy = remedy


class Evaluate(Protocol):
    """The function of a part.

    Raises:
        Skipped: for want of data or of an extra.
        AudioLMError: the data is there and cannot be used.
    """

    def __call__(self, request: Request) -> PartResult: ...


@dataclass(frozen=True)
class Part:
    """An entry of the table of parts."""

    name: str
    function: str
    """`module:function`, imported when the part is asked for."""
    version: int
    """Of its protocol."""
    title: str
    paper: str
    """Where the paper has it."""
    also: tuple[str, ...] = ()
    """Sections of the options, besides its own, that its figures depend on."""
    inputs: str = ""
    """`module:function` of a request: what else the figures depend on, as plain data."""

    def load(self) -> Evaluate:
        """Import the part's function."""
        function: Evaluate = _imported(self.function)
        return function

    def inputs_of(self, request: Request) -> dict[str, Any]:
        """What the figures depend on besides model, data, seed and options."""
        found: dict[str, Any] = _imported(self.inputs)(request) if self.inputs else {}
        return found


def _imported(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def _part(
    name: str,
    version: int,
    title: str,
    paper: str,
    also: tuple[str, ...] = (),
    inputs: bool = False,
) -> tuple[str, Part]:
    module = f"audiolm.evaluation.{name}"
    found = f"{module}:inputs" if inputs else ""
    return name, Part(name, f"{module}:evaluate", version, title, paper, also, found)


PARTS: dict[str, Part] = dict(
    [
        _part("abx", 1, "Phonetic ABX of tokens and features", "Table I, Fig. 3"),
        _part("reconstruction", 2, "Quality of the codec", "Table I", inputs=True),
        _part(
            "voicing", 1, "Hoarseness of voices through the codec", "not in the paper", inputs=True
        ),
        _part("content", 2, "What a recogniser understands", "Table II"),
        _part("speaker", 1, "Whose voice it is", "Table III"),
        _part("probes", 1, "Words and sentences: sWUGGY, sBLIMP", "Table IV, Fig. 3"),
        _part(
            "continuation",
            2,
            "Continuations of prompts",
            "IV-F, IV-B",
            also=("speaker",),  # whose classifier judges the voices
            inputs=True,
        ),
        _part("detection", 1, "Telling synthetic from real", "IV-H"),
        _part("listening", 1, "Listening tests", "IV-G, IV-I", inputs=True),
    ]
)
"""Every part by name, in the order of a report."""


def options_of(part: Part, options: EvaluationConfig) -> dict[str, Any]:
    """What a part depends on of the options, as plain data.

    That is its own section, and sections of other parts, each under its name.
    """
    others = {name: getattr(options, name).model_dump(mode="json") for name in part.also}
    own: dict[str, Any] = getattr(options, part.name).model_dump(mode="json")
    return own | others


def extra(module: str) -> ModuleType:
    """A module that comes with an extra.

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
