"""Schedules, averaged weights, and which parameters decay."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from audiolm.errors import ConfigurationError
from audiolm.training.optimizer import AveragedWeights, OptimizationConfig, build_optimizer, only


def test_learning_rate_rises_then_falls_to_the_final_fraction() -> None:
    config = OptimizationConfig(steps=100, warm_up=10, learning_rate=2.0, final_fraction=0.1)
    rates = [config.learning_rate_at(step, config.progress(step, 0)) for step in range(101)]
    assert rates[0] == pytest.approx(0.2, rel=1e-3)
    assert max(rates) == rates[9] == pytest.approx(2.0, rel=0.03)
    assert all(a > b for a, b in pairwise(rates[9:]))
    assert rates[100] == pytest.approx(0.2)


def test_progress_goes_by_steps_or_by_the_clock_whichever_is_further() -> None:
    config = OptimizationConfig(steps=100, minutes=1)
    assert config.progress(50, 6) == 0.5
    assert config.progress(10, 45) == 0.75
    assert config.progress(1000, 0) == 1.0
    assert OptimizationConfig(minutes=1).progress(10**9, 30) == 0.5


def test_averages_follow_the_formula() -> None:
    network = nn.Linear(2, 1)
    average = AveragedWeights(network, decay=0.9)
    expected = network.weight.detach().clone()
    for step in range(200):
        with torch.no_grad():
            network.weight.add_(0.1)
        average.update(network, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.weight.detach()
    torch.testing.assert_close(average.network.weight, expected)


def test_weight_decay_spares_vectors() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    decayed, spared = build_optimizer(network, OptimizationConfig(weight_decay=0.5)).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3)]
    assert len(spared["params"]) == 3 and spared["weight_decay"] == 0.0


def test_only_one_network_gathers_gradients_and_all_are_freed_after() -> None:
    networks = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    with only(networks["a"], networks):
        networks["b"](networks["a"](torch.ones(1, 1))).sum().backward()
    assert networks["a"].weight.grad is not None
    assert networks["b"].weight.grad is None
    assert all(p.requires_grad for p in networks.parameters())


@pytest.mark.parametrize(("step", "of_the_old"), [(0, 0.1), (1, 2 / 11), (8, 0.5), (9000, 0.999)])
def test_the_average_leaves_its_random_start_quickly(step: int, of_the_old: float) -> None:
    """The decay rises to its value: with 0.999 from the start, a short training would keep it."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    average = AveragedWeights(network, decay=0.999)
    nn.init.constant_(network.weight, 0.0)
    average.update(network, step)
    assert float(average.network.weight) == pytest.approx(of_the_old, rel=1e-5)


def test_a_batch_is_of_all_processes_and_all_passes_together() -> None:
    config = OptimizationConfig(batch_size=256, accumulate=4)
    assert [config.crops_per_pass(n) for n in (1, 2, 8, 64)] == [64, 32, 8, 1]
    with pytest.raises(ConfigurationError, match=r"batch_size: 256 crops .* 3 processes .* set it"):
        config.crops_per_pass(3)
    with pytest.raises(ConfigurationError, match="set it to 252, or change accumulate"):
        config.crops_per_pass(3)
