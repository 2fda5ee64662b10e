"""A gap filled in, measured."""

import pytest
import torch
from asking import ask

from audiolm.editing import checked_gap
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.edit import _bits, evaluate
from audiolm.model import AudioLM
from audiolm.stages import Streams
from tiny import noise, tiny_model, tiny_stage

SHORT = {"shortest": 2.0, "gap": 0.6, "best_of": 2}
METRICS = ("voice", "voice_cosine", "bits_in", "bits_out", "level_step")
KINDS = ("original", "codec", "kept", "edit", "other")


@pytest.fixture(scope="module")
def lm():
    base = tiny_model(kinds=("parallel",))
    semantic = tiny_stage(
        "semantic", base.codec, base.semantic, fill_in_the_middle=True, remove_repeats=False
    )
    return AudioLM(base.codec, base.semantic, {"semantic": semantic, **base.stages})


def test_every_kind_is_measured_and_nothing_is_made_twice(lm, corpus_folder, tmp_path):
    corpus = corpus_folder(6, layout="librispeech", speakers=2, seconds=2.1)
    shares = []
    speaker = {"validation_share": 0.4, "epochs": 0.1}
    request = ask(
        lm, corpus, tmp_path / "r" / "e", edit=SHORT, speaker=speaker, progress=shares.append
    )
    result = evaluate(request)
    count = result.metrics["level_step.edit"].count
    assert count >= 2
    for kind in KINDS:
        for name in METRICS:
            assert result.metrics[f"{name}.{kind}"].count == count, (name, kind)
    assert result.metrics["bits_in.edit"].value > 0
    assert result.tables[0].rows[0][0] == "The recording itself"
    assert len(result.tables[0].rows) == 5
    assert shares[-1] == 1
    kept = sorted((tmp_path / "r" / "generated").iterdir())
    assert len(kept) == 2 * count
    before = [path.stat().st_mtime_ns for path in kept]
    assert evaluate(request).metrics == result.metrics
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_without_speakers_the_rest_is_measured(lm, corpus_folder, tmp_path):
    corpus = corpus_folder(2, seconds=2.1)
    result = evaluate(ask(lm, corpus, tmp_path / "r" / "e", edit=SHORT, limit=1))
    assert "voice.edit" not in result.metrics and "other" not in str(result.metrics.keys())
    assert result.metrics["bits_out.edit"].count == 1
    assert result.conditions["not measured"].startswith("voice: ")


def test_bits_are_those_of_the_ten_steps_behind_each_joint(lm):
    stage, audio = lm.stages["semantic"], noise(3.0)
    ids = lm.tokenize(audio).semantic[None]
    judged = stage.log_likelihood(Streams(ids)).per_token[0] / -torch.log(torch.tensor(2.0))
    found = _bits(lm, stage, audio, checked_gap(audio, 0.8, 1.6))
    assert found["bits_in"] == pytest.approx(float(judged[20:30].mean()), rel=1e-3)
    assert found["bits_out"] == pytest.approx(float(judged[40:50].mean()), rel=1e-3)


def test_models_that_cannot_edit_are_skipped(corpus_folder, tmp_path):
    corpus = corpus_folder(2, seconds=2.1)
    with pytest.raises(Skipped, match="no stage parallel"):
        evaluate(ask(tiny_model(kinds=("semantic",)), corpus, tmp_path / "r" / "e"))
    with pytest.raises(Skipped, match="has not learnt to fill the middle"):
        evaluate(ask(tiny_model(kinds=("semantic", "parallel")), corpus, tmp_path / "r" / "e"))
