"""FSDP2 over gloo: two processes with sharded weights learn what one process learns."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import nn

from audiolm.data.corpus import Recording
from audiolm.data.token_writer import TokenWriter
from audiolm.data.tokens import TokenFormat, TokenStore
from audiolm.errors import TrainingError
from audiolm.stages import AutoregressiveConfig, LayoutConfig, TransformerConfig
from audiolm.training import distributed
from audiolm.training.checkpoint import CHECKPOINT
from audiolm.training.distributed import World
from audiolm.training.loop import train
from audiolm.training.tasks.stage import StageTask, StageTraining
from training.resuming import CPU, KilledError, optimization, watched

STEPS = 6
CROP = 15
"""Semantic steps of a crop, and of every recording: which process draws it changes no crop."""


def store(folder: Path) -> TokenStore:
    if not (folder / "tokens.json").exists():
        drawn = np.random.default_rng(0).integers(0, 16, (12, CROP))
        rows = [Recording(f"{i:02d}", Path(f"{i}.wav"), 0.04 * CROP) for i in range(12)]
        codes = [np.stack([ids.repeat(2), ids.repeat(2) + 1]) for ids in drawn]
        format = TokenFormat(
            codec_fingerprint="c", semantic_fingerprint="s", levels=2, codebook_size=32, clusters=16
        )
        writer = TokenWriter(folder, rows, format)
        writer.write(0, list(drawn), codes)
        writer.finish()
    return TokenStore(folder)


def stage_task(folder: Path, world: World, dropout: float = 0.0, saves: bool = False) -> StageTask:
    tokens = store(folder / "tokens")
    layout = LayoutConfig(kind="coarse", clusters=16, codebook_size=32, levels=2, coarse_levels=2)
    transformer = TransformerConfig(layers=2, heads=2, width=16, feed_forward=32, dropout=dropout)
    config = AutoregressiveConfig(layout=layout, transformer=transformer, context_seconds=1)
    settings = optimization(
        STEPS,
        batch_size=4,
        precision="float32",
        learning_rate=0.01,
        checkpoint_seconds=1e-9 if saves else 60,
    )
    training = StageTraining(optimization=settings, crop_seconds=0.6)
    return StageTask("coarse", config, training, tokens, tokens, CPU, world.size, seed=0)


def w2v_bert_task(world: World):
    """A Conformer on waveforms that are the same in every process."""
    from audiolm.semantic.conformer import ConformerConfig
    from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig
    from audiolm.training.tasks.task import Loss, Validation

    class Conformed:
        name = "w2v_bert"
        optimization = optimization(3, precision="float32", checkpoint_seconds=60)
        networks = nn.ModuleDict(
            {
                "w2v_bert": W2vBert(
                    W2vBertConfig(
                        conformer=ConformerConfig(
                            width=16, layers=2, heads=2, feed_forward=32, kernel=3
                        ),
                        contrastive_layers=1,
                        quantizer={"entries": 8, "groups": 1, "width": 8},
                    )
                )
            }
        )

        def batch(self, step, rank, progress=0.0):
            generator = torch.Generator().manual_seed(10 * step + rank)
            return torch.randn(2, 16_000, generator=generator)

        def loss(self, network, batch, progress):
            generator = torch.Generator().manual_seed(3)
            result = self.networks[network](batch, progress=progress, generator=generator)
            return Loss(result.loss)

        def validate(self, averaged):
            return Validation({"loss": 0.0})

        def export(self, averaged):
            return None

    return Conformed()


def learn(task, folder: Path, world: World, **how) -> dict[str, torch.Tensor]:
    torch.manual_seed(50 + world.rank)
    return train(task, folder, CPU, world, quiet=True, **how).averaged.state_dict()


def built(make, *arguments, **named):
    """A task whose first weights are the same everywhere."""
    torch.manual_seed(1)
    return make(*arguments, **named)


def _rank(rank: int, size: int, port: int, folder: Path) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    world = distributed.join(CPU)
    told: dict = {}
    for sharding in ("none", "fsdp"):
        for name, make in (
            ("stage", lambda: built(stage_task, folder, world)),
            ("dropout", lambda: built(stage_task, folder, world, dropout=0.3)),
            ("w2v_bert", lambda: built(w2v_bert_task, world)),
        ):
            how = {"sharding": sharding, "recompute_activations": name == "dropout"}
            told[name, sharding] = learn(make(), folder / f"{name}-{sharding}", world, **how)
    task = built(stage_task, folder, world, saves=True)
    seen = watched(task)
    learn(task, folder / "watched", world, sharding="fsdp")
    told["shares"] = [
        (p.to_local().numel(), p.numel()) for p in task.networks["coarse"].parameters()
    ]
    losses = []
    for dies_at in (3, None):
        task = built(stage_task, folder, world, saves=True)
        losses += [seen_by := watched(task, dies_at)]
        try:
            told["resumed"] = learn(task, folder / "parts", world, sharding="fsdp")
        except KilledError:
            distributed.wait(world)
            assert len(seen_by) == 3
    told["losses"] = seen, [*losses[0], *losses[1]]
    task = built(stage_task, folder, world, saves=True)
    watched(task, 3)
    try:
        learn(task, folder / "for-one", world, sharding="fsdp")
    except KilledError:
        distributed.wait(world)
    torch.save(told, folder / f"rank-{rank}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, list[dict]]:
    """What two processes have to tell, by rank, and where they worked."""
    folder = tmp_path_factory.mktemp("sharded")
    store(folder / "tokens")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_rank, args=(2, port, folder), nprocs=2)
    return folder, [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


def assert_near(one: dict, other: dict, tolerance: float = 2e-5) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=tolerance, rtol=1e-4, msg=name)


@pytest.mark.slow
def test_sharded_weights_learn_what_whole_ones_learn(two) -> None:
    for told in two[1]:
        for name in ("stage", "dropout", "w2v_bert"):
            assert_near(told[name, "fsdp"], told[name, "none"])


@pytest.mark.slow
def test_two_sharded_processes_equal_one(two, tmp_path) -> None:
    one = learn(built(stage_task, two[0], World()), tmp_path, World())
    assert_near(two[1][0]["stage", "fsdp"], one)
    first = built(stage_task, two[0], World()).networks["coarse"].state_dict()
    assert any(float((one[n] - first[n]).abs().max()) > 1e-3 for n in one)  # it has learnt


@pytest.mark.slow
def test_each_process_holds_its_share_of_the_weights(two) -> None:
    mine, theirs = (told["shares"] for told in two[1])
    for (here, whole), (there, same) in zip(mine, theirs, strict=True):
        assert whole == same == here + there
    assert sum(here for here, _ in mine) < 0.7 * sum(whole for _, whole in mine)


@pytest.mark.slow
def test_resumed_at_the_same_world_size_equals_uninterrupted(two) -> None:
    for told in two[1]:
        expected, got = told["losses"]
        assert got == expected
        for name, tensor in told["stage", "fsdp"].items():
            assert torch.equal(tensor, told["resumed"][name]), name


@pytest.mark.slow
def test_resumed_by_one_process_within_tolerance(two) -> None:
    """What two processes began; only the order of sums differs."""
    task = built(stage_task, two[0], World())
    seen = watched(task)
    resumed = learn(task, two[0] / "for-one", World(), sharding="fsdp")
    assert len(seen) == 3
    assert_near(resumed, two[1][0]["stage", "fsdp"])


@pytest.mark.slow
def test_another_sharding_than_begun_with_is_told(two) -> None:
    folder = two[0] / "watched"
    with pytest.raises(TrainingError, match=r"training\.sharding was fsdp and is none; set it ba"):
        learn(built(stage_task, two[0], World()), folder, World())
    with pytest.raises(TrainingError, match=r"training\.sharding was none and is fsdp"):
        learn(built(stage_task, two[0], World()), two[0] / "stage-none", World(), sharding="fsdp")


@pytest.mark.slow
def test_two_checkpoints_are_kept_and_no_more(two) -> None:
    folder = two[0] / "watched"
    kept = sorted(path.name for path in (folder / "checkpoint.sharded").iterdir())
    assert kept == [f"step-{STEPS - 1}", f"step-{STEPS}"]
    assert (folder / CHECKPOINT).exists()


def test_computing_activations_again_changes_nothing(tmp_path) -> None:
    """Dropout included: its random numbers are put back."""
    plain, again = (
        learn(
            built(stage_task, tmp_path, World(), dropout=0.3),
            tmp_path / str(recompute),
            World(),
            recompute_activations=recompute,
        )
        for recompute in (False, True)
    )
    for name, tensor in plain.items():
        assert torch.equal(tensor, again[name]), name


@pytest.mark.slow
def test_a_damaged_shard_is_told(two) -> None:
    folder = two[0] / "watched"
    for path in (folder / "checkpoint.sharded" / f"step-{STEPS}").glob("*.distcp"):
        path.unlink()
    with pytest.raises(TrainingError, match="not a checkpoint of this training"):
        learn(built(stage_task, two[0], World()), folder, World(), sharding="fsdp")
