"""Checkpoints: whole or not at all."""

from pathlib import Path

import pytest
import torch
from torch import nn

from audiolm.errors import TrainingError
from audiolm.training.checkpoint import (
    CHECKPOINT,
    PREVIOUS,
    LoopState,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from audiolm.training.distributed import World
from audiolm.training.optimizer import AveragedWeights, OptimizationConfig, build_optimizer


def state(width: int = 3) -> LoopState:
    networks = nn.ModuleDict({"a": nn.Linear(width, 1)})
    optimizer = build_optimizer(networks["a"], OptimizationConfig())
    return LoopState(networks, {"a": optimizer}, AveragedWeights(networks["a"], 0.9), 5, 1.5)


def test_round_trip_restores_weights_optimizer_counters_and_random_numbers(tmp_path: Path) -> None:
    saved = state()
    saved.networks["a"](torch.ones(1, 3)).sum().backward()
    saved.optimizers["a"].step()
    save_checkpoint(tmp_path, saved)
    expected = torch.rand(4)
    loaded = state()
    loaded.step, loaded.seconds = 0, 0.0
    assert load_checkpoint(tmp_path, loaded, print)
    assert torch.equal(torch.rand(4), expected)
    assert (loaded.step, loaded.seconds) == (5, 1.5)
    assert torch.equal(loaded.networks["a"].weight, saved.networks["a"].weight)
    moments = loaded.optimizers["a"].state_dict()["state"]
    assert torch.equal(
        moments[0]["exp_avg"], saved.optimizers["a"].state_dict()["state"][0]["exp_avg"]
    )


def test_nothing_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert not load_checkpoint(tmp_path, state(), print)


def test_what_a_killed_process_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state())
    (tmp_path / ".checkpoint.pt.0123abcd.part").write_bytes(b"half a checkpoint")
    (tmp_path / ".other.pt.0123abcd.part").write_bytes(b"not ours")
    assert load_checkpoint(tmp_path, state(), print)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, ".other.pt.0123abcd.part"}


def test_a_checkpoint_of_fewer_ranks_leaves_the_new_ones_their_own_random_numbers(tmp_path: Path):
    save_checkpoint(tmp_path, state())
    second = state()
    second.world = World(1, 2)
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    assert load_checkpoint(tmp_path, second, print)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: not a checkpoint.*--restart"):
        load_checkpoint(tmp_path, state(), print)


def test_another_network_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, state(3))
    with pytest.raises(TrainingError, match="--restart"):
        load_checkpoint(tmp_path, state(4), print)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / CHECKPOINT
    save_checkpoint(tmp_path, state())
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match=r"disk is full.*make room"):
        save_checkpoint(tmp_path, state())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_checkpoint_before_the_last_is_kept_and_taken_where_the_last_is_broken(
    tmp_path,
) -> None:
    saved = state()
    for step in (5, 6, 7):
        saved.step = step
        save_checkpoint(tmp_path, saved)
    assert {path.name for path in tmp_path.iterdir()} == {CHECKPOINT, PREVIOUS}
    assert torch.load(tmp_path / PREVIOUS)["step"] == 6
    (tmp_path / CHECKPOINT).write_bytes(b"")
    loaded, said = state(), []
    assert load_checkpoint(tmp_path, loaded, said.append)
    assert loaded.step == 6
    assert len(said) == 1
    assert said[0].startswith(f"{tmp_path / CHECKPOINT}: cannot be read; going on from")
    (tmp_path / CHECKPOINT).unlink()  # what a disk check did not put back
    assert read_checkpoint(tmp_path, said.append)[0] == tmp_path / PREVIOUS
    (tmp_path / PREVIOUS).write_bytes(b"PK")
    with pytest.raises(TrainingError, match=r"checkpoint\.previous\.pt: not a checkpoint.*--only"):
        load_checkpoint(tmp_path, loaded, said.append)


def test_another_network_is_no_reason_to_take_an_older_checkpoint(tmp_path: Path) -> None:
    for _ in range(2):
        save_checkpoint(tmp_path, state(3))
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: not a checkpoint of this training"):
        load_checkpoint(tmp_path, state(4), print)
