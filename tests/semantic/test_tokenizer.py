"""The tokenizer: cut from a network, the same for a padded batch as for each file alone."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from audiolm.errors import ConfigurationError
from audiolm.semantic import W2vBertTokenizer, W2vBertTokenizerConfig, build_tokenizer
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.w2v_bert import W2vBert, W2vBertConfig

TINY = ConformerConfig(layers=4, width=16, heads=2, feed_forward=32, kernel=5, dropout=0.5)


def network() -> W2vBert:
    torch.manual_seed(0)
    return W2vBert(W2vBertConfig(conformer=TINY, contrastive_layers=2))


def tokenizer(clusters: int = 8, layer: int = 3, source: W2vBert | None = None) -> W2vBertTokenizer:
    g = torch.Generator().manual_seed(5)
    mean, std = torch.randn(16, generator=g), 0.5 + torch.rand(16, generator=g)
    centroids = torch.randn(clusters, 16, generator=g)
    return W2vBertTokenizer.from_network(source or network(), layer, mean, std, centroids)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def short_windows(source: W2vBertTokenizer) -> W2vBertTokenizer:
    """The same with windows of 1 s and 1 s of context on both sides."""
    changes = {"window_seconds": 1, "context_seconds": 1}
    made = W2vBertTokenizer(source.config.model_copy(update=changes)).eval()
    made.load_state_dict(source.state_dict())
    return made


@given(lengths=st.lists(st.integers(1, 6000), min_size=1, max_size=4), beyond=st.integers(0, 1500))
@settings(max_examples=15, deadline=None)
def test_a_padded_batch_equals_one_file_at_a_time(lengths: list[int], beyond: int):
    made = tokenizer()
    batch = noise(len(lengths), max(lengths) + beyond)
    ids = made.encode(batch, torch.tensor(lengths))
    features = made.features(batch, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        steps, alone = math.ceil(length / 640), batch[row : row + 1, :length]
        assert torch.equal(ids[row, :steps], made.encode(alone)[0])
        assert (ids[row, steps:] == -1).all()
        torch.testing.assert_close(
            features[row, :steps], made.features(alone)[0], atol=1e-4, rtol=1e-4
        )


@pytest.mark.parametrize("lengths", [[60_000, 20_000, 700], [16_000, 48_001, 31_999]])
def test_windows_lie_where_the_recording_not_the_batch_says(lengths: list[int]):
    made = short_windows(tokenizer())
    batch = noise(3, max(lengths) + 5000)
    ids = made.encode(batch, torch.tensor(lengths))
    assert ids.shape == (3, math.ceil(batch.shape[1] / 640))
    for row, length in enumerate(lengths):
        steps = math.ceil(length / 640)
        assert torch.equal(ids[row, :steps], made.encode(batch[row : row + 1, :length])[0])


def test_each_window_hears_itself_and_its_context():
    whole = tokenizer()
    made, waveform = short_windows(whole), noise(1, 16_000 * 4)
    features = made.features(waveform)
    for second in range(4):
        first = max(0, second - 1)
        heard = waveform[:, 16_000 * first : 16_000 * (second + 2)]
        expected = whole.features(heard)[:, 25 * (second - first) :][:, :25]
        torch.testing.assert_close(
            features[:, 25 * second : 25 * (second + 1)], expected, atol=1e-5, rtol=1e-4
        )


def test_features_are_the_networks_and_the_rest_of_it_is_gone():
    source = network()
    made, waveform = tokenizer(source=source), noise(2, 5000)
    torch.testing.assert_close(made.features(waveform), source.features(waveform, layer=3))
    torch.testing.assert_close(made.features(waveform, layer=1), source.features(waveform, layer=1))
    assert len(made.conformer.blocks) == 3
    with pytest.raises(ConfigurationError, match="layers 1 to 3"):
        made.features(waveform, layer=4)


def test_the_network_is_left_as_it_is():
    source = network()
    made = tokenizer(source=source)
    for parameter in made.parameters():
        parameter.data.zero_()
    assert source.conformer.blocks[0].norm.weight.any()


def test_ids_are_the_nearest_centroids_of_normalised_features():
    made, waveform = tokenizer(), noise(1, 6400)
    features = made.features(waveform)[0]
    state = made.state_dict()
    normalised = (features - state["_mean"]) / state["_std"]
    expected = [
        int(((made.centroids - step) ** 2).sum(dim=1).argmin()) for step in normalised.unbind()
    ]
    assert made.encode(waveform)[0].tolist() == expected
    assert made.quantize(features[None])[0].tolist() == expected
    assert len(set(expected)) > 1
    assert made.centroids.shape == (8, 16)


def projected() -> W2vBertTokenizer:
    g = torch.Generator().manual_seed(6)
    projection, centroids = torch.randn(16, 3, generator=g), torch.randn(8, 3, generator=g)
    whole = tokenizer()
    mean, std = whole.state_dict()["_mean"], whole.state_dict()["_std"]
    return W2vBertTokenizer.from_network(network(), 3, mean, std, centroids, projection)


def test_with_a_projection_ids_are_the_nearest_centroids_behind_it():
    made, waveform = projected(), noise(1, 6400)
    state = made.state_dict()
    normalised = (made.features(waveform)[0] - state["_mean"]) / state["_std"]  # (S, 16)
    expected = []
    for step in normalised.unbind():
        point = [float(step @ column) for column in state["_projection"].T]
        apart = [
            sum((a - float(b)) ** 2 for a, b in zip(point, centroid, strict=True))
            for centroid in made.centroids
        ]
        expected.append(min(range(8), key=apart.__getitem__))
    assert made.encode(waveform)[0].tolist() == expected
    assert len(set(expected)) > 1
    assert made.centroids.shape == (8, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert made.encode(waveform)[0].tolist() == expected
        assert made.quantize(made.features(waveform))[0].tolist() == expected


def test_with_a_projection_it_is_stored_and_built_again_the_same():
    made = projected()
    again = build_tokenizer(W2vBertTokenizerConfig.model_validate(made.config.model_dump()))
    again.load_state_dict(made.state_dict())
    assert again.fingerprint() == made.fingerprint()
    assert torch.equal(again.encode(noise(1, 6400)), made.encode(noise(1, 6400)))
    with pytest.raises(ValidationError, match="dims 17 of 16 dimensions; lower it"):
        W2vBertTokenizerConfig.model_validate(made.config.model_dump() | {"dims": 17})


def test_training_mode_and_autocast_change_nothing():
    made, waveform = tokenizer(), noise(1, 6400)
    ids, features = made.encode(waveform), made.features(waveform)
    made.train()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(made.encode(waveform), ids)
        assert torch.equal(made.features(waveform), features)
    assert not features.requires_grad


def test_stored_and_built_again_it_is_the_same():
    made = tokenizer().rounded("float16")
    config = W2vBertTokenizerConfig.model_validate(made.config.model_dump(mode="json"))
    again = build_tokenizer(config)
    again.load_state_dict(made.state_dict())
    waveform = noise(1, 6400)
    assert again.fingerprint() == made.fingerprint()
    assert torch.equal(again.encode(waveform), made.encode(waveform))
    assert (again.clusters, again.layer, again.hop, again.sample_rate) == (8, 3, 640, 16_000)
    assert not again.training
    other = tokenizer()
    other.centroids[0, 0] += 1
    assert other.fingerprint() != tokenizer().fingerprint()


def test_layers_that_are_not_there_are_refused():
    with pytest.raises(ConfigurationError, match="layers 1 to 4"):
        tokenizer(layer=5)
    with pytest.raises(ValidationError, match="lower it"):
        W2vBertTokenizerConfig(conformer=TINY, layer=5)


def test_built_without_memory():
    with torch.device("meta"):
        made = build_tokenizer(W2vBertTokenizerConfig(conformer=TINY, layer=2))
    assert {p.device.type for p in made.state_dict().values()} == {"meta"}
