"""The fields of each verb: what a form may say, typed, with the words of the command line."""

from typing import Any, Literal, TypeVar

from pydantic import Field, field_validator
from starlette.datastructures import FormData, UploadFile

from audiolm.arguments import LARGEST_SEED, MINIMUM_PROMPT_SECONDS
from audiolm.configuration import Configuration, parse
from audiolm.errors import ConfigurationError
from audiolm.server.refusals import RefusedError
from audiolm.stages import Acoustic

MOST_DRAWS = 8
"""Of one recording: they are made as one batch, and others wait."""


class Fields(Configuration):
    """What every verb that makes sound takes."""

    model: str | None = None
    """One of those that the server was started with; the first of them unless given."""

    format: Literal["wav", "pcm"] = "wav"
    """WAV, or its samples alone: 16 bits, little-endian, 16 kHz, mono."""


class Reconstruction(Fields):
    """The codec alone."""

    levels: int | None = Field(default=None, ge=1)
    """How many of the codec's levels are used; all unless given."""


class Drawn(Fields):
    """What every verb takes that draws tokens."""

    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    """One seed gives one result."""

    temperature: str | None = None
    """S,C,F: of the semantic, coarse and fine stage; the model's own unless given."""

    top_k: int | None = Field(default=None, ge=1)
    """Draw from the k likeliest ids only."""

    top_p: float | None = Field(default=None, gt=0, le=1)
    """Draw from the likeliest ids of this mass only."""

    guidance: float | None = Field(default=None, ge=0)
    """How strongly the codes follow the semantic ids: 1 as learnt."""

    @field_validator("temperature")
    @classmethod
    def _three_numbers(cls, text: str | None) -> str | None:
        if text is not None:
            _temperatures(text)
        return text

    @property
    def temperatures(self) -> tuple[float, float, float] | None:
        """Of the three stages."""
        return None if self.temperature is None else _temperatures(self.temperature)


class Resynthesis(Drawn):
    """The same content in another voice."""

    levels: int | None = Field(default=None, ge=1)
    """How many of the codec's levels to make; the model's own number unless given."""

    acoustic: Acoustic | None = None
    """How coarse codes are made: all frames at once, or one after the other."""

    best_of: int = Field(default=1, ge=1, le=MOST_DRAWS)
    """How many to draw; the one that the model's own parts judge best is kept."""


class Continuation(Resynthesis):
    """What follows a prompt."""

    acoustic: Acoustic | None = None
    """How coarse codes are made: all frames at once, or one after the other, and so sent as they
    are made; the second unless given, and the model's own way with best_of."""

    seconds: float | None = Field(default=None, gt=0)
    """How much to add; as the model has it (speech: 7) unless given."""

    prompt_seconds: float | None = Field(default=None, ge=MINIMUM_PROMPT_SECONDS)
    """How much of the prompt to use, counted from its end; as the model has it unless given."""

    baseline: Literal["acoustic-only"] | None = None
    """Leave the semantic stage out: keeps the voice, loses the content."""

    continuation_only: bool = False
    """Leave the prompt out of the answer."""


class Edit(Drawn):
    """A gap between two sides that stay."""

    start: float = Field(ge=0)
    """Where the gap begins, in seconds."""

    end: float = Field(gt=0)
    """Where it ends."""

    seconds: float | None = Field(default=None, gt=0)
    """How long the new inside is; as long as the old one unless given."""

    keep_content: bool = False
    """Say the same anew."""

    levels: int | None = Field(default=None, ge=1)
    """How many of the codec's levels to make; the model's own number unless given."""

    best_of: int = Field(default=4, ge=1, le=MOST_DRAWS)
    """How many insides to draw; the one is kept after which the far side is likeliest."""


class Detection(Configuration):
    """Whether a recording was made."""

    model: str | None = None
    """By which model; the first of those that the server was started with unless given."""


F = TypeVar("F", bound=Configuration)


def fields_of(cls: type[F], form: FormData, file: str) -> tuple[F, UploadFile]:
    """A form as fields of a verb, and the file in it. A field that is empty counts as not given.

    Args:
        cls: the verb's fields.
        form: what came.
        file: the name of the field that holds the file.

    Raises:
        ConfigurationError: a field is unknown, there twice, or has a value that cannot be.
        RefusedError: 422, there is no file.
    """
    upload: UploadFile | None = None
    given: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in given or (name == file and upload is not None):
            raise ConfigurationError(f"field {name}: is there twice; send it once")
        if name == file and isinstance(value, UploadFile):
            upload = value
        elif isinstance(value, UploadFile):
            raise ConfigurationError(f"field {name[:40]}: is no file; send the file as {file}")
        elif value != "" and name != file:
            given[name] = value
    if upload is None:
        raise RefusedError(422, f"field {file}: no file came; send one as multipart/form-data")
    return parse(cls, given, "field"), upload


def _temperatures(text: str) -> tuple[float, float, float]:
    try:
        semantic, coarse, fine = (float(number) for number in text.split(","))
    except ValueError:
        raise ConfigurationError(
            f"temperature: {text!r} is not three numbers like 0.6,0.8,0.6"
        ) from None
    return semantic, coarse, fine
