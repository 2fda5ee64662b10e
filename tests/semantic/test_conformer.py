"""The encoder: shapes, padding, layers, and its parts against plain formulas."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn import functional as F

from audiolm.errors import ConfigurationError
from audiolm.semantic.conformer import (
    Conformer,
    ConformerConfig,
    Convolution,
    RelativeBias,
    relative_attention,
)

TINY = ConformerConfig(layers=3, width=16, heads=2, feed_forward=32, kernel=5, max_distance=4)


def tiny(seed: int = 0, **changes) -> Conformer:
    torch.manual_seed(seed)
    network = Conformer(TINY.model_copy(update=changes)).eval()
    nn.init.normal_(network.bias.table)  # zero at first, when it could not be seen to matter
    return network


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(samples=st.integers(1, 6000))
@settings(max_examples=20, deadline=None)
def test_one_step_for_every_640_samples_begun(samples: int):
    assert tiny()(noise(2, samples)).shape == (2, math.ceil(samples / 640), 16)


@given(lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=4), beyond=st.integers(0, 1500))
@settings(max_examples=20, deadline=None)
def test_a_padded_batch_equals_one_file_at_a_time(lengths: list[int], beyond: int):
    network = tiny()
    batch = noise(len(lengths), max(lengths) + beyond)  # what lies beyond the lengths is not silent
    together = network(batch, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone = network(batch[row : row + 1, :length])[0]
        steps = math.ceil(length / 640)
        torch.testing.assert_close(together[row, :steps], alone, atol=1e-4, rtol=1e-4)
        assert not together[row, steps:].any()


def test_a_layer_is_where_a_shorter_network_ends():
    whole, waveform = tiny(), noise(1, 3200)
    shorter = tiny(layers=2)
    shorter.load_state_dict(whole.state_dict(), strict=False)
    torch.testing.assert_close(shorter(waveform), whole(waveform, layer=2))
    assert not torch.allclose(whole(waveform, layer=2), whole(waveform, layer=3))
    torch.testing.assert_close(whole(waveform, layer=3), whole(waveform))


def test_later_layers_are_not_run():
    network = tiny()
    network.blocks[2].forward = None  # calling it would raise
    assert network(noise(1, 1000), layer=2).shape == (1, 2, 16)


@pytest.mark.parametrize("layer", [0, 4])
def test_a_layer_that_is_not_there_is_refused(layer: int):
    with pytest.raises(ConfigurationError, match="layers 1 to 3"):
        tiny()(noise(1, 1000), layer=layer)


def test_a_step_stands_where_its_samples_are():
    waveform = torch.zeros(1, 640 * 20)
    waveform[:, 640 * 10 : 640 * 11] = noise(1, 640)
    network = tiny()
    silence = network.subsampling(torch.zeros_like(waveform), torch.tensor([640 * 20]))
    change = (network.subsampling(waveform, torch.tensor([640 * 20])) - silence).norm(dim=2)[0]
    assert int(change.argmax()) == 10
    # Symmetric: three frames on either side reach no farther than the steps next to it.
    assert set(change.nonzero().flatten().tolist()) <= {9, 10, 11}


def test_attention_is_the_fused_one():
    query, key, value = (noise(2, 3, 7, 8, seed=i) for i in range(3))
    bias = noise(2, 3, 7, 7, seed=4)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    torch.testing.assert_close(relative_attention(query, key, value, bias), expected)


def test_relative_bias_by_hand():
    bias = RelativeBias(heads=2, max_distance=3)
    nn.init.normal_(bias.table)
    real = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    out = bias(real)
    for row in range(2):
        for i in range(6):
            for j in range(6):
                expected = bias.table[max(-3, min(3, j - i)) + 3]
                if real[row, j]:
                    torch.testing.assert_close(out[row, :, i, j], expected)
                else:
                    assert (out[row, :, i, j] < -1000).all()


@pytest.mark.parametrize("kernel", [4, 5])
def test_convolution_by_hand(kernel: int):
    torch.manual_seed(0)
    module = Convolution(TINY.model_copy(update={"kernel": kernel}))
    x, real = noise(2, 9, 16), torch.ones(2, 9, dtype=torch.bool)
    gated = F.glu(module.gate(module.norm(x)), dim=-1)
    filtered = torch.zeros_like(gated)
    for step in range(9):
        for k in range(kernel):
            if 0 <= step + k - (kernel - 1) // 2 < 9:
                filtered[:, step] += gated[:, step + k - (kernel - 1) // 2] * module.depthwise[:, k]
    expected = module.out(F.silu(module.depthwise_norm(filtered)))
    torch.testing.assert_close(module(x, real), expected, atol=1e-5, rtol=1e-4)


def test_gradients_reach_every_weight():
    network = tiny().train()
    network(noise(2, 4000), torch.tensor([4000, 2000])).square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_bf16_autocast_is_near_float32():
    network, waveform = tiny(), noise(2, 5000)
    lengths = torch.tensor([5000, 3000])
    exact = network(waveform, lengths).detach()
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(waveform, lengths)
    assert torch.isfinite(rough).all()
    assert float((rough.detach() - exact).norm() / exact.norm()) < 0.05


@pytest.mark.parametrize("wrong", [{"heads": 3}, {"mel": {"hop": 80}}, {"layers": 0}])
def test_impossible_settings_are_refused(wrong: dict):
    with pytest.raises(ValidationError):
        ConformerConfig(**wrong)
