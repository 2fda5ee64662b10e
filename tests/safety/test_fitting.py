"""The loop that trains yardsticks."""

import pytest
import torch
from torch import nn

from audiolm.safety.fitting import FittingConfig, fit


def regression():
    generator = torch.Generator().manual_seed(0)
    network = nn.Linear(4, 1, bias=False)
    true = torch.tensor([[1.0, -2.0, 3.0, 0.5]])

    def loss_of(step):
        x = torch.randn(64, 4, generator=generator)
        with torch.autocast("cpu", enabled=False):
            return (network(x) - x @ true.T).square().mean()

    return network, loss_of, true


def test_a_network_learns_what_it_is_shown():
    network, loss_of, true = regression()
    fitted = fit(network, loss_of, FittingConfig(steps=300, learning_rate=0.1, weight_decay=0.0))
    assert torch.allclose(network.weight, true, atol=0.05)
    assert fitted.steps == 300
    assert fitted.loss < 0.01
    assert not network.training


def test_the_clock_ends_it_and_progress_never_falls():
    network, loss_of, _ = regression()
    shares = []
    fitted = fit(network, loss_of, FittingConfig(steps=10**9, minutes=0.001), shares.append)
    assert 0.05 < fitted.seconds < 5
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_steps_are_counted_from_nought():
    network, loss_of, _ = regression()
    seen = []
    fit(network, lambda step: (seen.append(step), loss_of(step))[1], FittingConfig(steps=5))
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_weight_decay_is_for_matrices(decay):
    network = nn.Linear(3, 3)
    before = network.weight.detach().clone(), network.bias.detach().clone()
    nothing = FittingConfig(steps=20, weight_decay=decay, learning_rate=0.1)
    fit(network, lambda step: 0 * (network.weight.sum() + network.bias.sum()), nothing)
    assert torch.equal(network.bias, before[1])
    assert torch.allclose(network.weight, before[0]) == (decay == 0)
