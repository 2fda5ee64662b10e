"""Features that ABX compares: their clocks, and the spectra's definition."""

import math

import numpy as np
import pytest
import scipy.fft
import torch

from audiolm.errors import ConfigurationError
from audiolm.evaluation.tables.abx_features import _cosines, extractors, standardised, with_deltas
from tiny import LEVELS, K, N, noise, tiny_model

MODEL = tiny_model()
WAVEFORM = torch.from_numpy(noise(1.0).samples)[None]


@pytest.mark.parametrize(
    ("name", "titles", "rate", "width"),
    [
        ("mfcc", ["mfcc"], 100, 39),
        ("mel", ["mel"], 100, 80),
        ("semantic", ["semantic"], 25, MODEL.semantic.centroids.shape[1]),
        ("layer", ["layer_2"], 25, MODEL.semantic.centroids.shape[1]),
        ("layer:1", ["layer_1"], 25, MODEL.semantic.centroids.shape[1]),
        ("codec", ["codec_1", "codec_3"], 50, MODEL.codec.dim),
    ],
)
def test_every_feature_keeps_its_clock(name, titles, rate, width):
    (tool,) = extractors([name], (3, 1, 12), MODEL)
    assert [feature.name for feature in tool.features] == titles
    with torch.inference_mode():
        found = tool.extract(WAVEFORM)
    for feature, frames in zip(tool.features, found, strict=True):
        assert feature.rate == rate
        assert frames.shape == (rate, width)


def test_bitrates_are_those_of_the_tokens():
    semantic, codec = extractors(["semantic", "codec"], (1, LEVELS), MODEL)
    assert semantic.features[0].bits == 25 * math.log2(K)
    assert [f.bits for f in codec.features] == [50 * math.log2(N), 50 * LEVELS * math.log2(N)]


def test_semantic_frames_are_the_centroids_of_the_ids():
    (tool,) = extractors(["semantic"], (), MODEL)
    ids = MODEL.semantic.encode(WAVEFORM)[0]
    torch.testing.assert_close(tool.extract(WAVEFORM)[0], MODEL.semantic.centroids[ids])


@pytest.mark.parametrize("layer", ["layer", "layer:2"])
def test_the_network_runs_once_for_its_layer_and_the_semantic_tokens(layer):
    names = ["semantic", "mfcc", layer, "layer:1", "semantic"]
    tools = extractors(names, (), MODEL)
    assert [[feature.name for feature in tool.features] for tool in tools] == [
        ["semantic", "layer_2"],
        ["mfcc"],
        ["layer_1"],
    ]
    runs = []
    hook = MODEL.semantic.conformer.register_forward_hook(lambda *_: runs.append(1))
    with torch.inference_mode():
        together = tools[0].extract(WAVEFORM)
    hook.remove()
    assert len(runs) == 1
    for frames, name in zip(together, ["semantic", layer], strict=True):
        (alone,) = extractors([name], (), MODEL)
        assert torch.equal(frames, alone.extract(WAVEFORM)[0])
    assert torch.equal(together[1], MODEL.semantic.features(WAVEFORM, layer=2)[0])


def test_codec_frames_are_the_quantizer_s_output():
    (tool,) = extractors(["codec"], (2,), MODEL)
    with torch.inference_mode():
        expected = MODEL.codec.embed(MODEL.codec.encode(WAVEFORM)[:, :2])[0]
        torch.testing.assert_close(tool.extract(WAVEFORM)[0], expected)


@pytest.mark.parametrize("name", ["chroma", "layer:9", "layer:0", "layer:x", "codec"])
def test_unknown_features_are_named(name):
    with pytest.raises(ConfigurationError, match="abx"):
        extractors([name], (99,), MODEL)


def test_cepstra_are_the_orthonormal_cosine_transform():
    spectrum = np.random.default_rng(0).standard_normal((5, 40))
    expected = scipy.fft.dct(spectrum, norm="ortho")[:, :13]
    found = torch.from_numpy(spectrum) @ _cosines(40, 13).double()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_deltas_are_slopes():
    time = torch.arange(20.0)
    frames = torch.stack([3 * time, time.square()], dim=1)
    found = with_deltas(frames)
    assert found.shape == (20, 6)
    inner = slice(4, -4)
    torch.testing.assert_close(found[inner, 2], torch.full((12,), 3.0))
    torch.testing.assert_close(found[inner, 3], 2 * time[inner])
    torch.testing.assert_close(found[inner, 5], torch.full((12,), 2.0))


def test_normalised_frames_have_no_mean_and_unit_variance():
    frames = torch.tensor([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])
    found = standardised(frames)
    torch.testing.assert_close(found.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(found[:, 0].square().mean(), torch.tensor(1.0))
    assert (found[:, 1] == 0).all()
