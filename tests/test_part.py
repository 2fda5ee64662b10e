"""Fingerprints: equal for equal parts, different for the least change."""

import pytest
import torch
from torch import nn

from audiolm.codec import Codec
from audiolm.configuration import Configuration
from audiolm.part import Part, fingerprint
from audiolm.semantic import SemanticTokenizer
from audiolm.stages import Stage


class Settings(Configuration):
    width: int = 3


class Small(Part):
    def __init__(self, config: Settings) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.width, 2)


def made(width: int = 3) -> Small:
    torch.manual_seed(0)
    return Small(Settings(width=width))


def test_equal_parts_have_one_fingerprint_whatever_the_float_width() -> None:
    part = made().rounded("float16")
    print_before = part.fingerprint()
    assert len(print_before) == 64
    assert made().rounded("float16").fingerprint() == print_before
    assert made().half().fingerprint() == print_before  # what a float16 file holds


def test_one_bit_of_one_weight_changes_it() -> None:
    part = made()
    before = part.fingerprint()
    with torch.no_grad():
        part.linear.bias[0] = torch.nextafter(part.linear.bias[0], torch.tensor(9.0))
    assert part.fingerprint() != before


def test_the_configuration_counts() -> None:
    weights = made().state_dict()
    assert fingerprint({"width": 3}, weights) != fingerprint({"width": 4}, weights)


def test_rounding_twice_changes_nothing_more() -> None:
    once = made().rounded()
    assert torch.equal(once.linear.weight, once.linear.weight.half().float())


def test_a_setting_that_is_null_leaves_the_fingerprint_as_it_is():
    weights = {"a": torch.ones(2)}
    known = fingerprint({"width": 3, "inner": {"kind": "x"}, "list": [1, {}]}, weights)
    more = {"width": 3, "dims": None, "inner": {"kind": "x", "new": None}, "list": [1, {"a": None}]}
    assert fingerprint(more, weights) == known
    assert fingerprint(more | {"dims": 0}, weights) != known
    assert fingerprint(more | {"inner": {"kind": "x", "new": False}}, weights) != known


@pytest.mark.parametrize("contract", [Codec, SemanticTokenizer, Stage])
def test_a_contract_cannot_be_instantiated_nor_half_of_it(contract):
    with pytest.raises(TypeError, match="abstract"):
        contract()
    some = type("Half", (contract,), {"encode": lambda self: None, "forward": lambda self: None})
    with pytest.raises(TypeError, match="abstract"):
        some()
