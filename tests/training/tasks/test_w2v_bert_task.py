"""Training w2v-BERT: what it hears, what judges it, and resuming with all its randomness."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from audiolm.audio.augment import Augment, AugmentConfig
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig, span_mask
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


@torch.no_grad()
def test_unmasked_steps_are_weighed_and_masked_ones_are_not_weighed_twice() -> None:
    """Loss at weight w = loss at 0 + w x cross-entropy of the steps that were heard, no others."""
    steps, lengths = 50, torch.tensor([32_000, 20_000])  # of the second, 32 steps are real
    targets = torch.randint(0, 7, (2, steps), generator=torch.Generator().manual_seed(1))
    targets[:, 5:9] = -1  # as where a recording has no id
    waveform = 0.1 * torch.randn(2, 32_000, generator=torch.Generator().manual_seed(2))
    losses, seen = [], []
    for weight in (0.0, 0.7):
        torch.manual_seed(4)
        network = W2vBert(
            W2vBertConfig(
                conformer=CONFORMER,
                contrastive_layers=1,
                contrastive_weight=0.0,
                external_targets=7,
                unmasked_weight=weight,
            )
        ).eval()
        network.head.register_forward_hook(lambda _, __, logits: seen.append(logits))
        generator = torch.Generator().manual_seed(3)
        loss = network(waveform, None, lengths, targets=targets, generator=generator).loss
        losses.append(float(loss))
    real = network.conformer.real_steps(waveform, lengths)
    masked = span_mask(real, network.config.masking, torch.Generator().manual_seed(3))
    heard = real & ~masked & (targets >= 0)
    assert int(heard.sum()) > 5 and int((masked & (targets >= 0)).sum()) > 5
    nats = torch.nn.functional.cross_entropy(seen[1][:, :, 0][heard], targets[heard])
    assert losses[1] - losses[0] == pytest.approx(0.7 * float(nats), rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("gumbel", "raise w2v_bert.diversity_weight"),
        ("clusters", "lower w2v_bert.quantizer.entries"),
    ],
)
def test_a_collapsed_codebook_is_warned_of_with_a_remedy_that_helps(
    recordings, monkeypatch, kind, remedy
) -> None:
    one = task(recordings, kind)
    network = one.network
    forward = network.forward

    def collapsed(*arguments, **named):
        return replace(forward(*arguments, **named), perplexity=torch.tensor(1.0))

    monkeypatch.setattr(network, "forward", collapsed)
    with torch.no_grad():
        (warning,) = one.validate(network.eval()).warnings
    assert remedy in warning
    assert ("diversity_weight" in warning) == (kind == "gumbel")
