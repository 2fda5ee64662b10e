"""ABX's triples and their average against plain loops over all of them."""

import numpy as np
import pytest
import torch

from audiolm.errors import CorpusError
from audiolm.evaluation.metrics import abx as module
from audiolm.evaluation.metrics.abx import (
    Comparisons,
    Groups,
    Item,
    Questions,
    TripleCell,
    cut,
    score,
)
from audiolm.evaluation.metrics.dtw import Segments, pair_distances
from reference.abx import abx
from reference.abx import score as plain_score


def item(phone="P", context=("A", "B"), speaker="1", file="f", onset=0.0, offset=1.0):
    return Item(file, onset, offset, phone, context, speaker)


def random_tokens(seed, count=40, ids=None):
    """Items with random labels, and frames of each: random, or of few, so that ties occur."""
    generator = np.random.default_rng(seed)
    items, frames = [], []
    for _ in range(count):
        phone, before, speaker = (generator.choice(list(names)) for names in ("PQR", "AB", "12"))
        items.append(item(str(phone), (str(before), "C"), str(speaker)))
        length = int(generator.integers(1, 4))
        if ids is None:
            frames.append(generator.standard_normal((length, 3)).astype(np.float32))
        else:
            frames.append(ids[generator.integers(0, len(ids), length)])
    return items, frames


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_errors_equal_those_of_plain_loops(across, ties):
    # Directions at 0, 90 and 180 degrees: their angles are exact, so that ties are ties.
    few = np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=np.float32)
    items, frames = random_tokens(ties, ids=few if ties else None)
    lengths = [len(f) for f in frames]
    tokens = Segments(
        torch.from_numpy(np.concatenate(frames)), np.cumsum([0, *lengths[:-1]]), lengths
    )
    groups = Groups(items, largest=1000)
    cells = groups.across(1000) if across else groups.within()
    comparisons = Comparisons(cells)
    errors = comparisons.errors(pair_distances(tokens, comparisons.pairs))
    plain = [
        (f.astype(float).tolist(), i.phone, i.context, i.speaker)
        for f, i in zip(frames, items, strict=True)
    ]
    assert 0.2 < score(cells, errors).value < 0.8
    assert score(cells, errors).value == pytest.approx(abx(plain, across), abs=1e-6)


@pytest.mark.parametrize("at_once", [1, module.TRIPLES])
def test_the_error_of_each_cell_equals_that_of_plain_loops(monkeypatch, at_once):
    monkeypatch.setattr(module, "TRIPLES", at_once)
    items, _ = random_tokens(5)
    groups = Groups(items, largest=4)
    cells = [*groups.within(), *groups.across(3)]
    comparisons = Comparisons(cells)
    table = np.random.default_rng(0).integers(0, 4, (len(items), len(items)))  # so that ties occur
    errors = comparisons.errors(table[tuple(comparisons.pairs.T)])
    assert len(errors) == len(cells) > 20
    for cell, error in zip(cells, errors, strict=True):
        wrong = []
        for x in cell.x:
            for a in cell.a:
                for b in cell.b:
                    if x != a:
                        # Of two tokens of one group the distance is that of the earlier one.
                        to_a = table[min(x, a), max(x, a)] if cell.a == cell.x else table[x, a]
                        wrong.append(1.0 if table[x, b] < to_a else 0.5 * (table[x, b] == to_a))
        assert error == pytest.approx(sum(wrong) / len(wrong))


def test_questions_are_those_of_both_modes():
    items, _ = random_tokens(6)
    questions = Questions(items, largest=5, most=1, any_context=False, seed=3)
    table = np.random.default_rng(0).random((len(items), len(items)))
    scores = questions.scores(table[tuple(questions.pairs.T)])
    groups = Groups(items, 5, seed=3)
    for mode, cells in {"within": groups.within(), "across": groups.across(1)}.items():
        assert questions.cells[mode] == cells
        alone = Comparisons(cells)
        assert scores[mode] == score(cells, alone.errors(table[tuple(alone.pairs.T)]), 3)
        tokens = {n for cell in cells for group in (cell.x, cell.a, cell.b) for n in group}
        assert questions.tokens[mode] == len(tokens)


