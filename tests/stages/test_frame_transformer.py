"""The parallel stage's network: what each frame reads, and that it sees both sides."""

import pytest
import torch

from audiolm.stages.streams import MASK
from stages.tiny_stages import CLUSTERS, CODEBOOK, random_streams, tiny_parallel


@pytest.fixture
def network():
    return tiny_parallel().transformer.requires_grad_(False)


def change(network, codes, semantic, others):
    """How much each frame's hidden state changes (F,) where the codes or ids are others."""
    return (network(*others) - network(codes, semantic)).abs().amax(-1)[0]


@pytest.mark.parametrize("frame", [0, 5, 11])
def test_every_frame_hears_every_other(network, frame):
    streams = random_streams(1, 12, levels=2)
    codes, semantic = streams.codes, streams.semantic
    for level in (0, 1):
        for other in (MASK, (codes[0, level, frame] + 1) % CODEBOOK):
            told = codes.clone()
            told[0, level, frame] = other
            assert (change(network, codes, semantic, (told, semantic)) > 1e-5).all()
    said = semantic.clone()
    said[0, frame // 2] = (said[0, frame // 2] + 1) % CLUSTERS
    assert (change(network, codes, semantic, (codes, said)) > 1e-5).all()


def test_a_code_or_a_mask_means_another_thing_at_another_level(network):
    semantic = torch.tensor([[0]])
    for one, other in (([2, 3], [3, 2]), ([MASK, 3], [3, MASK])):
        a, b = (torch.tensor([[[level] for level in codes]]) for codes in (one, other))
        assert change(network, a, semantic, (b, semantic)) > 0.1


def test_each_frame_has_the_id_of_its_time_and_a_half_step_will_do(network):
    codes, semantic = torch.full((1, 2, 5), MASK), torch.tensor([[1, 2, 3]])
    alone = network(codes[..., :1], semantic[:, 1:2])
    again = network(codes[..., :1], torch.tensor([[2]]))
    assert torch.equal(alone, again)
    assert network(codes, semantic).shape == (1, 5, 16)


def test_only_distance_matters_to_positions(network):
    """All frames alike: the middle of a long row is the middle of another place of it."""
    codes, semantic = torch.zeros(1, 2, 200, dtype=torch.long), torch.zeros(1, 100).long()
    hidden = network(codes, semantic)[0]
    torch.testing.assert_close(hidden[95], hidden[105], atol=1e-5, rtol=0)


def test_each_level_has_a_head(network):
    hidden = torch.randn(3, 16)
    for level in (0, 1):
        expected = hidden @ network.heads[level].T
        torch.testing.assert_close(network.logits(hidden, level), expected)


def test_a_bias_made_before_is_the_same(network):
    streams = random_streams(1, 12, levels=2)
    expected = network(streams.codes, streams.semantic)
    assert torch.equal(network(streams.codes, streams.semantic, network.bias(12)), expected)
