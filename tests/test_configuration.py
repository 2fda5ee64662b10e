"""Settings: validated, overridden by key, and errors that name the key and the remedy."""

from typing import Literal

import pytest
from pydantic import Field

from audiolm.configuration import Configuration, override, parse
from audiolm.errors import ConfigurationError


class Inner(Configuration):
    layers: int = Field(default=2, gt=0)


class Outer(Configuration):
    inner: Inner = Inner()
    name: str = "x"


def test_a_value_is_read_and_the_rest_keeps_its_default() -> None:
    assert parse(Outer, {"inner": {"layers": 5}}, "test") == Outer(inner=Inner(layers=5))


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(Outer, {"inner": {"layer": 5}}, "preset x")
    assert str(caught.value) == "preset x: unknown key inner.layer; did you mean layers?"


def test_a_wrong_value_is_shown_with_its_key() -> None:
    with pytest.raises(ConfigurationError, match=r"^p: inner\.layers: .*greater than 0; got -1$"):
        parse(Outer, {"inner": {"layers": -1}}, "p")


class Plain(Configuration):
    kind: Literal["plain"] = "plain"
    size: int = 1


class Fancy(Configuration):
    kind: Literal["fancy"] = "fancy"
    inner: Inner = Inner()
    shape: tuple[int, ...] = ()
    needed: int


class Choice(Configuration):
    one_of: Plain | Fancy = Field(discriminator="kind")
    by_name: dict[Literal["a", "b"], Inner] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"one_of": {"kind": "plain", "sise": 2}}, "unknown key one_of.sise; did you mean size?"),
        (
            {"one_of": {"kind": "fancy", "needed": 1, "inner": {"layres": 2}}},
            "one_of.inner.layres;",
        ),
        ({"one_of": {"kind": "fancy"}}, "p: one_of.needed: Field required"),
        ({"one_of": {"kind": "fancy", "needed": 1, "shape": [1, "x"]}}, "p: one_of.shape.1: Input"),
        ({"one_of": {"kind": "plain"}, "by_name": {"c": {}}}, "p: by_name.c: Input should be 'a'"),
        ({"one_of": {"kind": "plain"}, "by_name": {"a": {"layers": 0}}}, "p: by_name.a.layers: "),
        ({"one_of": {"kind": "other"}}, "p: one_of: Input tag 'other'"),
    ],
)
def test_keys_are_told_as_they_are_written_without_tags_of_unions(data, says) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(Choice, data, "p")
    assert says in str(caught.value)


def test_override_sets_nested_keys_and_leaves_the_original_alone() -> None:
    original = {"inner": {"layers": 1}, "name": "a"}
    changed = override(original, ["inner.layers=3", "name=b", "new.deep=[1, 2]"])
    assert changed == {"inner": {"layers": 3}, "name": "b", "new": {"deep": [1, 2]}}
    assert original == {"inner": {"layers": 1}, "name": "a"}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("layers", "write it as key=value"),
        ("=3", "write it as key=value"),
        ("name.deep=3", "name is a value"),
        ("name={", "not a YAML value"),
    ],
)
def test_a_bad_assignment_says_what_is_wrong(assignment: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        override({"name": "a"}, [assignment])
