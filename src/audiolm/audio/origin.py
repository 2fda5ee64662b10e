"""What a sound that was made says of where it comes from: the metadata of every generated file."""

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from audiolm._version import __version__

SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for media made by a trained model, which C2PA and the law's code of practice use."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Origin:
    """Who made a sound, of what, and when."""

    model: str
    """What the model calls itself."""
    fingerprint: str
    """The model's fingerprint: SHA-256, 64 hex digits."""
    mode: str
    """`continuation`, `acoustic generation`, `unconditional`, …"""
    seed: int
    """With the model and the settings, it gives the same samples again."""
    prompt_seconds: float = 0.0
    """Seconds of a recording that it goes on from."""
    marked: bool = True
    """Whether the made part carries the mark (`audiolm.safety.watermark`)."""
    made: str = field(default_factory=_now)
    """When, in UTC, as ISO 8601."""
    software: str = f"audiolm {__version__}"
    """The program and its version."""
    digital_source_type: str = SYNTHETIC
    """That a machine made it, in IPTC's words."""

    @property
    def sentence(self) -> str:
        """It for people, in at most 256 characters of ASCII."""
        whole = (
            f"Made by a machine: {self.software}, {self.mode} by model {self.model or 'unnamed'} "
            f"({self.fingerprint[:12]}), seed {self.seed}, of {self.prompt_seconds:g} s of prompt"
        )
        return whole.encode("ascii", "replace").decode()[:256]

    def to_comment(self) -> str:
        """It as one line of JSON, ASCII."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def of_comment(cls, comment: str) -> "Origin | None":
        """What `to_comment` has written; None where something else is said."""
        try:
            said = json.loads(comment)
        except ValueError:
            return None
        if not isinstance(said, dict) or said.get("digital_source_type") != SYNTHETIC:
            return None
        known: dict[str, Any] = {}
        for entry in dataclasses.fields(cls):
            value = said.get(entry.name)
            kinds: tuple[type, ...] = {"seed": (int,), "marked": (bool,)}.get(entry.name, (str,))
            if not isinstance(value, (int, float) if entry.name == "prompt_seconds" else kinds):
                return None
            known[entry.name] = value
        return cls(**known)
