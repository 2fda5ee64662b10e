"""Training a stage: what it is judged by, against plain counts, and resuming."""

import math
from collections import Counter
from dataclasses import replace
from itertools import groupby

import pytest
import torch

from audiolm.stages import LayoutConfig, TransformerConfig, stage_kind
from audiolm.training.tasks import stage as stage_task
from audiolm.training.tasks.stage import StageTask, StageTraining
from training.resuming import CPU, assert_resumed_equals_uninterrupted, optimization, run
from training.toy import LEVELS, K, N

TRAIN = [60, 30, 45, 9, 80]
VALIDATION = [25, 52, 7]
KINDS = ["semantic", "coarse", "fine", "acoustic_only"]
"""Those that predict the next token."""


def task(store, validation, kind: str = "coarse", dropout: float = 0.2, **changes) -> StageTask:
    layout = {"clusters": K, "codebook_size": N, "coarse_levels": 2, "levels": LEVELS}
    layout["remove_repeats"] = changes.pop("remove_repeats", kind != "parallel")
    layout["fill_in_the_middle"] = changes.pop("fill_in_the_middle", None)
    if kind == "parallel":
        layout["conditioning"] = "aligned"
    config = stage_kind(kind).config(
        layout=LayoutConfig(kind=kind, **layout),
        transformer=TransformerConfig(
            layers=1, heads=2, width=16, feed_forward=32, dropout=dropout
        ),
        context_seconds=2,
        **({"passes": (2, 1)} if kind == "parallel" else {}),
    )
    settings = {"optimization": optimization(6), "crop_seconds": 0.8}
    training = StageTraining(**(settings | changes))
    return StageTask(kind, config, training, store, validation, CPU, 1, seed=4)


@pytest.fixture
def stores(token_store):
    return token_store(TRAIN), token_store(VALIDATION, seed=1, name="held", frames_less=1)


@pytest.mark.parametrize("kind", ["semantic", "coarse", "parallel"])
def test_resumed_equals_uninterrupted(stores, tmp_path, kind) -> None:
    assert_resumed_equals_uninterrupted(lambda: task(*stores, kind), tmp_path, dies_at=3)


def test_a_batch_depends_on_step_and_rank_alone(stores) -> None:
    one, other = task(*stores), task(*stores)
    first = {key: one.batch(*key) for key in [(0, 0), (1, 0), (0, 1)]}
    again = {key: other.batch(*key) for key in [(0, 1), (1, 0), (0, 0)]}
    for key, streams in first.items():
        assert torch.equal(streams.codes, again[key].codes)
    codes = [streams.codes for streams in first.values()]
    assert not any(torch.equal(codes[0], others) for others in codes[1:])


def test_a_batch_holds_crops_of_both_streams(stores) -> None:
    streams = task(*stores, optimization=optimization(6, batch_size=40)).batch(0, 0)
    assert streams.semantic.shape == (40, 20)
    assert streams.codes.shape == (40, LEVELS, 40)
    real = streams.semantic >= 0
    assert torch.equal(streams.codes[:, 0], streams.semantic.repeat_interleave(2, dim=1))
    assert not real.all()  # the recording of 9 steps
    assert streams.ended[~real.all(dim=1)].all()
    assert 0 < int(streams.ended.sum()) < 40


def test_a_stage_that_shall_fill_the_middle_gets_crops_of_two_sides(stores, tmp_path) -> None:
    def made(**changes) -> StageTask:
        how = {"optimization": optimization(6, batch_size=40), "fill_in_the_middle": True}
        return task(*stores, "semantic", **(how | changes))

    plain = task(*stores, "semantic", optimization=optimization(6, batch_size=40))
    whole, cut = plain.batch(3, 0), made().batch(3, 0)
    assert whole.far is None
    assert torch.equal(torch.where(cut.far >= 0, cut.far, cut.semantic), whole.semantic)
    assert 8 < int((cut.far >= 0).any(1).sum()) < 32
    again = made().batch(3, 0)
    assert torch.equal(again.far, cut.far) and torch.equal(again.semantic, cut.semantic)
    assert not torch.equal(made().batch(4, 0).far, cut.far)
    never = made(far_side_first=0.0).batch(3, 0)
    assert never.far is None and torch.equal(never.semantic, whole.semantic)
    assert made()._streams(stores[1], [(0, 0)]).far is None  # it is judged from left to right
    assert_resumed_equals_uninterrupted(
        lambda: task(*stores, "semantic", fill_in_the_middle=True), tmp_path, dies_at=3
    )


@pytest.fixture
def copied(stores):
    """The same stores; but the first half of what is trained on is the second half's copies."""
    train, validation = stores
    half = len(train) // 2
    train.recordings = [
        replace(recording, speed=1.1 if i < half else 1.0)
        for i, recording in enumerate(train.recordings)
    ]
    return train, validation


def drawn(one: StageTask, progress: float, monkeypatch) -> set[int]:
    """Which recordings come in the first 30 batches."""
    indices: set[int] = set()
    with monkeypatch.context() as patch:
        patch.setattr(one, "_streams", lambda store, draws: indices.update(i for i, _ in draws))
        for step in range(30):
            one.batch(step, 0, progress)
    return indices


