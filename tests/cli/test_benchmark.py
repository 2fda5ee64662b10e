"""`audiolm benchmark`."""

import pytest

from audiolm.cli import benchmark
from tiny import tiny_model


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(benchmark, "PROMPT_SECONDS", 0.6)
    monkeypatch.setattr(benchmark, "SECONDS", 0.4)


def test_figures_as_json(audiolm, model):
    answer = audiolm("benchmark", model, "--repeats", 1, "--json")
    assert (answer.code, answer.err) == (0, "")
    report = answer.json
    assert set(report["parts_x_real_time"]) == {"codec_encode", "codec_decode", "tokenizer"}
    assert all(speed > 0 for speed in report["parts_x_real_time"].values())
    assert set(report["stages"]) == {"semantic", "coarse", "fine"}
    # Tokens of 0.4 s: 18 ids a second; 20 frames of 2 coarse and 2 fine levels.
    for kind, tokens in (("semantic", 7), ("coarse", 40), ("fine", 40)):
        stage = report["stages"][kind]
        assert stage["tokens_per_second"] * stage["seconds"] == pytest.approx(tokens)
    whole = report["continuation"]
    assert whole["x_real_time"] == pytest.approx(0.4 / whole["took"])
    stream = report["stream"]
    first = stream["first_chunk"]
    assert stream["streams"] == 10
    assert first["lasts"] == pytest.approx(
        0.38
    )  # a chunk of the fine stage, but for what the mark holds back
    assert 0 < first["p50"] <= first["p95"]
    assert stream["x_real_time"] > 0
    assert report["peak_memory_bytes"] > 50e6


def test_figures_for_people(audiolm, tmp_path):
    tiny_model(kinds=("semantic", "coarse")).save(tmp_path / "coarse")
    answer = audiolm("benchmark", tmp_path / "coarse", "--repeats", 1)
    assert answer.code == 0
    assert "stage coarse" in answer.out
    assert "stage fine" not in answer.out
    assert "first 0.06 s" in answer.out


@pytest.mark.parametrize(("share", "expected"), [(0.5, 10), (0.95, 19), (1.0, 20)])
def test_quantiles(share, expected):
    assert benchmark._quantile([float(n) for n in range(20, 0, -1)], share) == expected
