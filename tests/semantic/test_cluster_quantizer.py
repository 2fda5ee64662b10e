"""Online k-means over cepstra: it follows the data, and hears neither padding nor microphone."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from audiolm.configuration import parse
from audiolm.errors import ConfigurationError
from audiolm.semantic.cluster_quantizer import (
    CEPSTRA,
    DECAY,
    UNUSED,
    ClusterQuantizer,
    one_hot,
)
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig

BINS, ENTRIES, WIDTH = 20, 6, 5


def quantizer(entries: int = ENTRIES, which: tuple[int, int] = CEPSTRA) -> ClusterQuantizer:
    torch.manual_seed(0)
    return ClusterQuantizer(BINS, entries, WIDTH, which)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spectra(seed: int, rows: int = 3, steps: int = 40, kinds: int = ENTRIES) -> Tensor:
    """Log-mel frames (B, 4 S, bins): each step one of a few sounds, and a little noise."""
    sounds = 3 * torch.randn(kinds, 4, BINS, generator=generator(99))
    drawn = torch.randint(kinds, (rows, steps), generator=generator(seed))
    noise = 0.05 * torch.randn(rows, steps, 4, BINS, generator=generator(seed + 1000))
    return (sounds[drawn] + noise).flatten(1, 2)


def everything(mel: Tensor) -> Tensor:
    return torch.ones(len(mel), mel.shape[1] // 4, dtype=torch.bool)


def cepstra(mel: Tensor, real: Tensor, which: tuple[int, int] = CEPSTRA) -> np.ndarray:
    """The real steps' cepstra (n, 4 C), less the mean of their row, written out."""
    steps = []
    for row, there in zip(mel.double().numpy(), real.numpy(), strict=True):
        count = int(there.sum())
        of_row = np.zeros((count, 4, which[1] - which[0]))
        for step in range(count):
            for part in range(4):
                frame = row[4 * step + part]
                for place, k in enumerate(range(*which)):
                    angles = [(b + 0.5) * k * math.pi / BINS for b in range(BINS)]
                    of_row[step, part, place] = (frame * np.cos(angles)).sum() * (2 / BINS) ** 0.5
        of_row = of_row.reshape(count, -1)
        steps.append(of_row - of_row.mean(0))
    return np.concatenate(steps)


