"""The loop: resumed equals uninterrupted, turns kept apart, trouble said and nothing lost."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import nn

from audiolm.errors import TrainingError
from audiolm.training import loop
from audiolm.training import optimizer as optimizer_module
from audiolm.training.distributed import World
from audiolm.training.loop import train
from audiolm.training.tasks.task import Loss, Validation
from training.toy import Line, optimization

CPU = torch.device("cpu")


def run(task: Line, folder: Path, world: World | None = None) -> loop.Trained:
    torch.manual_seed(7)
    return train(task, folder, CPU, world or World(), quiet=True)


class Killed(Line):
    """Dies without warning when it is asked for a certain batch."""

    dies_at = 7

    def batch(self, step: int, rank: int, progress: float = 0.0) -> torch.Tensor:
        if step == self.dies_at:
            raise ConnectionAbortedError("killed")
        return super().batch(step, rank)


@pytest.mark.parametrize("adversary", [False, True])
def test_resumed_equals_uninterrupted(tmp_path: Path, adversary: bool) -> None:
    settings = optimization(checkpoint_seconds=1e-9)
    whole = Line(settings, adversary=adversary)
    expected = run(whole, tmp_path / "whole")

    killed = Killed(settings, adversary=adversary)
    with pytest.raises(ConnectionAbortedError):
        run(killed, tmp_path / "parts")
    resumed = Line(settings, adversary=adversary)
    torch.manual_seed(12345)  # whatever the new process starts with
    outcome = train(resumed, tmp_path / "parts", CPU, World(), quiet=True)

    assert killed.losses + resumed.losses == whole.losses
    assert len(whole.losses) == 12
    for mine, theirs in zip(
        outcome.averaged.state_dict().values(), expected.averaged.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_kill_between_checkpoints_repeats_the_same_losses(tmp_path: Path) -> None:
    whole = Line(optimization())
    run(whole, tmp_path / "whole")
    killed = Killed(optimization())  # no checkpoint before step 7: it begins again
    with pytest.raises(ConnectionAbortedError):
        run(killed, tmp_path / "parts")
    assert not (tmp_path / "parts" / "checkpoint.pt").exists()
    resumed = Line(optimization())
    run(resumed, tmp_path / "parts")
    assert resumed.losses == whole.losses


def test_it_learns(tmp_path: Path) -> None:
    task = Line(optimization(steps=300, learning_rate=0.02, batch_size=32))
    outcome = run(task, tmp_path)
    assert outcome.step == 300
    assert outcome.metrics["loss"] < 0.3 * task.losses[0]


def test_an_adversary_is_not_trained_by_the_first_network(tmp_path: Path) -> None:
    """Each optimizer must see its own network's loss alone."""
    task = Line(optimization(steps=1, warm_up=0), adversary=True)
    adversary = task.networks["adversary"]
    seen: dict[str, torch.Tensor] = {}
    original = task.loss

    def loss(network, batch, progress):
        result = original(network, batch, progress)
        if network == "adversary":
            (seen["gradient"],) = torch.autograd.grad(
                result.total, [adversary.weight], retain_graph=True
            )
        return result

    task.loss = loss
    kept = {}
    adversary.weight.register_hook(lambda gradient: kept.setdefault("calls", []).append(gradient))
    run(task, tmp_path)
    assert len(kept["calls"]) == 2  # the test's own call above, and one backward pass
    assert torch.equal(kept["calls"][1], seen["gradient"])


