"""From one layer's activations to a tokenizer."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing

from audiolm.audio.augment import Augment, AugmentConfig
from audiolm.data.corpus import open_corpus
from audiolm.errors import TrainingError
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig
from audiolm.training import clustering, distributed
from audiolm.training.clustering import ClusteringConfig, ProjectionConfig, cluster, fit_projection
from audiolm.training.distributed import World
from audiolm.training.recordings import Recordings
from training.resuming import CPU


@pytest.fixture(scope="module")
def network() -> W2vBert:
    return random_network()


def random_network() -> W2vBert:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        conformer = ConformerConfig(width=16, layers=3, heads=2, feed_forward=32, kernel=3)
        return W2vBert(W2vBertConfig(conformer=conformer, contrastive_layers=1))


def settings(**changes) -> ClusteringConfig:
    return ClusteringConfig(**({"layer": 2, "clusters": 8, "iterations": 3} | changes))


def activations(network, recordings, layer: int) -> torch.Tensor:
    """Those of every recording by itself, one after the other."""
    rows = []
    for index in range(len(recordings)):
        waveform, lengths = recordings.whole([index])
        rows.append(network.features(waveform, lengths, layer)[0])
    return torch.cat(rows)


def test_the_tokenizer_is_the_layer_normalised_and_clustered(network, recordings) -> None:
    shares: list[float] = []
    result = cluster(network, recordings[0], settings(), 0, shares.append)
    features = activations(network, recordings[0], 2)  # (n, D)
    tokenizer = result.tokenizer
    assert torch.allclose(tokenizer._mean, features.mean(0), atol=1e-3)
    assert torch.allclose(tokenizer._std, features.std(0, correction=0), rtol=1e-2)
    assert tokenizer.layer == 2
    assert tokenizer.config.clusters == 8
    normalised = (features - features.mean(0)) / features.std(0, correction=0)
    # What Lloyd's algorithm ends in: every centroid is about the mean of its own vectors.
    ids = torch.cdist(normalised, tokenizer.centroids).argmin(1)
    means = torch.stack([normalised[ids == k].mean(0) for k in range(8)])
    moved = (means - tokenizer.centroids).norm(dim=1) / tokenizer.centroids.norm(dim=1)
    assert float(moved.mean()) < 0.15
    waveform, lengths = recordings[0].whole([0])
    assert set(tokenizer.encode(waveform, lengths)[0].tolist()) <= set(range(8))
    squared = torch.cdist(normalised, tokenizer.centroids).square().amin(1).mean()
    assert result.metrics["inertia per vector"] == pytest.approx(float(squared), rel=0.02)
    assert result.metrics["used ids"] == 8
    assert result.metrics["hours"] == pytest.approx(recordings[0].hours)
    share = ids.bincount(minlength=8) / len(ids)
    entropy = -float((share * share.log2()).sum())
    assert result.metrics["entropy"] == pytest.approx(entropy, abs=0.02)
    assert result.warnings == []
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_the_network_hears_every_recording_once(network, recordings, monkeypatch) -> None:
    heard: list[int] = []
    whole = recordings[0].whole

    def counted(indices):
        heard.extend(indices)
        return whole(indices)

    monkeypatch.setattr(recordings[0], "whole", counted)
    for kept_bytes in (2e9, 0):  # with room for all activations, and with none
        monkeypatch.setattr(clustering, "KEPT_BYTES", kept_bytes)
        heard.clear()
        cluster(network, recordings[0], settings(), 0, lambda share: None)
        assert sorted(heard) == list(range(8))


def test_a_part_of_what_does_not_fit_in_memory_gives_about_the_same(
    network, recordings, monkeypatch
) -> None:
    config = settings(batch_seconds=8.0)
    features = activations(network, recordings[0], 2)
    every = cluster(network, recordings[0], config, 0, lambda share: None)
    monkeypatch.setattr(clustering, "KEPT_BYTES", 0)
    monkeypatch.setattr(clustering, "KEPT_PER_CLUSTER", len(features) // 8 // 2)
    kept = 0
    part = clustering._part

    def counted(batch, share, key):
        nonlocal kept
        drawn = part(batch, share, key)
        kept += len(drawn) if key[1] == clustering._KEPT else 0
        return drawn

    monkeypatch.setattr(clustering, "_part", counted)
    shares: list[float] = []
    some = cluster(network, recordings[0], config, 0, shares.append)
    assert kept == pytest.approx(len(features) / 2, abs=8)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    assert torch.equal(some.tokenizer._mean, every.tokenizer._mean)  # of all steps in any case
    points = some.tokenizer.project(features[None])[0]

    def inertia(tokenizer: W2vBertTokenizer) -> float:
        return float(torch.cdist(points, tokenizer.centroids).square().amin(1).mean())

    assert inertia(some.tokenizer) < 1.2 * inertia(every.tokenizer)


BY_TWO = {
    "plain": settings(batch_seconds=8.0),
    "projected": settings(batch_seconds=8.0, projection={"dims": 3, "turns": 1}),
    "one batch": settings(),  # the second process has none
}


def clustered(corpus: Path, folder: Path, world: World) -> dict[str, dict]:
    """Centroids, projection, mean and metrics, of a part of the steps, of all who cluster."""
    clustering.KEPT_BYTES, clustering.KEPT_PER_CLUSTER, clustering.SAMPLE = 0, 40, 200
    recordings = Recordings.open(open_corpus(corpus), folder, CPU, world, 0, quiet=True)
    told = {}
    for name, config in BY_TWO.items():
        result = cluster(random_network(), recordings, config, 0, lambda share: None)
        told[name] = result.tokenizer.state_dict() | result.metrics
    return told


def one_of_two(rank: int, port: int, corpus: Path, folder: Path) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    world = distributed.join(CPU)
    torch.save(clustered(corpus, folder, world), folder / f"rank-{rank}.pt")
    distributed.leave(world)


@pytest.mark.slow
def test_two_processes_share_the_work_and_find_what_one_finds(
    training_corpus, tmp_path, monkeypatch
) -> None:
    for name in ("KEPT_BYTES", "KEPT_PER_CLUSTER", "SAMPLE"):
        monkeypatch.setattr(clustering, name, getattr(clustering, name))  # put back afterwards
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(one_of_two, args=(port, training_corpus, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt") for rank in range(2))
    alone = clustered(training_corpus, tmp_path, World())
    for name in BY_TWO:
        for key, value in alone[name].items():
            assert np.array_equal(first[name][key], second[name][key]), (name, key)
            assert np.allclose(first[name][key], value, atol=2e-3), (name, key)


def test_a_projection_is_fitted_to_the_layer_and_clustered(network, recordings) -> None:
    config = settings(projection={"dims": 3, "hours": 1.0})
    shares: list[float] = []
    result = cluster(network, recordings[0], config, 0, shares.append)
    tokenizer = result.tokenizer
    assert tokenizer.centroids.shape == (8, 3)
    points = tokenizer.project(activations(network, recordings[0], 2)[None])[0]  # (n, 3)
    squared = torch.cdist(points, tokenizer.centroids).square().amin(1).mean()
    assert result.metrics["inertia per vector"] == pytest.approx(float(squared), rel=0.02)
    assert result.metrics["used ids"] == 8
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)
    again = cluster(network, recordings[0], config, 0, lambda share: None).tokenizer
    assert again.fingerprint() == tokenizer.fingerprint()
    # Without perturbation there is nothing to tell directions apart by but their spread.
    still = AugmentConfig(voice=0, equaliser=0, band_limit=0, room=0, babble=0, noise=0, gain=0)
    config = settings(projection={"dims": 3, "augment": still.model_dump()})
    other = cluster(network, recordings[0], config, 0, lambda share: None).tokenizer
    assert other.fingerprint() != tokenizer.fingerprint()


def test_a_projection_moves_less_than_its_layer_when_the_voice_is_another(
    network, recordings
) -> None:
    """By how far apart steps are: what was changed counts for less behind the projection."""
    augment = Augment(ProjectionConfig().augment)
    waveform, lengths = recordings[1].whole([0])
    other = augment(waveform, torch.Generator().manual_seed(8))

    def moved(by: W2vBertTokenizer) -> float:
        here, there = (by.project(by.features(sound, lengths))[0] for sound in (waveform, other))
        return float((there - here).square().sum() / (here - here.mean(0)).square().sum())

    ratios = []
    for seed in range(6):  # of perturbations of half a minute, which differ
        config = settings(projection={"dims": 4})
        by, plain = (
            cluster(network, recordings[0], how, seed, lambda share: None).tokenizer
            for how in (config, settings())
        )
        ratios.append(moved(by) / moved(plain))
    assert sum(ratios) / 6 < 0.8


def test_a_further_turn_ignores_what_differs_within_a_cluster() -> None:
    """Four clusters along two axes; along a third, which no perturbation moves, voices differ."""
    g = torch.Generator().manual_seed(0)
    corners = torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]]) * 3
    spread = torch.tensor([0.1, 0.1, 1.0])
    clean = corners.repeat(500, 1) + spread * torch.randn(2000, 3, generator=g)
    perturbed = clean + 0.1 * torch.randn(2000, 3, generator=g)
    pairs = [(clean[:900].half(), perturbed[:900].half()), (clean[900:], perturbed[900:])]

    def weight_of_the_voice(turns: int) -> float:
        found = fit_projection(pairs, ProjectionConfig(dims=3, turns=turns), 4, 0)  # (3, 3)
        return float(found[2].norm() / found.norm())

    assert weight_of_the_voice(0) == pytest.approx(3**-0.5, abs=0.05)  # as any other axis
    assert weight_of_the_voice(1) < 0.3  # shrinkage keeps it from falling to a tenth
    assert weight_of_the_voice(2) < 0.3


def test_turns_are_taken_before_the_clustering(network, recordings) -> None:
    prints = []
    for turns in (0, 1):
        config = settings(projection={"dims": 3, "turns": turns})
        result = cluster(network, recordings[0], config, 0, lambda share: None)
        assert result.tokenizer.centroids.shape == (8, 3)
        prints.append(result.tokenizer.fingerprint())
    assert prints[0] != prints[1]


def test_without_normalisation_mean_and_deviation_do_nothing(network, recordings) -> None:
    tokenizer = cluster(
        network, recordings[0], settings(normalise=False), 0, lambda share: None
    ).tokenizer
    assert not tokenizer._mean.any()
    assert torch.equal(tokenizer._std, torch.ones(16))


def test_a_recording_is_heard_in_the_windows_of_the_tokenizer(
    network, recordings, monkeypatch
) -> None:
    """Or an hour of audio would be one sequence of 90,000 steps."""
    longest = 0
    original = type(network.conformer).forward

    def forward(self, waveform, lengths=None, layer=None):
        nonlocal longest
        longest = max(longest, waveform.shape[1])
        return original(self, waveform, lengths, layer)

    monkeypatch.setattr(type(network.conformer), "forward", forward)
    monkeypatch.setattr(recordings[0], "by_length", lambda *_, **__: [[0]])
    monkeypatch.setattr(
        recordings[0],
        "whole",
        lambda _: (torch.rand(1, 1_600_000) - 0.5, torch.tensor([1_600_000])),
    )
    cluster(network, recordings[0], settings(), 0, lambda share: None)
    assert longest == 30 * 16_000  # a window of 24 s, and 3 s on either side


def test_few_ids_in_use_are_told_with_a_remedy(network, recordings, monkeypatch) -> None:
    monkeypatch.setattr(
        clustering.W2vBertTokenizer,
        "features",
        lambda self, waveform, lengths: torch.ones(len(waveform), -(-waveform.shape[1] // 640), 16),
    )
    result = cluster(network, recordings[0], settings(), 0, lambda share: None)
    assert result.metrics["used ids"] == 1
    (warning,) = result.warnings
    assert warning.startswith(
        "only 1 of 8 semantic ids are used: train the network longer, or lower"
    )


def test_fewer_steps_than_clusters_are_refused(network, recordings) -> None:
    with pytest.raises(TrainingError, match="points for 100000 clusters"):
        cluster(network, recordings[0], settings(clusters=100_000), 0, lambda share: None)