def test_copies_come_first_and_recordings_as_they_are_last(copied, monkeypatch) -> None:
    one, half, every = task(*copied), len(copied[0]) // 2, set(range(len(copied[0])))
    assert drawn(one, 0.0, monkeypatch) == drawn(one, 0.74, monkeypatch) == every
    assert drawn(one, 0.75, monkeypatch) == drawn(one, 1.0, monkeypatch) == every - set(range(half))
    assert drawn(task(*copied, as_recorded_from=1.0), 0.99, monkeypatch) == every
    assert drawn(one, 0.2, monkeypatch) == every  # a function of its arguments, as ever


def test_a_training_with_copies_resumes_to_the_same_losses(copied, tmp_path) -> None:
    made = lambda: task(*copied, as_recorded_from=0.5)  # noqa: E731
    assert_resumed_equals_uninterrupted(made, tmp_path, dies_at=3)


def flat_ids(store, kind: int, remove_repeats: bool) -> list[int]:
    """All ids of one kind in a store, 0 for semantic, q for level q."""
    ids = []
    for index in range(len(store)):
        row = store.semantic(index).tolist() if kind == 0 else store.codes(index)[kind - 1].tolist()
        ids += [k for k, _ in groupby(row)] if remove_repeats and kind == 0 else row
    return ids


@pytest.mark.parametrize(
    ("kind", "predicted", "remove_repeats"),
    [
        ("semantic", [0], True),
        ("semantic", [0], False),
        ("coarse", [1, 2], True),
        ("fine", [3, 4], True),
        ("acoustic_only", [1, 2], True),
        ("parallel", [1, 2], False),
    ],
)
def test_unigram_bits_are_those_of_a_plain_count(stores, kind, predicted, remove_repeats) -> None:
    bits, count = 0.0, 0
    for level in predicted:
        size = N if level else K
        seen = Counter(flat_ids(stores[0], level, remove_repeats))
        total = sum(seen.values()) + size
        for asked in flat_ids(stores[1], level, remove_repeats):
            bits -= math.log2((seen[asked] + 1) / total)
            count += 1
    found = task(*stores, kind, remove_repeats=remove_repeats).unigram_bits()
    assert found == pytest.approx(bits / count, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_validation_is_the_mean_log_likelihood_of_all_tokens(stores, kind) -> None:
    one = task(*stores, kind)
    stage = one.networks[kind].eval()
    nats = tokens = 0.0
    for index in range(len(stores[1])):
        steps = stores[1].steps(index)
        # Crops of 20 steps that follow one another; what is left is judged from 10 steps on.
        for start in [0, *range(20, steps - 10, 20)]:
            streams = one._streams(stores[1], [(index, start)])
            found = stage.log_likelihood(streams)
            nats -= float(found.total.sum())
            tokens += int(found.predicted.sum())
    validation = one.validate(stage)
    assert validation.metrics["loss"] == pytest.approx(nats / tokens, rel=1e-5)
    assert validation.metrics["bits"] == pytest.approx(nats / tokens / math.log(2), rel=1e-5)
    of_kinds = [value for name, value in validation.metrics.items() if name.startswith("bits ")]
    assert sum(of_kinds) / len(of_kinds) == pytest.approx(validation.metrics["bits"], rel=1e-5)


@torch.no_grad()
def test_a_parallel_stage_is_judged_at_every_level(stores) -> None:
    one = task(*stores, "parallel")
    torch.manual_seed(0)
    metrics = one.validate(one.networks["parallel"].eval()).metrics
    assert {"loss", "accuracy", "bits level 1", "bits level 2"} <= metrics.keys()
    mean = (metrics["bits level 1"] + metrics["bits level 2"]) / 2
    assert metrics["bits"] == pytest.approx(mean) and 0 <= metrics["accuracy"] <= 1
    torch.manual_seed(0)
    assert one.validate(one.networks["parallel"].eval()).metrics == metrics


def test_crops_of_validation_are_spread_where_there_are_too_many(stores, monkeypatch) -> None:
    one = task(*stores)
    every = [draw for draws in one._validation_draws() for draw in draws]
    assert every == [(0, 0), (1, 0), (1, 20), (1, 40), (2, 0)]
    monkeypatch.setattr(stage_task, "MOST_VALIDATION_CROPS", 3)
    fewer = [draw for draws in one._validation_draws() for draw in draws]
    assert fewer == every[::2]


@torch.no_grad()
def test_no_better_than_frequencies_is_told(stores) -> None:
    one = task(*stores)
    (warning,) = one.validate(one.networks["coarse"].eval()).warnings
    assert "bits per token is no better than the unigram entropy" in warning
    assert warning.endswith("train longer, or lower the learning rate")


def test_better_than_frequencies_is_no_alarm(stores, tmp_path) -> None:
    learning = optimization(60, learning_rate=1e-2, batch_size=8, ema_decay=0.5)
    one = task(*stores, "semantic", dropout=0.0, optimization=learning)
    averaged = run(one, tmp_path, seed=0).averaged
    validation = one.validate(averaged)
    assert validation.metrics["bits"] < validation.metrics["unigram bits"] - 1
    assert validation.warnings == []
    assert one.export(averaged) is averaged


def test_recordings_shorter_than_a_crop_are_enough(token_store, tmp_path) -> None:
    stores = token_store([5, 3, 8]), token_store([2, 1], name="held")
    for kind in [*KINDS, "parallel"]:
        outcome = run(task(*stores, kind, crop_seconds=4), tmp_path / kind, seed=0)
        assert math.isfinite(outcome.metrics["loss"])
