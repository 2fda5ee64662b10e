"""The detector's network and its windows."""

import numpy as np
import pytest
import torch

from audiolm.model_io.folder import load_part, save_part
from audiolm.safety import windows as windows_module
from audiolm.safety.detector import Detector, DetectorConfig, hidden, one_level
from audiolm.safety.windows import WindowScores, heard
from safety.made_up import CONFIG, hiss, tone
from tiny import noise


@pytest.fixture
def detector():
    torch.manual_seed(0)
    network = Detector(DetectorConfig(channels=(4, 8, 8)))
    network.train()(torch.from_numpy(np.stack([noise(1.0, s).samples for s in range(8)])))
    return network.eval()


def crops(*seeds):
    return torch.from_numpy(np.stack([noise(1.0, seed).samples for seed in seeds]))


@torch.inference_mode()
def test_gain_does_not_matter(detector) -> None:
    for factor in (0.001, 0.25, 4.0):
        assert torch.allclose(detector(factor * crops(1, 2)), detector(crops(1, 2)), atol=1e-5)
    assert not torch.allclose(detector(crops(1)), detector(crops(2)), atol=1e-4)


def test_silence_is_finite_and_stays_silence(detector) -> None:
    assert detector(torch.zeros(1, 16_000)).isfinite().all()
    assert one_level(torch.zeros(1, 16)).abs().max() == 0


def test_it_fits_where_it_has_to() -> None:
    with torch.device("meta"):
        network = Detector(DetectorConfig())
    assert sum(weight.numel() for weight in network.parameters()) < 3_000_000


def test_a_folder_gives_back_what_was_put_in(tmp_path) -> None:
    network = Detector(CONFIG).eval().rounded("int8")
    save_part(tmp_path, "detector", network, {"name": "some"}, "int8")
    loaded = load_part(tmp_path, "detector")
    assert isinstance(loaded, Detector)
    assert loaded.config == CONFIG
    assert loaded.config.made[0].threshold(0.01) == CONFIG.made[0].threshold(0.01)
    assert torch.equal(loaded(crops(1)), network(crops(1)))


def test_speakers_are_known_again_and_not_named() -> None:
    assert hidden("anna") == hidden("anna") != hidden("bert")
    assert "anna" not in hidden("anna") and len(hidden("anna")) == 10


@torch.inference_mode()
def test_blocks_are_heard_as_the_whole(detector) -> None:
    samples = noise(5.3, 3).samples
    wanted = [
        detector(torch.from_numpy(samples[s : s + 16_000])[None])[0]
        for s in range(0, len(samples) - 15_999, 4000)
    ]
    for sizes in ([len(samples)], [1, 16_000, 7, 30_001], [900] * 100):
        scores, first = WindowScores(detector), 0
        for size in sizes:
            scores.push(samples[first : first + size])
            first += size
        scores.push(samples[first:])
        found = scores.finish()
        assert found.scores.shape == (18, 2)
        assert np.allclose(found.scores, torch.stack(wanted), atol=1e-4)
        assert found.seconds == pytest.approx(5.3)
        assert found.audible == pytest.approx(1 + 17 * 0.25)


@torch.inference_mode()
def test_windows_are_judged_a_few_at_a_time(detector, monkeypatch) -> None:
    sizes = []
    forward = detector.forward
    monkeypatch.setattr(detector, "forward", lambda x: (sizes.append(len(x)), forward(x))[1])
    monkeypatch.setattr(windows_module, "AT_ONCE", 4)
    heard(detector, [noise(4.0).samples])
    assert max(sizes) == 4 and sum(sizes) == 13


@torch.inference_mode()
def test_what_is_short_is_repeated(detector) -> None:
    short = noise(0.3).samples
    found = heard(detector, [short[:1000], short[1000:]])
    repeated = torch.from_numpy(np.tile(short, 4)[:16_000])[None]
    assert np.allclose(found.scores, detector(repeated), atol=1e-5)
    assert found.audible == pytest.approx(0.3)


def test_silence_and_nothing_are_not_heard(detector) -> None:
    found = heard(detector, [np.zeros(40_000, dtype=np.float32)])
    assert found.silent.all() and found.audible == 0
    assert heard(detector, []).seconds == 0
    half = heard(detector, [np.concatenate([hiss(2.0), np.zeros(32_000, dtype=np.float32)])])
    assert half.silent.tolist() == [False] * 8 + [True] * 5
    assert half.audible == pytest.approx(1 + 7 * 0.25)
    assert not heard(detector, [tone(1.0, level=0.001)]).silent.any()
