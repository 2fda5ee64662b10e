"""Stages that go on with other semantic ids: what stands for the same says the same."""

from types import SimpleNamespace

import pytest
import torch

from audiolm.stages import AutoregressiveStage, Streams
from audiolm.training.initialisation import (
    old_ids_of_new,
    start_from,
    transfer_vocabulary,
    with_far_side,
)
from tiny import COARSE, K, N, tiny_model, tiny_tokenizer


class Recordings:
    """Four recordings of noise of different length, in two batches, padded."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        lengths = [9000, 12_345, 20_480, 16_000]
        self.waveforms = [0.1 * torch.randn(n, generator=generator) for n in lengths]

    def by_length(self, seconds, hours=None):
        return [[0, 1], [3, 2]]

    def whole(self, indices):
        rows = [self.waveforms[i] for i in indices]
        lengths = torch.tensor([len(row) for row in rows])
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths


def tokens(ids: list[torch.Tensor], clusters: int) -> SimpleNamespace:
    """A store of these ids."""
    return SimpleNamespace(format=SimpleNamespace(clusters=clusters), semantic=ids.__getitem__)


@pytest.fixture(scope="module")
def tokenizer():
    """The old tokenizer."""
    torch.manual_seed(0)
    return tiny_tokenizer()


def old_ids(tokenizer, recordings: Recordings) -> list[torch.Tensor]:
    """What the old tokenizer says of each recording alone."""
    return [tokenizer.encode(w[None])[0] for w in recordings.waveforms]


def stage(kind: str, clusters: int, **layout) -> AutoregressiveStage:
    """The tiny stage, for another K or layout; its weights are of no account."""
    given = tiny_model(kinds=(kind,)).stages[kind].config
    changed = given.layout.model_copy(update={"clusters": clusters, **layout})
    return AutoregressiveStage(given.model_copy(update={"layout": changed})).eval()


def streams(semantic: torch.Tensor, seed: int = 0) -> Streams:
    """Codes beside the ids (B, S)."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, N, (len(semantic), COARSE, 2 * semantic.shape[1]), generator=generator)
    return Streams(semantic, codes, torch.ones(len(semantic), dtype=torch.bool))


def test_shares_are_counted_step_by_step(tokenizer) -> None:
    recordings = Recordings()
    old = old_ids(tokenizer, recordings)
    new = [(ids + torch.arange(len(ids)) % 3) % 5 for ids in old]
    shares = old_ids_of_new(tokenizer, tokens(new, 5), recordings)
    counted = torch.zeros(5, K)
    for was, now in zip(old, new, strict=True):
        for a, b in zip(now.tolist(), was.tolist(), strict=True):
            counted[a, b] += 1
    assert counted.sum() == sum(len(ids) for ids in old) > 80
    assert torch.allclose(shares, counted / counted.sum(1, keepdim=True))


def test_an_id_never_met_stands_for_all(tokenizer) -> None:
    recordings = Recordings()
    old = old_ids(tokenizer, recordings)
    shares = old_ids_of_new(tokenizer, tokens([ids * 0 for ids in old], 2), recordings)
    assert torch.equal(shares[0], shares[1])
    assert torch.allclose(shares.sum(1), torch.ones(2))
    assert shares[0].max() < 1


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        ("semantic", {}),
        ("coarse", {}),
        ("coarse", {"conditioning": "aligned", "remove_repeats": False, "look_ahead": 1}),
        ("coarse", {"conditioning": "both", "remove_repeats": False}),
    ],
)
def test_other_names_for_the_same_ids_change_nothing(kind, layout) -> None:
    torch.manual_seed(0)
    learnt, ours = stage(kind, K, **layout), stage(kind, K, **layout)
    names = torch.randperm(K)  # the new name of each old id
    shares = torch.zeros(K, K)
    shares[names, torch.arange(K)] = 1
    ours.load_state_dict(transfer_vocabulary(learnt, ours, shares))
    semantic = torch.randint(0, K, (3, 20))
    expected = learnt.log_likelihood(streams(semantic))
    found = ours.log_likelihood(streams(names[semantic]))
    assert torch.allclose(found.total, expected.total, atol=1e-4)
    assert not torch.allclose(ours.log_likelihood(streams(semantic)).total, expected.total)


def test_ids_that_were_split_and_more_to_look_at_change_nothing_at_first() -> None:
    torch.manual_seed(0)
    aligned = {"conditioning": "aligned", "remove_repeats": False}
    learnt = stage("coarse", K, look_ahead=1, **aligned)
    ours = stage("coarse", 2 * K, look_ahead=3, **aligned)
    shares = torch.eye(K).repeat(2, 1)  # id and id + K were one
    ours.load_state_dict(transfer_vocabulary(learnt, ours, shares))
    semantic = torch.randint(0, K, (3, 20))
    halves = semantic + K * torch.randint(0, 2, semantic.shape)
    expected = learnt.log_likelihood(streams(semantic)).per_token
    found = ours.log_likelihood(streams(halves)).per_token
    ahead = 1 + 2 * 3 * COARSE  # those that would look beyond the end see "none" more often
    assert torch.allclose(found[:, :-ahead], expected[:, :-ahead], atol=1e-5)


def test_less_to_look_at_drops_what_was_furthest_ahead() -> None:
    torch.manual_seed(0)
    aligned = {"conditioning": "aligned", "remove_repeats": False}
    learnt, ours = (stage("coarse", K, look_ahead=n, **aligned) for n in (2, 0))
    ours.load_state_dict(transfer_vocabulary(learnt, ours, torch.eye(K)))
    rows = learnt.transformer.aligned.weight
    assert torch.equal(ours.transformer.aligned.weight, rows[: 1 + K])


def test_a_stage_that_shall_fill_the_middle_says_at_first_what_it_said(tmp_path) -> None:
    torch.manual_seed(0)
    lm = tiny_model(kinds=("semantic",))
    lm.save(tmp_path / "old", dtype="float32")
    ours = stage("semantic", K, fill_in_the_middle=True)
    start_from(tmp_path / "old", "stage_semantic", ours)
    semantic = torch.randint(0, K, (3, 20))
    expected = lm.stages["semantic"].log_likelihood(Streams(semantic)).total
    assert torch.allclose(ours.log_likelihood(Streams(semantic)).total, expected, atol=1e-4)
    far = torch.randint(0, K, (3, 5))
    assert ours.log_likelihood(Streams(semantic, far=far)).total.isfinite().all()
    weights = dict(ours.state_dict())
    assert with_far_side(weights, ours) is weights  # one that has learnt keeps all it has learnt


def test_other_ids_and_the_middle_at_once() -> None:
    torch.manual_seed(0)
    learnt, ours = stage("semantic", K), stage("semantic", K + 4, fill_in_the_middle=True)
    shares = torch.eye(K)[torch.arange(K + 4) % K]
    ours.load_state_dict(with_far_side(transfer_vocabulary(learnt, ours, shares), ours))
    assert ours.transformer.embedding.weight.shape[0] == 2 + K + 4 + 1
    fills, split = stage("semantic", K, fill_in_the_middle=True), ours
    weights = with_far_side(transfer_vocabulary(fills, split, shares), split)
    separator = fills.transformer.embedding.weight[fills.layout.separator]
    assert torch.equal(weights["transformer.embedding.weight"][split.layout.separator], separator)
