"""The choice of what comes next: a stage that knows the order of ids chooses right."""

import pytest
import torch
from asking import ask

from audiolm.evaluation.metrics.sequence_scores import Likelihood
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables import next_segment
from audiolm.evaluation.tables.next_segment import (
    Choice,
    Stretch,
    bag_right,
    choices_of,
    evaluate,
    right,
)
from audiolm.stages import Streams
from playing import play
from tiny import tiny_model

SHORT = {"seconds": 1.0, "rivals": 2}


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic",))


@pytest.fixture
def data(tmp_path):
    for number in range(3):
        play(tmp_path / "data", f"d{number}", number, seconds=6.0)
    return tmp_path / "data"


def stretches(*counts):
    return [
        Stretch(f"piece {n}", f"r{n}", place, torch.zeros(1))
        for n, count in enumerate(counts)
        for place in range(count)
    ]


def test_what_follows_truly_follows_and_rivals_are_strangers():
    found = stretches(6, 2, 1)
    choices = choices_of(found, 3, 0)
    assert {c.known for c in choices} == {0, 1, 2, 3, 4, 6}  # the last of each has none
    for choice in choices:
        known, true, rival = (found[n] for n in (choice.known, choice.true, choice.rival))
        assert (true.recording, true.place) == (known.recording, known.place + 1)
        if choice.kind == "other_piece":
            assert rival.piece != known.piece
        else:
            assert rival.recording == known.recording
            assert rival.place - known.place not in (-1, 0, 1, 2)
    assert len([c for c in choices if c.known == 0 and c.kind == "other_piece"]) == 3
    assert len([c for c in choices if c.known == 0 and c.kind == "same_piece"]) == 3
    assert choices == choices_of(found, 3, 0) != choices_of(found, 3, 1)
    assert choices_of(stretches(1, 1), 3, 0) == []


def test_the_likelier_is_right_and_a_tie_half():
    given = {(0, 1): Likelihood(-8.0, 4), (0, 2): Likelihood(-6.0, 2), (0, 3): Likelihood(-8.0, 4)}
    assert right(given, Choice(0, 1, 2, "")) == 1
    assert right(given, Choice(0, 1, 2, ""), per_token=False) == 0
    assert right(given, Choice(0, 1, 3, "")) == 0.5
    bags = [torch.tensor(bag).numpy() for bag in ([2, 1, 0], [4, 2, 0], [0, 1, 5], [2, 1, 0])]
    assert bag_right(bags, Choice(0, 1, 2, "")) == 1
    assert bag_right(bags, Choice(0, 2, 1, "")) == 0
    assert bag_right(bags, Choice(0, 1, 3, "")) == 0.5


def test_everything_is_measured(lm, data, tmp_path, monkeypatch):
    shares, seen = [], {}
    original = next_segment._result

    def result(found, choices, given, bags, request):
        seen.update(found=found, given=given)
        return original(found, choices, given, bags, request)

    monkeypatch.setattr(next_segment, "_result", result)
    request = ask(lm, data, tmp_path / "r" / "n", next_segment=SHORT, progress=shares.append)
    result = evaluate(request)
    kinds = ("other_piece", "same_piece")
    ways = ("", ".not_normalised", ".bag_of_ids")
    assert list(result.metrics) == [f"{kind}{way}" for kind in kinds for way in ways]
    assert all(0 <= metric.value <= 100 for metric in result.metrics.values())
    assert result.metrics["other_piece"].count == 3 * 4 * 2
    assert len(result.tables[0].rows) == 2
    assert shares == sorted(shares)
    # What is given is what the whole takes beyond the known stretch.
    stage = lm.stages["semantic"]
    (a, b), found = next(iter(seen["given"].items()))
    known, after = (seen["found"][n].ids for n in (a, b))
    assert len(known) == 25
    whole = stage.log_likelihood(Streams(semantic=torch.cat([known, after])[None]))
    alone = stage.log_likelihood(Streams(semantic=known[None]))
    assert found.nats == pytest.approx((whole.total - alone.total).item(), rel=1e-3)


def test_what_is_missing_is_said(lm, data, tmp_path):
    out = tmp_path / "r" / "n"
    with pytest.raises(Skipped, match="no two pieces with 60 s"):
        evaluate(ask(lm, data, out, next_segment={"seconds": 30.0}))
    with pytest.raises(Skipped, match="no semantic stage"):
        evaluate(ask(tiny_model(kinds=()), data, out))
    for table in data.glob("*.tsv"):
        table.unlink()
    with pytest.raises(Skipped, match=r"--set next_segment\.unlabelled=true"):
        evaluate(ask(lm, data, out, next_segment=SHORT))
    evaluate(ask(lm, data, out, next_segment=SHORT | {"unlabelled": True}))
