"""What was measured, as one Markdown document: a section for each question, with its table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Section:
    """The answer to one question."""

    title: str
    how: str
    """How it was measured, in a sentence or some."""
    header: Sequence[str]
    """Of the columns; the first one names the rows."""
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=tuple)
    """What else is to be known: what was left out, and why."""


def number(value: float | None) -> str:
    """A number with three significant digits, no exponent; a dash where there is none."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def ratio(value: float | None) -> str:
    """How many times as much."""
    return "–" if value is None else f"{number(value)} x"


def share(value: float | None) -> str:
    """Per cent of a whole."""
    return "–" if value is None else f"{100 * value:.0f} %"


def markdown(opening: str, sections: Iterable[Section], closing: str = "") -> str:
    """The whole document."""
    parts = [opening.strip()]
    for section in sections:
        parts.append(f"## {section.title}\n\n{section.how}")
        if section.rows:
            parts.append(_table(section.header, section.rows))
        parts.extend(section.notes)
    return "\n\n".join([*parts, closing.strip()]).strip() + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Numbers stand to the right, the names of the rows to the left."""
    lines = [list(header), ["---"] + ["---:"] * (len(header) - 1), *map(list, rows)]
    if any(len(line) != len(header) for line in lines):
        raise ValueError(f"a row is not as long as its header: {header}")
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
