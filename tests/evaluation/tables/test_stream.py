"""Streams of many minutes, measured."""

import pytest
from asking import ask

from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.stream import evaluate
from tiny import tiny_model

SHORT = {"prompts": 3, "prompt_seconds": 0.64, "minutes": 2, "minute": 1.5}


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse"))


def test_every_minute_is_measured_beside_the_recordings(lm, corpus_folder, tmp_path):
    corpus = corpus_folder(4, layout="librispeech", speakers=2, seconds=1.0)
    shares = []
    request = ask(lm, corpus, tmp_path / "r" / "s", stream=SHORT, progress=shares.append)
    result = evaluate(request)
    for name, unit in (("level", "dB"), ("silence", "%"), ("distinct", "ids"), ("fresh", "%")):
        for number in (1, 2):
            metric = result.metrics[f"{name}_minute_{number}.audiolm"]
            assert (metric.unit, metric.count) == (unit, 3)
        assert result.metrics[f"{name}_minute_1.original"].count == 3
    assert not [name for name in result.metrics if "minute_3" in name or "minute_2.orig" in name]
    assert [row[0] for row in result.tables[0].rows] == ["Recordings, through the codec", "1", "2"]
    assert shares == [1 / 3, 2 / 3, 1]
    kept = sorted((tmp_path / "r" / "generated").iterdir())
    before = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 3
    assert evaluate(request).metrics == result.metrics
    assert [path.stat().st_mtime_ns for path in kept] == before  # nothing is made twice


def test_limits_and_missing_stages(lm, corpus_folder, tmp_path):
    corpus = corpus_folder(2, layout="librispeech", speakers=2, seconds=1.0)
    one = evaluate(ask(lm, corpus, tmp_path / "r" / "s", stream=SHORT, limit=1))
    assert one.metrics["level_minute_1.audiolm"].count == 1
    assert "level_minute_1.original" not in one.metrics  # no speaker has a minute
    with pytest.raises(Skipped, match="no stage coarse"):
        evaluate(ask(tiny_model(kinds=("semantic",)), corpus, tmp_path / "r" / "s"))
    with pytest.raises(Skipped, match=r"stream\.prompt_seconds"):
        evaluate(ask(lm, corpus, tmp_path / "r" / "s"))
