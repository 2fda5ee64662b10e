"""A passage in numbers, and which of two is nearer."""

import numpy as np
import pytest

from audiolm.audio.waveform import Audio
from audiolm.evaluation.metrics.music import (
    FEATURES,
    LACKING,
    RELATIONS,
    Nearness,
    Passage,
    compare,
    describe,
    divided,
    polyphony,
)

pytest.importorskip("mir_eval")
RATE = 16_000


def notes(*rows):
    return np.array(rows, dtype=float).reshape(-1, 4)


def scale(tonic=60, step=0.25, count=16, velocity=80):
    steps = (0, 2, 4, 5, 7, 9, 11, 12)
    return notes(
        *((n * step, n * step + 0.2, tonic + steps[n % 8], velocity) for n in range(count))
    )


def passage(played, level=-20.0, silence=0.0, motives=50.0):
    return Passage(played, 4.0, level, silence, motives)


def test_a_note_belongs_to_where_it_begins():
    samples = np.concatenate([np.full(2 * RATE, 0.1), np.full(RATE, 0.01), np.zeros(RATE)])
    whole = Audio(samples.astype(np.float32), RATE)
    prompt, rest = divided(whole, notes((1, 3, 60, 80), (2, 2.5, 62, 70), (3.5, 3.6, 64, 60)), 2.0)
    assert prompt.notes.tolist() == [[1, 3, 60, 80]]
    assert rest.notes.tolist() == [[0, 0.5, 62, 70], [1.5, pytest.approx(1.6), 64, 60]]
    assert prompt.level == pytest.approx(-20, abs=0.01)
    assert rest.level == pytest.approx(-43.01, abs=0.01)
    assert rest.silence == 50
    assert (prompt.seconds, rest.seconds) == (2, 2)


def test_keys_at_once():
    assert polyphony(notes((0, 2, 60, 1), (1, 2, 64, 1), (3, 4, 67, 1)), 4.0) == pytest.approx(
        4 / 3
    )
    assert polyphony(notes((0, 9, 60, 1), (0, 9, 64, 1)), 4.0) == 2
    assert polyphony(notes(), 4.0) == 0


def test_what_a_passage_is_like():
    like = describe(passage(scale(velocity=64)))
    assert set(like) == set(FEATURES)
    assert like["density"] == 4
    assert like["regularity"] > 0.9
    assert like["polyphony"] == pytest.approx(1)
    assert like["register"] == 66
    assert like["velocity"] == 64
    assert 10 < like["range"] <= 12
    nothing = describe(passage(notes()))
    assert (nothing["density"], nothing["polyphony"], nothing["range"]) == (0, 0, 0)
    assert nothing["register"] is None and nothing["velocity"] is None


def test_how_much_a_continuation_stays_with_its_prompt():
    prompt = passage(scale(), level=-20)
    same = compare(prompt, passage(scale(), level=-20))
    assert set(same) == set(RELATIONS)
    assert (same["pitch_classes"], same["key_score"], same["tempo"]) == (0, 1, 100)
    assert (same["density"], same["register"], same["level"], same["velocity"]) == (0, 0, 0, 0)
    other = compare(prompt, passage(scale(66, step=0.125, count=32, velocity=60), level=-26))
    assert other["pitch_classes"] > 0.5
    assert other["key_score"] == 0
    assert other["density"] == pytest.approx(1)  # twice as many
    assert (other["register"], other["velocity"], other["level"]) == (6, 20, 6)
    nothing = compare(prompt, passage(notes()))
    assert all(nothing[name] is None for name in RELATIONS if name != "level")


def test_distance_is_in_the_spread_of_true_continuations():
    true = [passage(scale(60), -20, 0, 40), passage(scale(65), -26, 10, 60)]
    near = Nearness(true, ["a", "b"])
    assert near.spread["level"] == 3
    assert near.spread["register"] == 2.5
    assert "density" not in near.spread  # both have four notes a second
    assert near.distance(true[0], true[0]) == 0
    # By hand: register, level, silence and motives two deviations off, pitch classes one mean.
    # (Range, regularity, polyphony and velocity are those of the same scale.)
    assert set(near.spread) == {"register", "level", "silence", "motives"}
    assert near.distance(true[0], true[1]) == pytest.approx(np.sqrt((4 * 4 + 1) / 5))
    half = passage(scale(60), -23, 5, 50)
    assert near.distance(true[0], half) == pytest.approx(np.sqrt((3 * 1 + 0) / 5))
    silent = passage(notes(), -20, 0, 40)
    assert near.distance(true[0], silent) == pytest.approx(np.sqrt(2 * LACKING**2 / 5))
    with pytest.raises(ValueError, match="at least two"):
        Nearness(true[:1], ["a"])
