"""The one table of parts: what a model folder may hold, and how each is made.

A part lies in a model folder under its name. Other names are refused, where they are read and where
they are written: a name becomes the name of a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from audiolm.codec import Codec, CodecConfig, build_codec
from audiolm.configuration import Configuration, parse
from audiolm.errors import ConfigurationError, ModelFolderError
from audiolm.part import Part
from audiolm.safety.detector import Detector, DetectorConfig
from audiolm.semantic import SemanticConfig, SemanticTokenizer, build_tokenizer
from audiolm.stages import KINDS, Stage, StageKind, build_stage


class PartBuilder(Protocol):
    """Makes a part of a configuration in JSON types; `where` is named in errors."""

    def __call__(self, config: Mapping[str, Any], where: str, /) -> Part: ...


@dataclass(frozen=True)
class PartKind:
    """One part that a model folder may hold."""

    name: str
    """In a model folder; its weights are `name`.safetensors."""
    contract: type[Part]
    """What it is."""
    build: PartBuilder
    """Makes one, with weights that are still to be loaded."""
    ids_of: tuple[str, ...] = ()
    """The parts whose ids it was trained on: it holds their fingerprints."""
    stage: StageKind | None = None
    """Which stage it is; None of a codec, tokenizer or detector."""

    @property
    def file(self) -> str:
        """The file of its weights."""
        return f"{self.name}.safetensors"

    def network(self, part: Part) -> str:
        """Which network a part is, as model.json says it: the kind of stage, or of its settings.

        Raises:
            ModelFolderError: the part is of another kind than this.
        """
        if not isinstance(part, self.contract):
            raise ModelFolderError(
                f"{self.name}: a {type(part).__name__} is no {self.contract.__name__}; "
                "give each part under its own name"
            )
        config = part.config.model_dump(mode="json")
        network = self.stage.name if self.stage else str(config["kind"])
        self.check(network, config)
        return network

    def check(self, network: str, config: Mapping[str, Any]) -> None:
        """Refuse what model.json says of this part where it is that of another.

        Raises:
            ModelFolderError: the network or the layout is not that of this part.
        """
        if self.stage is None:
            return
        layout = config.get("layout")
        kind = layout.get("kind") if isinstance(layout, Mapping) else None
        found, wanted = (network, kind), (self.stage.name, self.stage.layout)
        for is_, should_be in zip(found, wanted, strict=True):
            if is_ != should_be:
                raise ModelFolderError(
                    f"{self.name}: is a stage of kind {is_}, not {should_be}; "
                    "give each stage under its own name"
                )


class _CodecEntry(Configuration):
    """Any codec's configuration."""

    config: CodecConfig
    """Told apart by its kind."""


def _codec(config: Mapping[str, Any], where: str) -> Part:
    return build_codec(parse(_CodecEntry, {"config": config}, where).config)


def _semantic(config: Mapping[str, Any], where: str) -> Part:
    return build_tokenizer(parse(SemanticConfig, config, where))


def _detector(config: Mapping[str, Any], where: str) -> Part:
    return Detector(parse(DetectorConfig, config, where))


def _stage(kind: StageKind) -> PartKind:
    def build(config: Mapping[str, Any], where: str) -> Part:
        return build_stage(kind.name, parse(kind.config, config, where))

    return PartKind(f"stage_{kind.name}", Stage, build, kind.ids_of, kind)


CODEC = PartKind("codec", Codec, _codec)
SEMANTIC = PartKind("semantic", SemanticTokenizer, _semantic)
STAGES: Mapping[str, PartKind] = {name: _stage(kind) for name, kind in KINDS.items()}
"""The stages, by kind of stage."""
DETECTOR = PartKind("detector", Detector, _detector)

PARTS: Mapping[str, PartKind] = {
    part.name: part for part in (CODEC, SEMANTIC, *STAGES.values(), DETECTOR)
}
"""All of them, by name."""


def part_kind(name: str) -> PartKind:
    """The part of this name.

    Raises:
        ModelFolderError: a model holds no part of this name.
    """
    if name not in PARTS:
        raise ModelFolderError(
            f"part {name!r}: a model holds no such part; the parts are {', '.join(PARTS)}"
        )
    return PARTS[name]


def stage_part(kind: str) -> PartKind:
    """The part that a kind of stage is.

    Raises:
        ConfigurationError: there is no such kind.
    """
    if kind not in STAGES:
        raise ConfigurationError(f"stage {kind!r}: is no kind of stage; use {', '.join(STAGES)}")
    return STAGES[kind]