def test_a_mode_without_cells_has_no_score():
    items = [item("P"), item("P"), item("Q")]  # of one speaker
    questions = Questions(items, largest=5, most=5, any_context=False, seed=0)
    scores = questions.scores(np.zeros(len(questions.pairs)))
    assert list(scores) == list(questions.cells) == ["within"]
    assert Questions(items[:2], 5, 5, False, 0).scores(np.empty(0)) == {}


def test_cells_weigh_as_the_protocol_says():
    generator = np.random.default_rng(0)
    cells, errors, plain = [], [], {}
    for speaker in "123":
        for phones in (("P", "Q"), ("Q", "P"), ("P", "R")):
            for _ in range(generator.integers(0, 4)):
                error = generator.random()
                cells.append(TripleCell(speaker, phones, (0,), (1,), (2,)))
                errors.append(error)
                plain.setdefault((speaker, *phones), []).append(error)
    found = score(cells, np.array(errors))
    assert found.value == pytest.approx(plain_score(plain))
    assert 0 <= found.low < found.value < found.high <= 1


def test_a_score_needs_cells():
    with pytest.raises(CorpusError, match="use more recordings"):
        score([], np.empty(0))


def test_frames_of_a_token_are_those_whose_middle_lies_inside():
    # At 10 frames a second their middles lie at 0.05, 0.15, 0.25 ...
    items = [item(onset=0.14, offset=0.46), item(onset=0.16, offset=0.44)]
    kept, starts, lengths = cut(items, 10.0, {"f": 100}, drop_last=False)
    assert (kept, starts, lengths) == (items, [1, 2], [4, 2])
    _, starts, lengths = cut(items, 10.0, {"f": 100}, drop_last=True)
    assert (starts, lengths) == ([1, 2], [3, 1])


def test_tokens_of_later_files_start_after_the_earlier_ones():
    items = [item(file="b", onset=0.0, offset=0.3), item(file="a", onset=0.1, offset=0.4)]
    _, starts, _ = cut(items, 10.0, {"a": 7, "b": 9}, drop_last=True)
    assert starts == [7, 1]


def test_tokens_end_with_their_file_and_empty_ones_are_left_out():
    long, none, late = item(offset=9.0), item(onset=0.1, offset=0.16), item(onset=3.0, offset=4.0)
    kept, starts, lengths = cut([long, none, late], 10.0, {"f": 20}, drop_last=True)
    assert kept == [long]
    assert (starts, lengths) == ([0], [20])


def test_triples_are_of_one_context_and_the_speakers_asked_for():
    items, _ = random_tokens(3)
    groups = Groups(items, largest=1000)
    for cell in groups.within():
        used = [items[n] for n in (*cell.x, *cell.a, *cell.b)]
        assert {i.context for i in used} == {items[cell.x[0]].context}
        assert {i.speaker for i in used} == {cell.speaker}
        assert cell.x is cell.a and len(cell.a) > 1
    for cell in groups.across(5):
        assert {items[n].speaker for n in (*cell.a, *cell.b)} == {cell.speaker}
        (other,) = {items[n].speaker for n in cell.x}
        assert other != cell.speaker
        assert {items[n].phone for n in (*cell.x, *cell.a)} == {cell.phones[0]}
        assert {items[n].phone for n in cell.b} == {cell.phones[1]} != {cell.phones[0]}


def test_any_context_lets_contexts_differ():
    items = [item("P", ("A", "B")), item("P", ("C", "D")), item("Q", ("E", "F"))]
    assert Groups(items, 10).within() == []
    (cell,) = Groups(items, 10, any_context=True).within()
    assert (cell.a, cell.b) == ((0, 1), (2,))


def test_large_groups_and_many_speakers_are_drawn_from():
    items = [item("P", speaker=str(n % 4)) for n in range(40)] + [item("Q", speaker="0")]
    groups = Groups(items, largest=3, seed=1)
    assert {len(group) for group in groups.tokens.values()} == {1, 3}
    cells = groups.across(most=2)
    assert len(cells) == 2  # one A and B, with two of the three other speakers
    assert cells == Groups(items, largest=3, seed=1).across(most=2)
    assert groups.tokens != Groups(items, largest=3, seed=2).tokens
