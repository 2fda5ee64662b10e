"""Several processes as one trainer: two of them, over gloo, with the real tasks."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import nn

from audiolm.errors import TrainingError
from audiolm.model_io.manifest import read_manifest
from audiolm.training import distributed
from audiolm.training.distributed import World
from training.resuming import CPU, KilledError, optimization, watched


def test_a_process_by_itself_is_a_world_of_one(monkeypatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = distributed.join(CPU)
    assert world == World(0, 1)
    assert world.writes
    network = nn.Linear(2, 1)
    distributed.average_gradients(network, world)
    assert network.weight.grad is None
    assert distributed.agree(3.5, world, CPU) == 3.5
    assert distributed.gather(torch.ones(2), world, CPU)[0].tolist() == [1, 1]
    distributed.leave(world)


def test_a_group_that_cannot_be_formed_is_told_with_a_remedy(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TrainingError, match=r"WORLD_SIZE=2: .*start them with torchrun"):
        distributed.join(CPU)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory, training_corpus) -> list[dict]:
    """What two processes have to tell, by rank."""
    folder = tmp_path_factory.mktemp("two")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(_rank, args=(2, port, folder, training_corpus), nprocs=2)
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


def _rank(rank: int, size: int, port: int, folder: Path, corpus: Path) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    world = distributed.join(CPU)
    told = {"world": (world.rank, world.size, world.writes), "exchanged": _exchange(world)}
    told["stage"] = _train_stage(world, folder)
    told["following"] = _train_followers(world, folder, corpus)
    told["steps"] = _train_model(folder, corpus)
    torch.save(told, folder / f"rank-{rank}.pt")


def _exchange(world: World) -> dict:
    """What the small functions do, with values that differ between the ranks."""
    torch.manual_seed(world.rank)
    network = nn.Linear(2, 2)
    network.register_buffer("started", torch.tensor(world.rank == 0))
    distributed.share_weights(network, world)
    network.weight.grad = torch.full((2, 2), 1.0 + world.rank)
    if world.rank == 0:
        network.bias.grad = torch.ones(2)  # the other has none
    distributed.average_gradients(network, world)
    return {
        "weight": network.weight.detach(),
        "started": bool(network.started),
        "gradients": (network.weight.grad, network.bias.grad),
        "agreed": distributed.agree(10.0 + world.rank, world, CPU),
        "gathered": distributed.gather(torch.tensor([world.rank + 5]), world, CPU),
    }


def _train_stage(world: World, folder: Path) -> dict:
    """A stage with dropout: left alone, and killed and resumed."""
    from audiolm.training.loop import train

    told = {}
    losses = {}
    for name, dies_at in (("whole", None), ("parts", 3), ("parts", None)):
        torch.manual_seed(world.rank if name == "whole" or dies_at else 99)
        task = _stage_task(folder, world)
        torch.manual_seed(50 + world.rank if name == "whole" or dies_at else 99)
        seen = watched(task, dies_at)
        try:
            outcome = train(task, folder / name, CPU, world, quiet=True)
        except KilledError:
            distributed.wait(world)
        else:
            told[name] = outcome.averaged.state_dict()
        losses.setdefault(name, []).extend(seen)
    return told | {"losses": losses}


def _stage_task(folder: Path, world: World):
    import numpy as np

    from audiolm.data.corpus import Recording
    from audiolm.data.token_writer import TokenWriter
    from audiolm.data.tokens import TokenFormat, TokenStore
    from audiolm.stages import AutoregressiveConfig, LayoutConfig, TransformerConfig
    from audiolm.training.tasks.stage import StageTask, StageTraining

    if world.writes and not (folder / "tokens").exists():
        ids = [np.arange(60) % 16, np.arange(40) // 2 % 16]
        rows = [Recording(str(i), Path(f"{i}.wav"), 0.04 * len(one)) for i, one in enumerate(ids)]
        codes = [np.stack([one.repeat(2), one.repeat(2) + 1]) for one in ids]
        format = TokenFormat(
            codec_fingerprint="c", semantic_fingerprint="s", levels=2, codebook_size=32, clusters=16
        )
        writer = TokenWriter(folder / "tokens", rows, format)
        writer.write(0, ids, codes)
        writer.finish()
    distributed.wait(world)
    store = TokenStore(folder / "tokens")
    layout = LayoutConfig(kind="coarse", clusters=16, codebook_size=32, levels=2, coarse_levels=2)
    transformer = TransformerConfig(layers=1, heads=2, width=16, feed_forward=32, dropout=0.3)
    config = AutoregressiveConfig(layout=layout, transformer=transformer, context_seconds=1)
    training = StageTraining(optimization=optimization(6, batch_size=4), crop_seconds=0.6)
    return StageTask("coarse", config, training, store, store, CPU, world.size, seed=0)


def _train_followers(world: World, folder: Path, corpus: Path) -> dict:
    """What follows the data without gradients: codebooks, clusters."""
    from audiolm.codec import SpectralConfig
    from audiolm.data.corpus import open_corpus, split_validation
    from audiolm.semantic.conformer import ConformerConfig
    from audiolm.semantic.w2v_bert import W2vBertConfig
    from audiolm.training.loop import train
    from audiolm.training.recordings import Recordings
    from audiolm.training.tasks.codec import CodecTask, CodecTraining
    from audiolm.training.tasks.w2v_bert import W2vBertTask, W2vBertTraining

    parts = split_validation(open_corpus(corpus), 0.2)
    recordings = [
        Recordings.open(part, folder / "packed" / str(index), CPU, world, 0, quiet=True)
        for index, part in enumerate(parts)
    ]
    torch.manual_seed(world.rank)
    codec = CodecTask(
        SpectralConfig(
            width=16,
            encoder_blocks=0,
            decoder_blocks=0,
            refine_width=16,
            refine_blocks=0,
            dim=8,
            quantizer={"levels": 2, "codebook_size": 8},
        ),
        CodecTraining(
            optimization=optimization(3, batch_size=4),
            crop_seconds=0.3,
            mel={"windows": (256,)},
            adversarial_from=0.3,
            discriminators={"windows": (64,), "spectral_width": 4, "scales": 0},
        ),
        *recordings,
    )
    w2v_bert = W2vBertTask(
        W2vBertConfig(
            conformer=ConformerConfig(width=16, layers=2, heads=2, feed_forward=32, kernel=3),
            contrastive_layers=1,
            quantizer={"kind": "clusters", "entries": 8, "width": 8},
        ),
        W2vBertTraining(optimization=optimization(3, batch_size=4), crop_seconds=1.0),
        *recordings,
        seed=0,
    )
    told = {"batch": codec.batch(0, world.rank).waveform}
    for task in (codec, w2v_bert):
        averaged = train(task, folder / task.name, CPU, world, quiet=True).averaged
        told[task.name] = averaged.state_dict()
    return told


def _train_model(folder: Path, corpus: Path) -> dict:
    """The whole recipe."""
    from audiolm.training.preset import load_preset
    from audiolm.training.recipe import TrainingRequest, train_model

    preset = load_preset("tiny")
    steps = [*(f"training.{name}" for name in ("codec", "w2v_bert"))]
    steps += [f"training.stages.{name}" for name in preset.stages]
    short = load_preset("tiny", [f"{place}.optimization.steps=2" for place in steps])
    return train_model(TrainingRequest(corpus, folder / "model", short, quiet=True))["steps"]


@pytest.mark.slow
def test_every_rank_is_told_what_rank_0_holds(of_two) -> None:
    assert [one["world"] for one in of_two] == [(0, 2, True), (1, 2, False)]
    first, second = (one["exchanged"] for one in of_two)
    assert torch.equal(first["weight"], second["weight"])
    assert first["started"] is second["started"] is True
    assert first["agreed"] == second["agreed"] == 10.0
    for one in (first, second):
        assert [tensor.tolist() for tensor in one["gathered"]] == [[5], [6]]


@pytest.mark.slow
def test_gradients_are_averaged_and_a_missing_one_counts_as_zero(of_two) -> None:
    for one in of_two:
        weight, bias = one["exchanged"]["gradients"]
        assert torch.equal(weight, torch.full((2, 2), 1.5))
        assert torch.equal(bias, torch.full((2,), 0.5))


@pytest.mark.slow
def test_ranks_see_other_crops_and_keep_the_same_weights(of_two) -> None:
    first, second = (one["following"] for one in of_two)
    assert not torch.equal(first["batch"], second["batch"])
    for name in ("codec", "w2v_bert"):
        assert first[name].keys() == second[name].keys()
        for key, tensor in first[name].items():
            assert torch.equal(tensor, second[name][key]), f"{name}: {key}"
    assert bool(first["codec"]["quantizer.training_state.started"])
    assert bool(first["w2v_bert"]["quantizer.started"])


@pytest.mark.slow
def test_resumed_equals_uninterrupted_on_every_rank(of_two) -> None:
    for one in of_two:
        assert len(one["stage"]["losses"]["whole"]) == 6
        assert one["stage"]["losses"]["parts"] == one["stage"]["losses"]["whole"]
        for key, tensor in one["stage"]["whole"].items():
            assert torch.equal(tensor, one["stage"]["parts"][key]), key
    first, second = (one["stage"]["losses"]["whole"] for one in of_two)
    assert first != second  # each its own crops, its own dropout


@pytest.mark.slow
def test_two_processes_train_a_whole_model(of_two, tmp_path_factory) -> None:
    first, second = (one["steps"] for one in of_two)
    assert list(first) == list(second)
    assert first["codec"]["steps"] == second["codec"]["steps"] == 2
    for name in ("semantic", "coarse", "fine", "acoustic_only"):
        assert first[name]["loss"] == pytest.approx(second[name]["loss"], rel=1e-5)
    folder = next(tmp_path_factory.getbasetemp().glob("two*")) / "model"
    parts = read_manifest(folder).parts
    assert {"codec", "semantic", "stage_fine", "stage_acoustic_only"} <= parts.keys()
    assert not list(folder.rglob("*.part"))
