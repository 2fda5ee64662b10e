"""sWUGGY and sBLIMP from the published layout, and what they count."""

import csv
import json

import pytest
from asking import ask
from layouts import record, zero_resource

from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import ProbePair
from audiolm.evaluation.metrics.sequence_scores import Likelihood
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import probes
from tiny import tiny_model

MODEL = tiny_model()


def judged(id, voice, good, bad, group="g", in_vocabulary=None):
    """`good` and `bad`: (nats, tokens)."""
    pair = ProbePair(id, voice, None, None, ("", ""), group, in_vocabulary)
    return probes.ScoredPair(pair, Likelihood(*good), Likelihood(*bad))


def test_the_likelier_is_right_and_a_tie_is_half():
    assert judged("0", "A", (-4, 4), (-5, 4)).right() == 1
    assert judged("0", "A", (-5, 4), (-4, 4)).right() == 0
    assert judged("0", "A", (-4, 4), (-4, 4)).right() == 0.5


def test_voices_are_averaged_before_pairs():
    win, lose = ((-1, 1), (-2, 1)), ((-2, 1), (-1, 1))
    three = [judged("0", voice, *win) for voice in "ABC"]
    one = [judged("1", "A", *lose)]
    metric = probes._accuracy(three + one, True, 0)
    assert metric.value == 50  # not 75: there are two pairs
    assert metric.count == 2


def evaluated(tmp_path, data, **about):
    return probes.evaluate(ask(MODEL, data, tmp_path / "out", **about))


def test_both_sets_in_the_published_layout(tmp_path):
    shares = []
    data = zero_resource(tmp_path / "sLM21", pairs=3)
    result = evaluated(tmp_path, data, progress=shares.append)
    assert {name: metric.count for name, metric in result.metrics.items()} == {
        "swuggy.all": 3,
        "swuggy.all.not_normalised": 3,
        "swuggy.in_vocabulary": 2,
        "swuggy.in_vocabulary.not_normalised": 2,
        "sblimp.all": 3,
        "sblimp.all.not_normalised": 3,
    }
    assert result.metrics["swuggy.in_vocabulary"].paper == 83.7
    assert result.metrics["sblimp.all.not_normalised"].paper == 67.5
    titles = [table.title for table in result.tables]
    assert titles[1] == "sWUGGY, by voice and by kind"
    kinds = [row[0] for row in result.tables[1].rows]
    assert kinds == ["voice A", "voice B", "5-19", "out of vocabulary"]
    assert [row[0] for row in result.tables[3].rows][2:] == ["agreement", "binding"]
    assert shares == sorted(shares)
    assert "2 pairs" not in result.conditions[str(data / "lexical" / "dev")]


def test_every_pair_is_written_with_its_likelihoods(tmp_path):
    data = zero_resource(tmp_path / "sLM21")
    metric = evaluated(tmp_path, data).metrics["swuggy.all"]
    with (tmp_path / "out" / "swuggy.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["voice"]) for row in rows] == [(i, v) for i in "01" for v in "AB"]
    for row in rows:
        good = float(row["nats_good"]) / int(row["tokens_good"])
        bad = float(row["nats_bad"]) / int(row["tokens_bad"])
        assert float(row["right"]) == (0.5 if good == bad else good > bad)
    mean = sum(float(row["right"]) for row in rows) / len(rows)
    assert metric.value == pytest.approx(100 * mean)


def test_a_set_of_one_s_own_is_not_called_swuggy(tmp_path):
    data = zero_resource(tmp_path / "probes")
    about = {"name": "espeak", "title": "synthetic probes spoken by a machine"}
    (data / "probes.json").write_text(json.dumps(about))
    result = evaluated(tmp_path, data)
    assert "espeak_lexical.all" in result.metrics and "swuggy.all" not in result.metrics
    assert all(metric.paper is None for metric in result.metrics.values())
    assert result.tables[0].title == about["title"]
    assert about["title"] in result.conditions[str(data / "lexical" / "dev")]


def test_a_limit_takes_whole_pairs(tmp_path):
    data = zero_resource(tmp_path / "sLM21", pairs=3)
    result = evaluated(tmp_path, data, limit=2)
    assert result.metrics["swuggy.all"].count == result.metrics["sblimp.all"].count == 2
    assert "2 pairs, voices A, B" in result.conditions[str(data / "lexical" / "dev")]


def test_one_set_alone_is_enough(tmp_path):
    data = zero_resource(tmp_path / "data")
    (data / "syntactic").rename(tmp_path / "away")
    assert all(name.startswith("swuggy") for name in evaluated(tmp_path, data).metrics)


def test_recordings_beside_the_pairs_give_bits_per_token(tmp_path):
    zero_resource(tmp_path / "data" / "sLM21")
    record(tmp_path / "data" / "sLM21" / "lexical" / "test" / "x.wav", 1.0, 7)
    for speaker in (1, 2):
        record(tmp_path / "data" / "dev" / f"{speaker}" / "1" / f"{speaker}-1-0.wav", 1.0, speaker)
    result = evaluated(tmp_path, tmp_path / "data")
    assert "swuggy.all" in result.metrics
    assert result.metrics["bits_per_token.semantic_stage"].count == 2  # of speech, not of pairs


def test_two_layouts_are_one_too_many(tmp_path):
    zero_resource(tmp_path / "data" / "a")
    zero_resource(tmp_path / "data" / "b")
    with pytest.raises(CorpusError, match="name the folder above one of them"):
        evaluated(tmp_path, tmp_path / "data")


def test_without_data_it_is_skipped(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(Skipped, match=r"neither lexical/dev nor .*make_probes"):
        evaluated(tmp_path, tmp_path / "data")


def test_a_name_that_is_missing_is_told(tmp_path):
    data = zero_resource(tmp_path / "probes")
    (data / "probes.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"probes\.json"):
        evaluated(tmp_path, data)
