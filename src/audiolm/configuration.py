"""Typed, validated settings: the base of every configuration class, and how text becomes one."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from audiolm.errors import ConfigurationError


def _with_place(data: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Within `parse` an error of ours becomes one of pydantic's, which knows its place."""
    try:
        return validate(data)
    except ConfigurationError as error:
        if info.context is None:
            raise
        raise ValueError(str(error)) from None


class Configuration(BaseModel):
    """Base of all settings: frozen, no unknown keys, no numbers that are not finite.

    The docstring under a field is its help. A class that checks its fields against each other
    raises a `ConfigurationError` or a `ValueError`; `parse` puts the whole key in front of both.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """As pydantic has it, but that `parse` is told where an error of ours was raised."""
        return core_schema.with_info_wrap_validator_function(_with_place, handler(source))


C = TypeVar("C", bound=Configuration)


def parse(cls: type[C], data: Mapping[str, Any], where: str) -> C:
    """Validate `data` as a `cls`.

    Raises:
        ConfigurationError: naming `where`, the whole key, what is wrong with it and, for an unknown
            key, the nearest known one.
    """
    try:
        return cls.model_validate(data, context={"where": where})
    except ValidationError as error:
        problem = error.errors()[0]
        steps = _keys_to(problem, data)
        key = ".".join(steps)
        if problem["type"] == "extra_forbidden":
            hint = nearest(steps[-1], sorted(_keys(cls)))
            raise ConfigurationError(f"{where}: unknown key {key}; {hint}") from None
        if problem["type"] == "value_error":  # a check of ours, which says everything
            said = _with_whole_key(cls, steps, problem["msg"].removeprefix("Value error, "))
        else:
            said = f"{problem['msg']}; got {problem['input']!r}"
            said = f"{key}: {said}" if key else said
        raise ConfigurationError(f"{where}: {said}") from None


def nearest(name: str, known: Sequence[str]) -> str:
    """The remedy for a name that there is not: the one of `known` that is most like it."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"did you mean {near[0]}?" if near else "remove it"


def read_yaml(text: str, where: str, under: Sequence[str] = ()) -> Any:
    """The value that a YAML text holds.

    Args:
        text: of a file, or of one value.
        where: what an error names first.
        under: the keys that lead to it, where it is a value among others.

    Raises:
        ConfigurationError: naming `where`: for what is not YAML, and for a key that is there twice,
            of which plain YAML readers would silently take the second.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_double_keys(node, tuple(under), where)
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date like 2020-99
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{where}: not valid YAML ({reason})") from None
    finally:
        loader.dispose()


def _refuse_double_keys(node: yaml.Node, path: tuple[str, ...], where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            inner = (*path, str(key.value))
            # `<<` may stand there several times: each takes settings over from an anchor.
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                raise ConfigurationError(
                    f"{where}: {'.'.join(inner)} is there twice, again in line {line}; remove one"
                )
            seen.add(key.value)
            _refuse_double_keys(value, inner, where)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _refuse_double_keys(item, (*path, str(index)), where)


def override(data: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b.c=value` assignments (values in YAML) to a nested mapping, leaving `data` alone.

    Raises:
        ConfigurationError: on an assignment without `=`, with a value that is not YAML, or one that
            reaches into a plain value.
    """
    result = _copy(data)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise ConfigurationError(f"--set {assignment}: write it as key=value, e.g. seed=1")
        node = result
        *parents, last = path.strip().split(".")
        for step in parents:
            child = node.setdefault(step, {})
            if not isinstance(child, dict):
                raise ConfigurationError(f"--set {assignment}: {step} is a value, not a group")
            node = child
        try:
            node[last] = read_yaml(text, f"--set {assignment}", [*parents, last])
        except ConfigurationError as error:
            if "not valid YAML" not in str(error):
                raise
            raise ConfigurationError(f"--set {assignment}: {text!r} is not a YAML value") from None
    return result


def _with_whole_key(cls: type[BaseModel], keys: Sequence[str], said: str) -> str:
    """What a check of ours said, with the keys that lead to the settings it is about in front.

    Such a check begins with the name of a setting as it stands in its own class
    ("transformer.width: 48 cannot ..."), or with something else ("give powers of two").
    """
    place = ".".join(keys)
    if not place:
        return said
    named = re.match(r"[a-z_0-9]+(\.[a-z_0-9]+)*(?=[ :])", said)
    if named is None:
        return f"{place}: {said}"
    first = named[0].partition(".")[0]
    if first == keys[-1] and "." in named[0]:  # and every other key that is named in the same way
        return re.sub(rf"\b{re.escape(first)}\.(?=[a-z_])", f"{place}.", said)
    return f"{place}.{said}" if first in _keys(cls) else f"{place}: {said}"


def _keys_to(problem: ErrorDetails, data: Any) -> list[str]:
    """The keys that lead to what is wrong, without the union tags that pydantic puts among them."""
    keys = []
    for place, step in enumerate(problem["loc"], start=1):
        inside = isinstance(data, Mapping) and step in data
        inside = inside or (isinstance(data, Sequence) and isinstance(step, int))
        missing = problem["type"] == "missing" and place == len(problem["loc"])
        if inside or missing:
            keys.append(str(step))
        if inside:
            data = data[step]
    return keys


def _copy(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copy(v) if isinstance(v, Mapping) else v for k, v in data.items()}


def _keys(cls: type[BaseModel]) -> set[str]:
    """Every field name of `cls` and of the configurations inside it."""
    names: set[str] = set()
    todo: list[Any] = [cls]
    seen: set[Any] = set()
    while todo:
        kind = todo.pop()
        if kind in seen:
            continue
        seen.add(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names.update(kind.model_fields)
            todo.extend(field.annotation for field in kind.model_fields.values())
        else:
            todo.extend(getattr(kind, "__args__", ()))
    return names