def nearest(x: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return ((x[:, None] - centroids) ** 2).sum(2).argmin(1)


@pytest.mark.parametrize("which", [CEPSTRA, (5, 20)])
def test_it_starts_by_k_means_on_the_first_batch(which) -> None:
    one, mel = quantizer(which=which).train(), spectra(0)
    real = everything(mel)
    _, ids = one(mel, real, generator())
    x = cepstra(mel, real, which)
    assert one.spread.numpy() == pytest.approx(x.std(0), rel=1e-4)
    x = x / x.std(0)
    centroids = one.centroids.double().numpy()
    mine = nearest(x, centroids)
    assert (ids.flatten().numpy() == mine).all()
    for k in np.unique(mine):  # every centroid in use is the mean of its steps
        assert centroids[k] == pytest.approx(x[mine == k].mean(0), abs=1e-4)
    assert one.counts.sum() == len(x)
    assert bool(one.started)


def test_clusters_follow_the_data_as_written_out() -> None:
    one = quantizer().train()
    one(spectra(0), everything(spectra(0)), generator())
    one.counts.fill_(1.0)  # light enough to be seen moving, and none of them unused
    centroids, counts = one.centroids.double().numpy(), one.counts.double().numpy()
    mel = 1.1 * spectra(1)
    one(mel, everything(mel), generator())
    x = cepstra(mel, everything(mel)) / one.spread.double().numpy()
    ids = nearest(x, centroids)
    for k in range(ENTRIES):
        mine = x[ids == k]
        total = DECAY * counts[k] + (1 - DECAY) * len(mine)
        step = (1 - DECAY) * len(mine) / total
        expected = centroids[k] + (step * (mine.mean(0) - centroids[k]) if len(mine) else 0)
        assert one.centroids[k].numpy() == pytest.approx(expected, abs=1e-4)
        assert float(one.counts[k]) == pytest.approx(total, rel=1e-5)


def test_they_come_to_lie_on_the_sounds_and_each_sound_has_one() -> None:
    one = quantizer(entries=12).train()
    for seed in range(300):
        mel = spectra(seed, rows=2, steps=20)
        one(mel, everything(mel), generator(seed))
    mel = spectra(1000)
    _, ids = one.eval()(mel, everything(mel))
    drawn = torch.randint(ENTRIES, (3, 40), generator=generator(1000))
    for sound in range(ENTRIES):
        names = ids[drawn == sound].unique().tolist()
        others = ids[drawn != sound].unique().tolist()
        assert names and not set(names) & set(others)


def test_an_unused_cluster_is_moved_to_a_step_of_the_batch() -> None:
    one, mel = quantizer().train(), spectra(0)
    one(mel, everything(mel), generator())
    one.centroids[2] = 1e3  # nearest to nothing
    one.counts.fill_(20.0)
    one.counts[2] = 0.9 * UNUSED * 15
    one.counts[3] = 1.5 * UNUSED * 15
    kept = one.centroids[3].clone()
    one(mel, everything(mel), generator())
    x = torch.from_numpy(cepstra(mel, everything(mel))).float() / one.spread
    assert float((x - one.centroids[2]).norm(dim=1).min()) < 1e-3
    assert float(one.counts[2]) > 10 * UNUSED * float(one.counts.mean())
    assert float((one.centroids[3] - kept).norm()) < 1.0  # in use: it stays
    before = one.centroids[2].clone()
    one(mel, everything(mel), generator(1))
    assert float((one.centroids[2] - before).norm()) < 1.0  # not moved again at once


def test_padded_steps_do_not_count() -> None:
    """Nor does anything in them."""
    short = spectra(0, rows=2, steps=30)
    junk = 50 * torch.randn(2, 40, BINS, generator=generator(7))
    padded = torch.cat([short, junk], dim=1)
    real = torch.cat([everything(short), torch.zeros(2, 10, dtype=torch.bool)], dim=1)
    one, other = quantizer(entries=3).train(), quantizer(entries=3).train()
    for _ in range(3):
        vectors, ids = one(short, everything(short), generator())
        of_padded, ids_of_padded = other(padded, real, generator())
        assert torch.equal(ids, ids_of_padded[:, :30])
        assert torch.allclose(vectors, of_padded[:, :30], atol=1e-5)
    for name, tensor in one.state_dict().items():
        assert torch.allclose(tensor.float(), other.state_dict()[name].float(), atol=1e-4), name


def test_a_gain_and_a_filter_change_nothing() -> None:
    """In the logarithm both are a constant, each row with one of its own."""
    one, mel = quantizer().train(), spectra(0)
    one(mel, everything(mel), generator())
    one.eval()
    vectors, ids = one(mel, everything(mel))
    assert len(ids.unique()) > 3
    filtered = mel + 4 * torch.randn(3, 1, BINS, generator=generator(5))
    of_filtered, ids_of_filtered = one(filtered, everything(mel))
    assert torch.equal(ids, ids_of_filtered)
    assert torch.equal(vectors, of_filtered)


def test_evaluation_leaves_the_clusters_alone() -> None:
    one = quantizer().train()
    one(spectra(0), everything(spectra(0)), generator())
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    one.eval()
    first = one(spectra(1), everything(spectra(1)))[1]
    assert torch.equal(first, one(spectra(1), everything(spectra(1)))[1])
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_an_explicit_generator_decides_alone() -> None:
    states = []
    for seed in (1, 2):
        one = quantizer()
        torch.manual_seed(seed)
        untouched = torch.get_rng_state()
        for step in range(3):
            mel = spectra(step)
            one.train()(mel, everything(mel), generator(step))
        assert torch.equal(torch.get_rng_state(), untouched)
        states.append(one.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    one = quantizer().train()
    one(spectra(0), everything(spectra(0)), generator(55))
    other = quantizer().train()
    other(spectra(0), everything(spectra(0)), generator(56))
    assert not torch.equal(one.centroids, other.centroids)


def test_without_a_generator_the_global_one_decides() -> None:
    centroids = []
    for seed in (1, 1, 2):
        one = quantizer().train()
        torch.manual_seed(seed)
        one(spectra(0), everything(spectra(0)))
        centroids.append(one.centroids)
    assert torch.equal(centroids[0], centroids[1])
    assert not torch.equal(centroids[0], centroids[2])


def test_w2v_bert_hands_its_generator_on(speech_like) -> None:
    conformer = ConformerConfig(width=16, layers=2, heads=2, feed_forward=32, kernel=3, dropout=0)
    settings = {"kind": "clusters", "entries": 8, "width": 8}
    config = W2vBertConfig(conformer=conformer, contrastive_layers=1, quantizer=settings)
    waveform = torch.from_numpy(speech_like(2.0)).unflatten(0, (2, -1))
    centroids = []
    for seed in (1, 2):
        torch.manual_seed(0)
        network = W2vBert(config).train()
        torch.manual_seed(seed)
        untouched = torch.get_rng_state()
        network(waveform, generator=generator(3))
        assert torch.equal(torch.get_rng_state(), untouched)
        centroids.append(network.quantizer.centroids)
    assert torch.equal(*centroids)


def test_autocast_changes_no_id() -> None:
    one, mel = quantizer().train(), spectra(0)
    one(mel, everything(mel), generator())
    one.eval()
    with torch.autocast("cpu", torch.bfloat16):
        vectors, ids = one(mel.bfloat16().float(), everything(mel))
    assert vectors.dtype == torch.float32
    assert torch.equal(ids, one(mel.bfloat16().float(), everything(mel))[1])


def test_a_single_step_starts_it_without_a_nan() -> None:
    one = quantizer().train()
    vectors, ids = one(spectra(0, rows=1, steps=1), torch.ones(1, 1, dtype=torch.bool), generator())
    assert bool(vectors.isfinite().all())
    assert bool(one.centroids.isfinite().all())
    assert ids.shape == (1, 1)


def test_only_the_vectors_are_learnt_by_gradient() -> None:
    one = quantizer().train()
    vectors, _ = one(spectra(0), everything(spectra(0)), generator())
    vectors.sum().backward()
    assert {name for name, p in one.named_parameters() if p.grad is not None} == {
        "out.weight",
        "out.bias",
    }


def test_one_hot() -> None:
    assert one_hot(torch.tensor([[2, 0]]), 3).tolist() == [[[[0, 0, 1]], [[1, 0, 0]]]]


@pytest.mark.parametrize("cepstra", [(-1, 5), (5, 5), (0, 81)])
def test_cepstra_that_a_spectrum_has_not_are_refused(cepstra) -> None:
    quantizer = {"kind": "clusters", "cepstra": cepstra}
    with pytest.raises(ConfigurationError, match=r"quantizer\.cepstra .* are not among the 80"):
        parse(W2vBertConfig, {"quantizer": quantizer}, "preset")
