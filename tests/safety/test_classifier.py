"""The paper's convolutional classifier."""

import numpy as np
import pytest
import torch
from torch import nn

from audiolm.audio.waveform import Audio
from audiolm.data.corpus import open_corpus
from audiolm.data.store import DirectStore
from audiolm.safety import classifier as module
from audiolm.safety.classifier import Classifier, ClassifierFile, train_classifier
from tiny import noise


@pytest.fixture
def small(monkeypatch):
    """Blocks with few channels; widths grow at the same places."""
    monkeypatch.setattr(module, "CHANNELS", (4, 8, 16, 16, 32, 32))


def decided(classes):
    """A classifier that has not learnt anything, and is sure of what it says."""
    network = Classifier(classes).eval()
    with torch.no_grad():
        network.head.weight.mul_(100)
        network.head.bias.sub_(network(torch.from_numpy(noise(1.0).samples)[None])[0])
    return network


def test_the_network_is_the_papers():
    network = Classifier(["a", "b"])
    convolutions = [m for m in network.blocks if isinstance(m, nn.Conv2d)]
    kernels = [c.kernel_size for c in convolutions]
    assert kernels == [(3, 1), (1, 3)] * 6
    assert [c.out_channels for c in convolutions[::2]] == [64, 128, 256, 256, 512, 512]
    order = [type(m).__name__ for m in network.blocks if not isinstance(m, nn.MaxPool2d)]
    assert order == ["Conv2d", "Conv2d", "ReLU", "BatchNorm2d"] * 6
    assert (network.mel.config.window, network.mel.config.hop) == (400, 160)  # 25 and 10 ms
    assert network.mel.config.bins == 64


def test_maps_are_halved_on_both_axes_whenever_channels_grow(small):
    network = Classifier(["a", "b"]).eval()
    x = network.mel(torch.zeros(1, 16_000))[:, None]
    assert x.shape == (1, 1, 100, 64)
    sizes = []
    for layer in network.blocks:
        x = layer(x)
        if isinstance(layer, nn.BatchNorm2d):
            sizes.append(tuple(x.shape[1:]))
    assert sizes == [
        (4, 100, 64),
        (8, 50, 32),
        (16, 25, 16),
        (16, 25, 16),
        (32, 12, 8),
        (32, 12, 8),
    ]


def test_long_sound_is_judged_by_windows_of_a_second_every_quarter(small):
    network = decided(["a", "b", "c"])
    audio = noise(2.3)
    starts = [0, 4000, 8000, 12_000, 16_000, 20_000]  # the next one would end after 2.3 s
    each = []
    with torch.no_grad():
        for start in starts:
            crop = torch.from_numpy(audio.samples[start : start + 16_000])[None]
            each.append(network(crop).softmax(1)[0])
    assert torch.allclose(network.probabilities(audio), torch.stack(each).mean(0), atol=1e-5)


def test_many_windows_are_judged_in_parts(small, monkeypatch):
    network = decided(["a", "b"])
    whole = network.probabilities(noise(3.0))
    monkeypatch.setattr(module, "WINDOWS_AT_ONCE", 2)
    assert torch.allclose(network.probabilities(noise(3.0)), whole, atol=1e-6)


def test_short_sound_is_filled_up_with_silence(small):
    network = decided(["a", "b"])
    short = noise(0.4)
    filled = Audio(np.pad(short.samples, (0, 16_000 - len(short.samples))), 16_000)
    assert torch.equal(network.probabilities(short), network.probabilities(filled))


def test_judging_resamples_and_leaves_the_mode_alone(small):
    network = Classifier(["a", "b"]).train()
    audio = noise(1.5, sample_rate=44_100)
    p = network.probabilities(audio)
    assert network.training
    assert torch.equal(p, network.probabilities(audio.resampled(16_000)))
    assert network.classify(audio) == ["a", "b"][int(p.argmax())]


def test_it_learns_two_voices(small, corpus_folder, monkeypatch):
    monkeypatch.setattr(module, "BATCH_SIZE", 8)
    root = corpus_folder(10, layout="librispeech", speakers=2, seconds=2.0)
    recordings = open_corpus(root).recordings
    train, rest = recordings[:3] + recordings[5:8], recordings[3:5] + recordings[8:]
    labels = [r.speaker for r in train]
    state = torch.get_rng_state()
    network = train_classifier(DirectStore(train), labels, 60, None, torch.device("cpu"), seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.classes == ["100", "101"]
    assert not network.training
    store = DirectStore(rest)
    heard = [
        network.classify(Audio(store.crop(i, 0, store.length(i)), 16_000)) for i in range(len(rest))
    ]
    assert heard == [r.speaker for r in rest]


def test_a_classifier_is_kept_under_what_it_depends_on(small, tmp_path):
    file = ClassifierFile(tmp_path / "new", seed=1, recordings=["x"])
    assert file.load(torch.device("cpu")) is None
    network = Classifier(["b", "a"]).eval()
    file.save(network)
    loaded = file.load(torch.device("cpu"))
    assert loaded.classes == ["b", "a"]
    assert torch.equal(loaded.probabilities(noise(1.0)), network.probabilities(noise(1.0)))
    same = ClassifierFile(tmp_path / "new", recordings=["x"], seed=1)
    assert same.load(torch.device("cpu")) is not None
    other = ClassifierFile(tmp_path / "new", seed=2, recordings=["x"])
    assert other.load(torch.device("cpu")) is None


def test_a_damaged_file_is_trained_again(small, tmp_path):
    file = ClassifierFile(tmp_path, seed=1)
    file.save(Classifier(["a", "b"]))
    (weights,) = tmp_path.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    assert file.load(torch.device("cpu")) is None
