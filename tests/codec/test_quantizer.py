import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributed, multiprocessing

from audiolm.codec.quantizer import QuantizerConfig, ResidualQuantizer, exported
from audiolm.errors import ConfigurationError
from reference.residual_quantizer import follow, quantize

KINDS = {
    "plain": {},
    "normalised": {"normalise": True},
    "projected": {"codebook_dim": 3},
    "projected and normalised": {"codebook_dim": 3, "normalise": True},
}


def quantizer(dim=6, seed=0, **settings_):
    torch.manual_seed(seed)
    config = QuantizerConfig(**{"levels": 4, "codebook_size": 16, "dropout": 0.0} | settings_)
    return ResidualQuantizer(config, dim)


def vectors(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def projections(model):
    if not model.config.codebook_dim:
        return None, None
    return (
        [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in side]
        for side in (model.down, model.up)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_encode_and_decode_equal_the_plain_loop(kind):
    model = quantizer(**KINDS[kind])
    x = vectors(2, 10, 6)
    down, up = projections(model)
    codes, added = quantize(
        x.flatten(0, 1).numpy(), model.codebooks.numpy(), down, up, model.config.normalise
    )
    made = model.encode(x)  # (B, Q, F)
    assert made.dtype == torch.int64
    assert np.array_equal(made.transpose(0, 1).flatten(1).numpy(), codes)
    for q in range(1, 5):
        decoded = model.decode(made[:, :q]).detach().flatten(0, 1).numpy()
        np.testing.assert_allclose(decoded, added[:q].sum(axis=0), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 5), st.integers(1, 3))
def test_fewer_levels_are_a_prefix_of_all(levels, frames, rows):
    model = quantizer()
    x = vectors(rows, frames, 6)
    codes = model.encode(x, levels)
    assert codes.shape == (rows, levels, frames)
    assert torch.equal(codes, model.encode(x)[:, :levels])
    assert model.decode(codes).shape == (rows, frames, 6)


def test_every_level_brings_the_sum_closer():
    model = quantizer(levels=6, codebook_size=64).train()
    x = vectors(4, 200, 6)
    model(x)
    model.eval()
    codes = model.encode(x)
    errors = [(model.decode(codes[:, :q]) - x).square().mean().item() for q in range(1, 7)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.2 * errors[0]


@pytest.mark.parametrize("levels", [0, 5])
def test_levels_that_do_not_exist_are_refused(levels):
    model = quantizer()
    with pytest.raises(ConfigurationError, match=f"{levels}.* 4; give 1 to 4"):
        model.encode(vectors(1, 3, 6), levels)
    with pytest.raises(ConfigurationError, match=f"{levels}.* 4; give 1 to 4"):
        model.decode(torch.zeros(1, levels, 3, dtype=torch.int64))


def test_evaluation_equals_encode_and_decode_and_changes_nothing():
    model = quantizer(dropout=1.0).eval()
    before = copy.deepcopy(model.state_dict())
    x = vectors(2, 10, 6)
    output = model(x)
    assert torch.equal(output.codes, model.encode(x))
    torch.testing.assert_close(output.embeddings, model.decode(output.codes))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_start_finds_the_clusters_of_the_data():
    centres = 10 * vectors(4, 6)
    x = (centres.repeat(32, 1) + 0.1 * vectors(128, 6, seed=2))[None]  # (1, 128, D)
    model = quantizer(levels=1, revive_below=0.0).train()
    model(x)
    to_codes = torch.cdist(centres, model.codebooks[0]).min(dim=1).values
    to_centres = torch.cdist(model.codebooks[0], centres).min(dim=1).values
    assert to_codes.max() < 0.3 and to_centres.max() < 0.5


def test_start_takes_every_level_from_what_is_left_over():
    model = quantizer(levels=3, revive_below=0.0).train()
    x = 5 + vectors(2, 64, 6)
    model(x)
    model.eval()
    left = x - model.decode(model.encode(x, levels=1))
    scale = left.square().mean().sqrt()
    used = model.codebooks[1][model.encode(x)[:, 1].unique()]
    assert 0.3 * scale < used.square().mean().sqrt() < scale


def test_start_with_fewer_vectors_than_codes_leaves_something_to_the_deep_levels():
    model = quantizer(levels=4, codebook_size=64).train()
    for step in range(3):
        model(vectors(1, 20, 6, seed=step))
    assert torch.isfinite(model.codebooks).all()
    sizes = model.codebooks.square().mean(dim=(1, 2)).sqrt()  # (Q,)
    assert (sizes > 0.1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_codebooks_follow_the_moving_averages_of_the_plain_loop(kind):
    model = quantizer(revive_below=0.0, decay=0.9, **KINDS[kind]).train()
    model(vectors(4, 50, 6))
    before = copy.deepcopy(model)
    x = vectors(2, 30, 6, seed=2)
    model(x)
    flat = x.flatten(0, 1).numpy()
    down, up = projections(before)
    codes, added = quantize(flat, before.codebooks.numpy(), down, up, before.config.normalise)
    for q in range(4):
        left = flat - added[:q].sum(axis=0)
        keys = left if down is None else left @ down[q][0].T + down[q][1]
        state = before.training_state
        counts, sums, codebook = follow(
            keys, codes[q], state.counts[q].numpy(), state.sums[q].numpy(), 0.9
        )
        np.testing.assert_allclose(model.training_state.counts[q], counts, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.training_state.sums[q], sums, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(model.codebooks[q], codebook, rtol=1e-3, atol=1e-4)


def test_a_dead_code_moves_to_a_vector_of_the_batch_and_a_living_one_does_not():
    model = quantizer(levels=1, codebook_size=8).train()
    x = vectors(1, 200, 6)
    model(x)
    model.training_state.counts[0, [2, 5]] = 0.0
    model.training_state.sums[0, [2, 5]] = 0.0
    model.codebooks[0, [2, 5]] = 100.0  # where nothing will choose them
    before = model.codebooks[0].clone()
    model(x)
    moved = model.codebooks[0, [2, 5]]
    assert (moved[:, None] == x[0]).all(dim=2).any(dim=1).all()
    assert not torch.equal(moved[0], moved[1])
    alive = [0, 1, 3, 4, 6, 7]
    assert (model.codebooks[0, alive] - before[alive]).abs().max() < 0.1


def test_without_revival_a_dead_code_stays():
    model = quantizer(levels=1, revive_below=0.0).train()
    x = vectors(1, 200, 6)
    model(x)
    model.training_state.counts[0, 3] = 0.0
    model.codebooks[0, 3] = 100.0
    model(x)
    assert (model.codebooks[0, 3] == 100.0).all()


def test_revival_brings_every_code_into_use():
    model = quantizer(levels=2, codebook_size=32).train()
    model(0.01 * vectors(1, 100, 6))  # a start from data unlike what follows
    for step in range(150):
        output = model(5 * vectors(2, 100, 6, seed=step))
    assert (output.perplexity > 20).all()


def test_perplexity_counts_the_codes_in_use():
    model = quantizer(levels=2, codebook_size=4)
    model.training_state.counts[0] = 7.0
    model.training_state.counts[1, 0] = 7.0
    torch.testing.assert_close(model.perplexity(), torch.tensor([4.0, 1.0]))


def test_dropout_leaves_each_row_a_prefix_of_the_levels():
    model = quantizer(dropout=1.0).train()
    model(vectors(4, 50, 6))
    model.training_state.started.fill_(True)
    books = model.codebooks.clone()
    x = vectors(64, 3, 6, seed=2)
    output = model(x)
    model.codebooks.copy_(books)  # as they were when the batch was quantized
    prefixes = torch.stack([model.decode(output.codes[:, :q]) for q in range(1, 5)])
    errors = (prefixes - output.embeddings).abs().amax(dim=(2, 3))  # (Q, B)
    assert (errors.min(dim=0).values < 1e-5).all()
    counts = torch.bincount(errors.argmin(dim=0), minlength=4)
    assert (counts >= 5).all()  # evenly drawn: 16 each expected


def test_commitment_is_the_mean_over_the_levels_a_row_uses():
    model = quantizer(dropout=1.0).train()
    model(vectors(4, 50, 6))
    books = model.codebooks.clone().numpy()
    x = vectors(8, 3, 6, seed=2)
    output = model(x)
    total, used = 0.0, 0
    for row in range(8):
        _, added = quantize(x[row].numpy(), books)
        made = output.embeddings[row].detach().numpy()
        prefix = [np.abs(added[:q].sum(axis=0) - made).max() for q in range(1, 5)]
        levels = int(np.argmin(prefix)) + 1
        for q in range(levels):
            left = x[row].numpy() - added[:q].sum(axis=0)
            total += np.mean((left - added[q]) ** 2)
        used += levels
    assert output.commitment.item() == pytest.approx(total / used, rel=1e-4)


def test_without_dropout_all_levels_are_used_and_the_global_generator_is_left_alone():
    model = quantizer(dropout=0.0).eval()
    state = torch.get_rng_state()
    model(vectors(2, 5, 6))
    assert torch.equal(state, torch.get_rng_state())


def test_gradients_go_straight_through():
    model = quantizer(levels=3).train()
    x = vectors(2, 50, 6).requires_grad_()
    output = model(x)
    weight = vectors(2, 50, 6, seed=3)
    (gradient,) = torch.autograd.grad((output.embeddings * weight).sum(), x, retain_graph=True)
    torch.testing.assert_close(gradient, weight)
    (gradient,) = torch.autograd.grad(output.commitment, x)
    assert gradient.abs().sum() > 0


def test_projections_learn_from_what_comes_after_them():
    model = quantizer(codebook_dim=3).train()
    x = vectors(2, 50, 6).requires_grad_()
    model(x).embeddings.square().sum().backward()
    for layer in (*model.down, *model.up):
        assert layer.weight.grad.abs().sum() > 0
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_changes_nothing(kind):
    model = quantizer(**KINDS[kind]).train()
    model(vectors(2, 50, 6))
    twin = copy.deepcopy(model)
    x = vectors(2, 50, 6, seed=2)
    torch.manual_seed(0)
    expected = model(x)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        output = twin(x)
        codes = twin.encode(x)
        decoded = twin.decode(codes)
    assert torch.equal(output.codes, expected.codes)
    torch.testing.assert_close(output.embeddings, expected.embeddings)
    assert decoded.dtype == torch.float32
    assert torch.equal(codes, model.encode(x))
    assert torch.equal(twin.codebooks, model.codebooks)


def test_training_resumes_exactly_from_a_checkpoint():
    model = quantizer(dropout=0.5, codebook_size=64).train()
    for step in range(3):
        model(vectors(2, 20, 6, seed=step))
    saved, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    expected = model(vectors(2, 20, 6, seed=9))
    resumed = quantizer(dropout=0.5, codebook_size=64, seed=5).train()
    resumed.load_state_dict(saved)
    torch.set_rng_state(generator)
    output = resumed(vectors(2, 20, 6, seed=9))
    assert torch.equal(output.embeddings, expected.embeddings)
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_an_exported_quantizer_has_codebooks_only_and_loads_into_a_fresh_one():
    model = quantizer().train()
    x = vectors(2, 50, 6)
    model(x)
    shipped = exported(model)
    assert set(shipped.state_dict()) == {"codebooks"}
    assert model.training_state is not None and not shipped.training
    fresh = quantizer(seed=3)
    fresh.load_state_dict(shipped.state_dict(), strict=True)
    assert set(fresh.state_dict()) == {"codebooks"}
    assert torch.equal(fresh.encode(x), model.encode(x))
    books = fresh.codebooks.clone()
    fresh.train()(x)
    assert torch.equal(fresh.codebooks, books)  # nothing to train them with


def _rank(rank, file, x, state, results):
    distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    model = quantizer(decay=0.9).train()
    model.load_state_dict(state)
    torch.manual_seed(rank)  # so that revival would draw different vectors
    model(x[rank : rank + 1])
    torch.save(model.state_dict(), f"{results}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_make_the_codebooks_of_one_with_both_batches(tmp_path):
    model = quantizer(decay=0.9).train()
    model(vectors(4, 50, 6))
    model.training_state.counts[1, 3] = 0.0  # dead: both must revive it with one vector
    state = copy.deepcopy(model.state_dict())
    x = vectors(2, 40, 6, seed=2)
    multiprocessing.spawn(_rank, (tmp_path / "meeting", x, state, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    model(x)
    ours = model.state_dict()["training_state.counts"]
    torch.testing.assert_close(first["training_state.counts"], ours)
    torch.testing.assert_close(first["codebooks"][0], model.codebooks[0])
