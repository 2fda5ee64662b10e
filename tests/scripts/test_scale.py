"""What scale costs: the simulation against cases known by hand, the formula against a count."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiolm.training.preset import load_preset


@pytest.fixture(scope="module")
def shards(load_script):
    return load_script("simulate_shards")


@pytest.fixture(scope="module")
def scale(load_script):
    return load_script("estimate_scale")


@pytest.fixture
def plan(shards):
    return shards.Plan(
        hours=100,
        recording_seconds=10,
        shard_size=50,
        nodes=4,
        speed=10,
        slow_share=0,
        slow_factor=1,
        lost_every=1e12,
        restart=0,
    )


def test_without_mishaps_every_plan_comes_near_the_ideal(shards, plan) -> None:
    told = shards.simulate(plan, seed=0)
    for way, result in told.items():
        assert result["losses"] == 0
        assert result["hours"] >= told["ideal"]["hours"] - 1e-9, way
        assert result["hours"] < 1.2 * told["ideal"]["hours"], way
    assert told == shards.simulate(plan, seed=0) != shards.simulate(plan, seed=1)


def test_a_slow_node_holds_up_fixed_shares_and_not_the_pool(shards, plan) -> None:
    told = shards.simulate(replace(plan, slow_share=0.25, slow_factor=4), seed=0)
    fixed = told["shares, longest first"]
    assert fixed["hours"] > 3 * fixed["median node"]
    assert told["pool of shards"]["hours"] < 0.5 * fixed["hours"]
    assert told["pool of shards"]["hours"] < told["8 shares a node"]["hours"] < fixed["hours"]


def test_shards_hold_all_the_sound(shards, plan) -> None:
    assert sum(shards.shard_hours(plan, np.random.default_rng(0))) == pytest.approx(100)


def test_work_that_is_lost_is_done_again(shards, plan) -> None:
    """Of exponential losses, the time for work w is (e^(w / m) - 1) (m + restart) on average."""
    plan = replace(plan, lost_every=2.0, restart=0.5)
    random = np.random.default_rng(0)
    times = [shards.time_of(3.0, plan, random)[0] for _ in range(20_000)]
    assert np.mean(times) == pytest.approx((np.exp(1.5) - 1) * 2.5, rel=0.05)


@pytest.mark.parametrize("kind", ["semantic", "coarse", "fine"])
def test_the_formula_is_what_pytorch_counts(scale, kind) -> None:
    config = load_preset("tiny").stages[kind]
    stage = scale.build_stage(kind, config).eval()
    found: list[float] = []
    with scale.counted(found), torch.no_grad():
        stage(scale.random_streams(config, 2.0, 1))
    assert found[0] == pytest.approx(
        scale.forward_operations(stage, scale.positions(config, 2.0)), rel=0.25
    )


def test_the_table_is_printed(scale, monkeypatch, capsys) -> None:
    words = ["x", "--preset", "tiny", "--measured-preset", "tiny", "--seconds", "1", "--price", "2"]
    monkeypatch.setattr(sys, "argv", [*words, "--hours", "10"])
    threads = torch.get_num_threads()
    scale.main()
    torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert "35 % are assumed to be reached" in said
    assert "1 GB as 16-bit samples" in said
    for step in ("codec", "w2v_bert", "tokens", "semantic", "coarse", "fine"):
        assert f"\n  {step} " in said
