import pytest
import torch

from audiolm.stages import attention
from audiolm.stages.attention import PositionBias, TwoSidedBias, attend, bucket
from reference import attention as reference
from reference import t5_buckets


@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (8, 20), (2, 2)])
def test_buckets_are_t5s(buckets, max_distance):
    distances = torch.arange(3 * max_distance)
    expected = [t5_buckets.bucket(int(d), buckets, max_distance) for d in distances]
    assert bucket(distances, buckets, max_distance).tolist() == expected


def inputs(length, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, length, 4)
    return [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(3)]


def position_bias(dtype=torch.float64):
    bias = PositionBias(3, buckets=8, max_distance=12).to(dtype)
    torch.nn.init.normal_(bias.table, generator=torch.Generator().manual_seed(1))
    return bias


@pytest.mark.parametrize("block", [1, 5, 64])
def test_attention_and_all_gradients_equal_the_plain_formula(monkeypatch, block):
    monkeypatch.setattr(attention, "QUERY_BLOCK", block)
    bias = position_bias()
    ours, theirs = inputs(12), inputs(12)
    for tensor in (*ours, *theirs):
        tensor.requires_grad_()
    weight = torch.arange(2 * 3 * 12 * 4, dtype=torch.float64).view(2, 3, 12, 4).sin()

    output = attend(*ours, bias(12))
    (output * weight).sum().backward()
    bias_gradient, bias.table.grad = bias.table.grad, None
    expected = reference.attention(*theirs, bias.by_distance(12))
    (expected * weight).sum().backward()

    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(bias_gradient, bias.table.grad)
    assert bias_gradient.abs().min() > 0
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_the_fused_kernel_is_given_the_same_formula():
    bias = position_bias()
    expected = reference.attention(*inputs(6), bias.by_distance(6))
    torch.testing.assert_close(attention._fused(*inputs(6), bias(6)), expected)


def test_bias_belongs_to_the_distance_and_hides_the_future():
    bias = position_bias()
    table, square = bias.by_distance(7), bias(7)
    for i in range(7):
        for j in range(7):
            expected = table[:, i - j] if j <= i else torch.full((3,), -torch.inf).double()
            assert torch.equal(square[:, i, j], expected)


def test_bfloat16_stays_near_float32():
    bias = position_bias(torch.float32)
    wide = inputs(300, torch.float32)
    narrow = [tensor.bfloat16() for tensor in wide]
    difference = attend(*narrow, bias(300)).float() - attend(*wide, bias(300))
    assert difference.abs().max() < 0.05


# ---- both sides ----------------------------------------------------------------------------------


def two_sided(dtype=torch.float64):
    bias = TwoSidedBias(3, buckets=8, max_distance=12).to(dtype)
    torch.nn.init.normal_(bias.table, generator=torch.Generator().manual_seed(1))
    return bias


def test_each_side_has_its_buckets():
    bias = two_sided()
    square = bias(15)
    for i in range(15):
        for j in range(15):
            side, distance = int(j > i), abs(i - j)
            assert torch.equal(
                square[:, i, j], bias.table[side, :, t5_buckets.bucket(distance, 8, 12)]
            )


@pytest.mark.parametrize("block", [1, 5, 64])
def test_attention_to_both_sides_equals_the_plain_formula(monkeypatch, block):
    monkeypatch.setattr(attention, "QUERY_BLOCK", block)
    bias, lengths = two_sided(), [12, 7]
    ours, theirs = inputs(12), inputs(12)
    for tensor in (*ours, *theirs):
        tensor.requires_grad_()
    weight = torch.arange(2 * 3 * 12 * 4, dtype=torch.float64).view(2, 3, 12, 4).sin()

    output = attend(*ours, bias(12), lengths)
    (output * weight).sum().backward()
    gradient, bias.table.grad = bias.table.grad, None
    expected = reference.attention_within(*theirs, bias(12), lengths)
    (expected * weight).sum().backward()

    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(gradient, bias.table.grad)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)
    fused = attention._fused(*inputs(12), bias(12), lengths)
    torch.testing.assert_close(fused, expected)