def test_accumulation_equals_one_large_batch(tmp_path: Path) -> None:
    class Halves(Line):
        def batch(self, step: int, rank: int, progress: float = 0.0) -> torch.Tensor:
            whole = torch.randn(8, 4, generator=torch.Generator().manual_seed(step // 2))
            return whole[:4] if step % 2 == 0 else whole[4:]

    class Whole(Line):
        def batch(self, step: int, rank: int, progress: float = 0.0) -> torch.Tensor:
            return torch.randn(8, 4, generator=torch.Generator().manual_seed(step))

    halves = Halves(optimization(accumulate=2, ema_decay=0))
    whole = Whole(optimization(ema_decay=0))
    for task in (halves, whole):
        task.networks["line"][2].p = 0.0
    a, b = run(halves, tmp_path / "a"), run(whole, tmp_path / "b")
    for mine, theirs in zip(a.averaged.parameters(), b.averaged.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_batch_is_told_the_progress_also_after_a_stop(tmp_path: Path) -> None:
    told: list[float] = []

    class Told(Killed):
        def batch(self, step: int, rank: int, progress: float = 0.0) -> torch.Tensor:
            if step < 12:  # the validation asks for one behind the last
                told.append(progress)
            return super().batch(step, rank)

    settings = optimization(checkpoint_seconds=1e-9)  # 12 steps
    with pytest.raises(ConnectionAbortedError):
        run(Told(settings), tmp_path)
    going_on = Told(settings)
    going_on.dies_at = -1
    run(going_on, tmp_path)
    assert told == pytest.approx([step / 12 for step in (*range(8), *range(7, 12))])


def test_nan_stops_with_the_batch_kept_and_the_weights_sound(tmp_path: Path) -> None:
    task = Line(optimization(checkpoint_seconds=1e-9), poison=5)
    with pytest.raises(TrainingError, match=r"step 5 is not finite.*batch-of-step-5\.pt"):
        run(task, tmp_path)
    kept = torch.load(tmp_path / "batch-of-step-5.pt")
    assert kept.isnan().any()
    saved = torch.load(tmp_path / "checkpoint.pt")
    assert saved["step"] == 5
    assert all(v.isfinite().all() for v in saved["networks"].values())


def test_an_interrupt_finishes_the_step_and_keeps_a_checkpoint(tmp_path: Path) -> None:
    class Interrupted(Line):
        def loss(self, network: str, batch: torch.Tensor, progress: float) -> Loss:
            if len(self.losses) == 4:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().loss(network, batch, progress)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(optimization()), tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
    assert torch.load(tmp_path / "checkpoint.pt")["step"] == 5


def test_an_interrupt_during_the_last_validation_is_heeded(tmp_path: Path) -> None:
    class Interrupted(Line):
        def validate(self, averaged: nn.Module) -> Validation:
            os.kill(os.getpid(), signal.SIGINT)
            return super().validate(averaged)

    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(optimization(validations=1)), tmp_path)
    again = Line(optimization(validations=1))
    assert run(again, tmp_path).step == 12
    assert again.losses == []  # nothing was left but to validate


def test_warnings_are_said_from_a_third_of_the_training_on(tmp_path: Path, capsys) -> None:
    class Alarmed(Line):
        def validate(self, averaged: nn.Module) -> Validation:
            return replace(super().validate(averaged), warnings=["a code is dead"])

    run(Alarmed(optimization(validations=12)), tmp_path)
    assert capsys.readouterr().err == "line: warning: a code is dead\n" * 9  # steps 4 to 12


def test_minutes_end_a_training_that_has_no_number_of_steps(tmp_path: Path) -> None:
    outcome = run(Line(optimization(steps=None, minutes=0.01)), tmp_path)
    assert 0.55 <= outcome.seconds < 5
    assert outcome.step > 5


def test_a_finished_training_is_not_trained_further(tmp_path: Path) -> None:
    run(Line(optimization()), tmp_path)
    again = Line(optimization())
    outcome = run(again, tmp_path)
    assert again.losses == []
    assert outcome.step == 12


def test_validation_does_not_change_the_training(tmp_path: Path) -> None:
    often, seldom = Line(optimization(validations=12)), Line(optimization(validations=1))
    run(often, tmp_path / "often")
    run(seldom, tmp_path / "seldom")
    assert often.losses == seldom.losses


def _rank(rank: int, size: int, port: int, folder: str) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    from audiolm.training.distributed import join

    torch.set_num_threads(1)
    task = Quarters(optimization(batch_size=8, ema_decay=0))  # of both together
    task.networks["line"][2].p = 0.0
    torch.manual_seed(rank)
    outcome = train(task, Path(folder) / "two", CPU, join(CPU), quiet=True)
    torch.save(outcome.averaged.state_dict(), Path(folder) / f"rank-{rank}.pt")


class Quarters(Line):
    """Rank r of two sees half r of a batch that is the same in every world."""

    halves = 2

    def batch(self, step: int, rank: int, progress: float = 0.0) -> torch.Tensor:
        whole = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        return whole[4 * rank : 4 * rank + 4] if self.halves == 2 else whole


def test_two_processes_equal_one_with_twice_the_batch(tmp_path: Path) -> None:
    one = Quarters(optimization(ema_decay=0))
    one.halves = 1
    one.networks["line"][2].p = 0.0
    expected = run(one, tmp_path / "one").averaged.state_dict()
    port = 29500 + os.getpid() % 1000
    multiprocessing.spawn(_rank, args=(2, port, str(tmp_path)), nprocs=2)
    for rank in range(2):
        found = torch.load(tmp_path / f"rank-{rank}.pt")
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
    assert (tmp_path / "two" / "checkpoint.pt").exists()


def test_the_batch_that_is_kept_is_the_part_of_the_accumulation_with_the_nan(tmp_path) -> None:
    """Of three backward passes of step 2, the first one (batch 6) has it."""
    task = Line(optimization(accumulate=3, batch_size=12), poison=6)
    with pytest.raises(TrainingError, match=r"step 2 is not finite.*batch-of-step-2\.pt"):
        run(task, tmp_path)
    kept = torch.load(tmp_path / "batch-of-step-2.pt")
    assert torch.equal(kept.isnan(), task.batch(6, 0).isnan())
    assert kept.isnan().any()


class Watched(Line):
    """Remembers the gradient that each update is made with (the optimizers hide its size)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.networks["line"][2].p = 0.0
        self.gradients: list[torch.Tensor] = []

    @property
    def weights(self) -> list[torch.Tensor]:
        return list(self.networks["line"].parameters())


def watch_updates(task: Watched, monkeypatch) -> None:
    """AdamW hides the size of a gradient: it is looked at just before the update."""

    def build(network, config):
        optimizer = optimizer_module.build_optimizer(network, config)
        step = optimizer.step

        def watched() -> None:
            task.gradients.append(torch.cat([p.grad.flatten() for p in task.weights]).clone())
            step()

        optimizer.step = watched
        return optimizer

    monkeypatch.setattr(loop, "build_optimizer", build)


def test_a_gradient_is_clipped_before_the_update(tmp_path, monkeypatch) -> None:
    task = Watched(optimization(steps=2, clip=1e-3))
    watch_updates(task, monkeypatch)
    run(task, tmp_path)
    assert [float(g.norm()) for g in task.gradients] == pytest.approx([1e-3, 1e-3], rel=1e-3)


def test_the_gradient_of_an_accumulation_is_the_mean_over_its_passes(tmp_path, monkeypatch) -> None:
    task = Watched(optimization(steps=1, accumulate=4, clip=1e9))
    task.optimization = task.optimization.model_copy(update={"batch_size": 8})
    watch_updates(task, monkeypatch)
    expected = []
    for number in range(4):
        loss = task.loss("line", task.batch(number, 0), 0.0).total
        gradient = torch.autograd.grad(loss, task.weights)
        expected.append(torch.cat([g.flatten() for g in gradient]))
    run(task, tmp_path)
    torch.testing.assert_close(task.gradients[0], torch.stack(expected).mean(0))
