"""Pitch and onset in features of piano: a spectrum knows tones, and what knows nothing does not."""

import pytest
from asking import ask

from audiolm.errors import ConfigurationError, CorpusError
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.notes import evaluate
from playing import play
from tiny import tiny_model

FEATURES = ("nothing", "mel", "layers", "semantic", "codec")


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=())


@pytest.fixture
def corpora(tmp_path):
    """Recordings to learn from, and others."""
    for number in range(6):
        play(tmp_path / "learn", f"l{number}", number)
    for number in range(3):
        play(tmp_path / "data", f"d{number}", 100 + number)
    return tmp_path / "learn", tmp_path / "data"


def test_every_feature_is_measured_and_a_spectrum_tells_more_than_nothing(lm, corpora, tmp_path):
    learn, data = corpora
    shares = []
    section = {"train": str(learn), "features": FEATURES}
    result = evaluate(ask(lm, data, tmp_path / "r" / "n", notes=section, progress=shares.append))
    metrics = result.metrics
    names = ("nothing", "mel", "layer_1", "layer_2", "semantic", "codec")
    kinds = [
        f"{target}_{kind}" for target in ("keys", "classes", "onsets") for kind in ("ap", "f1")
    ]
    assert list(metrics) == [f"{kind}.{name}" for name in names for kind in kinds]
    assert metrics["keys_ap.mel"].value > 90
    assert metrics["classes_ap.mel"].value > metrics["classes_ap.nothing"].value + 20
    assert metrics["onsets_ap.mel"].value > metrics["onsets_ap.nothing"].value + 20
    assert metrics["keys_f1.mel"].value > metrics["keys_f1.nothing"].value + 20
    assert metrics["keys_ap.mel"].count == 3
    (table,) = result.tables
    assert len(table.rows) == len(names)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert result.conditions["learns from"].startswith("6 recordings")
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_hours_and_limit_bound_what_is_heard(lm, corpora, tmp_path):
    learn, data = corpora
    section = {"train": str(learn), "features": ("mel",), "hours": 6 / 3600, "longest": 3.0}
    result = evaluate(ask(lm, data, tmp_path / "r" / "n", limit=1, notes=section))
    assert result.conditions["learns from"].startswith("2 recordings, 0.00 h")
    assert result.metrics["keys_ap.mel"].count == 1


def test_what_is_missing_is_said(lm, corpora, tmp_path):
    learn, data = corpora
    out = tmp_path / "r" / "n"
    with pytest.raises(Skipped, match=r"--set notes\.train=FOLDER"):
        evaluate(ask(lm, data, out))
    with pytest.raises(ConfigurationError, match=r"notes\.features: layer:3 is not known"):
        evaluate(ask(lm, data, out, notes={"train": str(learn), "features": ("layer:3",)}))
    table = data / "d0.tsv"
    table.write_text("0.5\t0.4\t60\t90\n")
    with pytest.raises(CorpusError, match=r"d0\.tsv: a note ends before it begins"):
        evaluate(ask(lm, data, out, notes={"train": str(learn)}))
    table.write_text("# fine\n0.5\tnever\n")
    with pytest.raises(CorpusError, match=r"d0\.tsv: line 2 is not 'onset offset note velocity'"):
        evaluate(ask(lm, data, out, notes={"train": str(learn)}))
    for path in data.glob("*.tsv"):
        path.unlink()
    with pytest.raises(Skipped, match="no recording has a table of notes"):
        evaluate(ask(lm, data, out, notes={"train": str(learn)}))


def test_a_composition_is_not_both_learnt_from_and_judged(lm, corpora, tmp_path):
    learn, data = corpora
    (learn / "drawn.csv").write_text("file,composition\nl3,waltz\n")
    (data / "drawn.csv").write_text("file,composition\nd1,waltz\n")
    with pytest.raises(CorpusError, match=r"learn: waltz is also played in .*data"):
        evaluate(ask(lm, data, tmp_path / "r" / "n", notes={"train": str(learn)}))
