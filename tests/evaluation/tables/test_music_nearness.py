"""Which of a pair is nearer: passages of which it is plain."""

import numpy as np
import pytest
from asking import utterance

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics.music import Passage
from audiolm.evaluation.tables.music_nearness import Heard, nearness
from audiolm.evaluation.tables.music_windows import Window


def passage(low, level):
    notes = np.array([(0.25 * n, 0.25 * n + 0.2, low + n % 5, 80) for n in range(16)], dtype=float)
    return Passage(notes, 4.0, level, 0.0, 50.0)


TRUE = [passage(50, -20.0), passage(55, -23.0), passage(60, -26.0), passage(65, -29.0)]
PIECES = ["waltz", "waltz", "waltz", "etude"]


def window(piece):
    sound = Audio(np.zeros(16_000, dtype=np.float32), 16_000)
    return Window(utterance(piece, piece), 0.0, sound)


def heard(rests, windows):
    return Heard(list(windows), [(TRUE[n], rest) for n, rest in zip(windows, rests, strict=True)])


def test_the_nearer_one_wins_and_a_piece_counts_once():
    near = [passage(51, -20.5), passage(56, -23.5), passage(61, -26.5), passage(66, -29.5)]
    far = [passage(70, -40.0)] * 4
    every = range(4)
    kinds = {
        "original": heard(TRUE, every),
        "audiolm": heard([near[0], near[1], near[2], far[3]], every),
        "acoustic_only": heard([far[0], far[1], near[2], near[3]], every),
    }
    metrics, table = nearness(kinds, [window(piece) for piece in PIECES], seed=0)
    assert metrics["nearer_by_metrics.pairs"].value == pytest.approx(100 * 2.5 / 4)  # one tie
    assert metrics["nearer_by_metrics.pieces"].value == 50
    assert metrics["nearer_by_metrics.pieces"].count == 2
    rows = {row[0]: row for row in table.rows}
    assert rows["AudioLM nearer than the baseline, pairs"][3:] == ["2 of 3", "1"]
    assert rows["AudioLM nearer than the baseline, pieces"][3:] == ["1 of 2", "1"]
    swapped = kinds | {"audiolm": kinds["acoustic_only"], "acoustic_only": kinds["audiolm"]}
    other, _ = nearness(swapped, [window(piece) for piece in PIECES], seed=0)
    assert other["nearer_by_metrics.pairs"].value == pytest.approx(100 * 1.5 / 4)
    assert other["distance_to_true.audiolm"] == metrics["distance_to_true.acoustic_only"]


def test_without_a_baseline_there_are_distances_alone():
    kinds = {"original": heard(TRUE, range(4)), "audiolm": heard(TRUE, range(4))}
    metrics, table = nearness(kinds, [window(piece) for piece in PIECES], seed=0)
    assert list(metrics) == ["distance_to_true.audiolm"]
    assert metrics["distance_to_true.audiolm"].value == 0
    assert len(table.rows) == 1
