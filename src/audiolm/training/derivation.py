"""What a preset need not say, as it follows from what it says elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from audiolm.codec import CodecConfig
from audiolm.configuration import Configuration
from audiolm.errors import ConfigurationError
from audiolm.training.clustering import ClusteringConfig
from audiolm.training.recipe import STEPS
from audiolm.training.steps.stage import SIZES

C = TypeVar("C", bound=Configuration)


def derived(data: Mapping[str, Any]) -> dict[str, Any]:
    """A preset's settings with what follows from others filled in.

    `clusters`, `codebook_size` and `levels` of a stage's layout, where the stage reads such ids,
    come from the codec and the last clustering; a second round names the clusters of the first, and
    its Conformer is the first one's where it has no other.

    Raises:
        ValueError: naming both keys, where a number is given and is another.
    """
    result: dict[str, Any] = _copied(data)
    codec = _parsed(_AnyCodec, {"codec": result.get("codec")})
    training = result.get("training", {})
    if codec is None or not isinstance(training, dict):
        return result  # something else is wrong, and is told
    quantizer = codec.codec.quantizer
    sizes = {
        "codec.quantizer.levels": quantizer.levels,
        "codec.quantizer.codebook_size": quantizer.codebook_size,
    }
    for name in ("clustering", "second_clustering"):
        clustering = _parsed(ClusteringConfig, training.get(name, {}))
        if clustering is not None:
            sizes[f"training.{name}.clusters"] = clustering.clusters
    last = last_clustering(result.get("recipe"))
    stages = result.get("stages")
    for step in STEPS:
        settings = stages.get(step.name) if isinstance(stages, dict) else None
        if not isinstance(settings, dict) or not isinstance(settings.get("layout"), dict):
            continue
        for part in step.reads_tokens:
            for size, source in SIZES[part].items():
                source = source.format(clustering=last)
                _fill(settings["layout"], size, f"stages.{step.name}.layout", sizes, source)
    second = result.get("second_round")
    if isinstance(second, dict):
        source = "training.clustering.clusters"
        _fill(second, "external_targets", "second_round", sizes, source)
        first = result.get("w2v_bert")
        if isinstance(first, dict) and "conformer" in first:
            second.setdefault("conformer", first["conformer"])
    return result


def _fill(
    settings: dict[str, Any], name: str, place: str, sizes: Mapping[str, int], source: str
) -> None:
    """Set one setting to the size that follows from `source`, or make sure that it is that."""
    if source not in sizes:
        return
    given = settings.setdefault(name, sizes[source])
    if given != sizes[source]:
        raise ValueError(
            f"{place}.{name} is {given}, but {source} is {sizes[source]}; leave the first out, or "
            "make them equal"
        )


def last_clustering(recipe: Any) -> str:
    """The clustering whose ids the stages read."""
    second = isinstance(recipe, Sequence) and "second_clustering" in recipe
    return "second_clustering" if second else "clustering"


class _AnyCodec(Configuration):
    codec: CodecConfig = Field(discriminator="kind")


def _parsed(cls: type[C], data: Any) -> C | None:
    """A part of a preset by itself; None where something is wrong, which is told of the whole."""
    try:
        return cls.model_validate(data)
    except (ValidationError, ConfigurationError):
        return None


def _copied(data: Any) -> Any:
    """Nested settings as dictionaries of their own; what is set by default is left out."""
    if isinstance(data, Configuration):
        data = data.model_dump(exclude_unset=True)
    if isinstance(data, Mapping):
        return {key: _copied(value) for key, value in data.items()}
    return data
