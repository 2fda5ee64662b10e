"""model.json: what a model folder says of itself, and which parts belong together.

The parts themselves lie beside it, and are read by `audiolm.model_io.folder`. Nothing here reads
weights. What a manifest names is checked before it becomes a path: parts are those of
`audiolm.parts`, their files plain names in the folder.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from audiolm._version import __version__
from audiolm.arguments import MAXIMUM_SECONDS, MINIMUM_PROMPT_SECONDS, PROMPT_SECONDS, SECONDS
from audiolm.atomic import replacing
from audiolm.configuration import Configuration, parse
from audiolm.errors import AudioLMError, ModelFolderError
from audiolm.parts import DETECTOR, part_kind
from audiolm.shapes import SAMPLE_RATE
from audiolm.stages import Acoustic, Sampling, stage_kind

FORMAT_VERSION = 1
"""The newest layout of model.json that this version of the package reads, and the one it writes."""

MANIFEST = "model.json"


class ModelInfo(Configuration):
    """What a model folder says of itself beside its parts."""

    preset: dict[str, Any] = Field(default_factory=dict)
    """The resolved settings that the model was trained with."""

    data: dict[str, Any] = Field(default_factory=dict)
    """What it was trained on: corpora, hours, licences."""

    licence: str = ""
    """The licence of the weights."""

    made_by: str = ""
    """The commit of the code that trained it."""

    sampling: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Sampling settings by stage that suit this model, over the paper's (0.6, 0.8, 0.6)."""

    levels: int | None = Field(default=None, ge=1)
    """Levels of codes that are made unless a call says otherwise; all of the codec when null. With
    no more than the coarse stage's, the fine stage is left out."""

    prompt_seconds: float = Field(
        default=PROMPT_SECONDS, ge=MINIMUM_PROMPT_SECONDS, le=MAXIMUM_SECONDS
    )
    """How much of a prompt a continuation goes on from unless a call says otherwise."""

    seconds: float = Field(default=SECONDS, gt=0, le=MAXIMUM_SECONDS)
    """How much a continuation adds unless a call says otherwise."""

    acoustic: Acoustic | None = None
    """How coarse codes are made unless a call says otherwise; autoregressively when null."""

    @model_validator(mode="after")
    def _known_stages(self) -> Self:
        for name, settings in self.sampling.items():
            stage_kind(name)
            parse(Sampling, settings, f"sampling.{name}")
        return self


class PartEntry(Configuration):
    """One part, as model.json lists it."""

    file: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors$")
    """File name inside the folder, no path."""

    fingerprint: str
    """SHA-256 over configuration and weights."""

    kind: str
    """Which network it is: soundstream, spectral, w2v_bert, or the kind of stage."""

    config: dict[str, Any]
    """The part's configuration."""

    bytes: int | None = None
    """Size of the file, to tell a truncated file from an altered one."""


class Manifest(ModelInfo):
    """model.json."""

    format_version: int = FORMAT_VERSION
    """Layout of the folder."""

    name: str
    """What the model calls itself."""

    sample_rate: int = SAMPLE_RATE
    """Samples per second of what it reads and makes."""

    parts: dict[str, PartEntry] = Field(default_factory=dict)
    """By name, one of `audiolm.parts.PARTS`."""

    @model_validator(mode="after")
    def _known_parts(self) -> Self:
        for name, entry in self.parts.items():
            part_kind(name).check(entry.kind, entry.config)
        return self

    @property
    def info(self) -> ModelInfo:
        """The manifest without its parts."""
        return ModelInfo(**{key: getattr(self, key) for key in ModelInfo.model_fields})

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the fingerprints of all parts, as `AudioLM.fingerprint`."""
        return model_fingerprint({name: entry.fingerprint for name, entry in self.parts.items()})


def read_manifest(folder: Path) -> Manifest:
    """Read and validate model.json.

    Raises:
        ModelFolderError: when it is not there, is not ours, is of a newer format, or names
            parts that cannot be.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelFolderError(
            f"{folder}: not a model folder, it has no {MANIFEST}; name one that audiolm train made"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelFolderError(f"{path}: cannot be read ({error}); fetch the model again") from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise ModelFolderError(f"{path}: has no format_version, so it is not a model of audiolm")
    if version > FORMAT_VERSION:
        raise ModelFolderError(
            f"{path}: format_version {version} is newer than {FORMAT_VERSION}, the newest that "
            f"audiolm {__version__} reads; update with: pip install -U audiolm"
        )
    try:
        return parse(Manifest, data, str(path))
    except AudioLMError as error:
        trouble = str(error).removeprefix(f"{path}: ")
        raise ModelFolderError(
            f"{path}: {trouble}; the file was altered, or is of a newer audiolm: fetch the model "
            "again, or update"
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write model.json, whole or not at all.

    Raises:
        OSError: when the folder cannot be written.
    """
    with replacing(folder / MANIFEST) as draft:
        draft.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def model_fingerprint(fingerprints: Mapping[str, str]) -> str:
    """SHA-256 over the fingerprints of a model's parts, by name.

    A detector makes no sound: with or without it the model is the same.
    """
    names = sorted(name for name in fingerprints if name != DETECTOR.name)
    lines = [f"{name} {fingerprints[name]}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
