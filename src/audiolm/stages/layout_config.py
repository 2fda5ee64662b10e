"""What a stage's sequence holds: the five kinds of sequence, and the settings of one.

How a sequence is laid out, and read back, is in `audiolm.stages.layout`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError

LayoutKind = Literal["semantic", "coarse", "fine", "acoustic_only", "parallel"]
Role = Literal["predicted", "conditioning"]


@dataclass(frozen=True)
class Roles:
    """What each stream is to a sequence of one kind; None where it is not in it."""

    semantic: Role | None = None
    coarse: Role | None = None
    """Codes of levels 1 to Q'."""
    fine: Role | None = None
    """Codes of levels Q' + 1 to Q."""

    @property
    def conditioning(self) -> bool:
        """Whether any stream is given and not predicted."""
        return "conditioning" in (self.semantic, self.coarse, self.fine)

    @property
    def codes(self) -> bool:
        """Whether there are codes in it."""
        return self.coarse is not None or self.fine is not None


ROLES: Mapping[LayoutKind, Roles] = {
    "semantic": Roles(semantic="predicted"),
    "coarse": Roles(semantic="conditioning", coarse="predicted"),
    "fine": Roles(coarse="conditioning", fine="predicted"),
    "acoustic_only": Roles(coarse="predicted"),
    "parallel": Roles(semantic="conditioning", coarse="predicted"),
}
"""The five sequences: what any code tells them apart by."""


class LayoutConfig(Configuration):
    """Which tokens a stage reads and predicts, and in which order."""

    kind: LayoutKind
    """Which of the five sequences."""
    clusters: int = Field(default=1024, ge=2)
    """K, number of semantic ids."""
    codebook_size: int = Field(default=1024, ge=1)
    """N, ids per level of the codec."""
    coarse_levels: int = Field(default=4, ge=1)
    """Q', levels that the coarse (acoustic_only, parallel) stage predicts."""
    levels: int = Field(default=12, ge=1)
    """Q, levels of the codec."""
    remove_repeats: bool = True
    """Merge consecutive equal semantic ids (in the semantic stage and in the coarse prefix)."""
    conditioning: Literal["prefix", "aligned", "both"] = "prefix"
    """Conditioning (of coarse and fine) stands in front, goes along in time, or both."""
    look_ahead: int = Field(default=0, ge=0)
    """With aligned: how many later semantic steps (coarse) or frames (fine) are shown as well."""
    fill_in_the_middle: bool | None = None
    """Of semantic: rows may be given with their far side first, so that what stands between two
    sides can be said anew. Null, which is what false becomes: rows go from left to right only."""

    @property
    def roles(self) -> Roles:
        """What each stream is to this sequence."""
        return ROLES[self.kind]

    @field_validator("fill_in_the_middle")
    @classmethod
    def _null_for_false(cls, value: bool | None) -> bool | None:
        """What is null does not count in a fingerprint (`audiolm.part.fingerprint`)."""
        return value or None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fill_in_the_middle and self.kind != "semantic":
            raise ConfigurationError(
                f"layout.fill_in_the_middle: is a setting of the semantic stage, this is "
                f"{self.kind}; leave it out"
            )
        needed = self.coarse_levels + (self.roles.fine is not None)
        if self.levels < needed:
            raise ConfigurationError(
                f"layout.levels: {self.levels} leaves the {self.kind} stage no level after "
                f"coarse_levels = {self.coarse_levels}; lower coarse_levels"
            )
        if self.conditioning == "prefix" and self.look_ahead:
            raise ConfigurationError(
                "layout.look_ahead: a prefix shows all conditioning already; "
                "set it to 0 or conditioning to aligned"
            )
        aligned_ids = self.roles.semantic == "conditioning" and self.conditioning != "prefix"
        if aligned_ids and self.remove_repeats:
            raise ConfigurationError(
                "layout.remove_repeats: aligned conditioning needs one semantic id every 40 ms; "
                "set remove_repeats to false"
            )
        return self
