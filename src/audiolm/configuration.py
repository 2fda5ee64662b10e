"""Typed, validated settings: the base of every configuration class, and how text becomes one."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from audiolm.errors import ConfigurationError


class Configuration(BaseModel):
    """Base of all settings: frozen, no unknown keys, the docstring under a field is its help."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


C = TypeVar("C", bound=Configuration)


def parse(cls: type[C], data: Mapping[str, Any], where: str) -> C:
    """Validate `data` as a `cls`.

    Raises:
        ConfigurationError: naming `where`, the key, what is wrong with it and, for an unknown key,
            the nearest known one.
    """
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        steps = _keys_to(problem, data)
        key = ".".join(steps)
        if problem["type"] == "extra_forbidden":
            known = sorted(_keys(cls))
            near = difflib.get_close_matches(steps[-1], known, n=1, cutoff=0.0)
            hint = f"did you mean {near[0]}?" if near else "remove it"
            raise ConfigurationError(f"{where}: unknown key {key}; {hint}") from None
        if problem["type"] == "value_error":  # a check of ours, which says everything
            trouble = problem["msg"].removeprefix("Value error, ")
        else:
            trouble = f"{problem['msg']}; got {problem['input']!r}"
        raise ConfigurationError(
            ": ".join(part for part in (where, key, trouble) if part)
        ) from None


def override(data: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply `a.b.c=value` assignments (values in YAML) to a nested mapping, leaving `data` alone.

    Raises:
        ConfigurationError: on an assignment without `=`, or one that reaches into a plain value.
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
            node[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigurationError(f"--set {assignment}: {text!r} is not a YAML value") from None
    return result


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
