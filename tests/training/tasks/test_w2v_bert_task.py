"""Training w2v-BERT: what it hears, what judges it, and resuming with all its randomness."""

import numpy as np
import pytest
import torch

from audiolm.audio.augment import Augment, AugmentConfig
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.training.tasks.w2v_bert import W2vBertTask, W2vBertTraining
from training.resuming import assert_resumed_equals_uninterrupted, optimization

CONFORMER = ConformerConfig(width=16, layers=2, heads=2, feed_forward=32, kernel=3, dropout=0.1)


def task(recordings, kind: str = "gumbel", seed: int = 0, **changes) -> W2vBertTask:
    config = W2vBertConfig(
        conformer=CONFORMER,
        contrastive_layers=1,
        quantizer={"kind": kind, "entries": 16, "width": 8},
        distractors=10,
    )
    settings = {"optimization": optimization(6), "crop_seconds": 2.5}
    return W2vBertTask(config, W2vBertTraining(**(settings | changes)), *recordings, seed)


@pytest.mark.parametrize("kind", ["gumbel", "clusters"])
def test_resumed_equals_uninterrupted(recordings, tmp_path, kind) -> None:
    """Masks, Gumbel noise, dropout, revived clusters and perturbations go on as they would have."""
    assert_resumed_equals_uninterrupted(lambda: task(recordings, kind), tmp_path, dies_at=3)


def test_a_batch_depends_on_step_and_rank_alone(recordings) -> None:
    one, other = task(recordings), task(recordings)
    first = {key: one.batch(*key) for key in [(0, 0), (1, 0), (0, 1)]}
    again = {key: other.batch(*key) for key in [(0, 1), (1, 0), (0, 0)]}
    for key, batch in first.items():
        for name, tensor in batch.items():
            assert torch.equal(tensor, again[key][name]), (key, name)
    noisy = [batch["noisy"] for batch in first.values()]
    assert not any(torch.equal(noisy[0], others) for others in noisy[1:])


def test_perturbations_have_a_seed_that_every_version_of_python_makes_alike(recordings) -> None:
    batch = task(recordings, seed=3).batch(7, 2)
    key = np.random.SeedSequence((3, 7, 2)).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(key))
    assert torch.equal(batch["noisy"], Augment(AugmentConfig())(batch["clean"], generator))
    assert not torch.equal(batch["noisy"], batch["clean"])


def test_without_perturbation_the_crop_is_heard_as_it_is(recordings) -> None:
    batch = task(recordings, augment=None).batch(0, 0)
    assert torch.equal(batch["noisy"], batch["clean"])


def test_recordings_shorter_than_a_crop_are_padded_and_their_lengths_told(recordings) -> None:
    batch = task(recordings, crop_seconds=4.5).batch(0, 0)
    assert batch["clean"].shape == (3, 72_000)
    assert int(batch["lengths"].min()) < 72_000
    for waveform, length in zip(batch["clean"], batch["lengths"].tolist(), strict=True):
        assert not waveform[length:].any()
        assert waveform[length - 1600 : length].any()


@torch.no_grad()
def test_validation_hears_clean_crops_alike_each_time(recordings) -> None:
    one = task(recordings)
    network = one.networks["w2v_bert"].eval()
    metrics = []
    for _ in range(2):
        torch.manual_seed(0)
        metrics.append(one.validate(network).metrics)
    assert metrics[0] == metrics[1]
    assert metrics[0]["loss"] > 0
    waveform, lengths = one.validation.fixed_batch(2.5, 24)
    torch.manual_seed(0)
    result = network(waveform, None, lengths, progress=1.0)
    assert metrics[0]["loss"] == result.loss.item()
    assert metrics[0]["masked_prediction"] == result.masked_prediction.item()


@torch.no_grad()
def test_a_collapsed_codebook_is_told_with_a_remedy(recordings) -> None:
    one = task(recordings)
    network = one.networks["w2v_bert"].eval()
    assert one.validate(network).warnings == []
    network.quantizer.score.weight.zero_()
    (warning,) = one.validate(network).warnings
    assert warning.startswith("the quantizer uses few of its 16 entries (perplexity 1): raise")


def test_nothing_is_exported_before_clustering(recordings) -> None:
    one = task(recordings)
    assert one.export(one.networks["w2v_bert"]) is None
