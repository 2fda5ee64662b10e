"""Verdicts, timelines, joints."""

from itertools import pairwise, product

import numpy as np
import pytest

from audiolm.errors import ConfigurationError, ModelFolderError
from audiolm.safety.detection import CHANGE, judged, likeliest_kinds, most_suspicious
from audiolm.safety.detector import DetectorConfig
from audiolm.safety.windows import Heard
from safety.made_up import CONFIG


def of(*runs: tuple[int, float | None]) -> Heard:
    """What was heard: runs of windows with one score; None is silence."""
    scores = np.concatenate([np.full(n, 0.0 if score is None else score) for n, score in runs])
    silent = np.concatenate([np.full(n, score is None) for n, score in runs])
    pairs = np.stack([scores, np.full(len(scores), 2.0)], axis=1).astype(np.float32)
    return Heard(pairs, silent, 1 + 0.25 * (len(scores) - 1))


def test_all_of_one_kind() -> None:
    made = judged(of((25, 3.0)), CONFIG)
    assert (made.verdict, made.made, len(made.timeline), made.joints) == ("made", True, 1, ())
    assert made.probability == pytest.approx(1 / (1 + np.exp(-3)))
    assert made.timeline[0].made and made.timeline[0].end == 7.0
    other = judged(of((25, -3.0)), CONFIG)
    assert (other.verdict, other.made, len(other.timeline)) == ("not detected", False, 1)
    assert other.probability == pytest.approx(1 / (1 + np.exp(3)))
    assert other.codec_probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert other.codec_probability == made.codec_probability


def test_a_prompt_and_its_continuation_are_told_apart_at_the_joint() -> None:
    # Windows that hold more of what is before second 3 begin before 2.5: ten of them.
    answer = judged(of((10, -3.0), (27, 3.0)), CONFIG)
    assert answer.verdict == "partly made"
    first, second = answer.timeline
    assert (first.start, first.end, first.made) == (0.0, second.start, False)
    assert second.end == 10.0 and second.made
    assert answer.joints == (pytest.approx(3.0, abs=0.13),)
    assert answer.probability > 0.9  # though the whole is less
    assert answer.probability > judged(of((27, -3.0), (10, 3.0)), CONFIG).probability - 1e-9


def test_made_sound_between_two_sides_has_two_joints() -> None:
    answer = judged(of((40, -3.0), (16, 3.0), (40, -3.0)), CONFIG)
    assert [one.made for one in answer.timeline] == [False, True, False]
    assert len(answer.joints) == 2


def test_single_windows_are_no_stretch() -> None:
    answer = judged(of((20, -3.0), (1, 3.0), (20, -3.0)), CONFIG)
    assert (answer.verdict, len(answer.timeline)) == ("not detected", 1)


def test_a_stretch_that_is_not_sure_enough_is_none() -> None:
    # Likelier made than not, and below every threshold (they rise from 0 to 2).
    config = CONFIG.model_copy(
        update={
            "made": (
                CONFIG.made[0].model_copy(
                    update={"thresholds": tuple(np.linspace(3.5, 5, 9).tolist())}
                ),
            )
        }
    )
    answer = judged(of((40, -3.0), (16, 3.0)), config)
    assert answer.verdict == "not detected"
    assert len(answer.timeline) == 1 and answer.joints == ()


def test_a_lower_rate_of_false_alarms_asks_for_more() -> None:
    heard = of((25, 1.3))  # thresholds: 1.25 at 0.5 %, 1.75 at 1e-4; the whole has half the rate
    assert judged(heard, CONFIG, 0.05).made
    assert not judged(heard, CONFIG, 0.001).made
    assert judged(of((25, 1.3)), CONFIG, 0.05).false_alarms == 0.05


def test_more_channels_are_more_looks() -> None:
    heard = of((25, 1.05))
    assert judged(heard, CONFIG, 0.02).made
    assert not judged(heard, CONFIG, 0.02, channels=8).made


def test_silence_says_nothing() -> None:
    answer = judged(of((9, None)), CONFIG)
    assert (answer.verdict, answer.probability, answer.codec_probability) == ("silence", None, None)
    assert "nothing can be said" in answer.note
    assert answer.timeline[0].probability is None


def test_silence_inside_is_a_stretch_and_no_joint() -> None:
    answer = judged(of((20, 3.0), (8, None), (20, 3.0)), CONFIG)
    assert answer.verdict == "made" and answer.joints == ()
    assert [one.probability is None for one in answer.timeline] == [False, True, False]


def test_what_is_shorter_than_a_second_is_uncertain() -> None:
    short = Heard(np.array([[3.0, 3.0]], np.float32), np.array([False]), 0.2)
    answer = judged(short, CONFIG)
    assert answer.verdict == "too short" and not answer.made
    assert answer.probability == pytest.approx(1 / (1 + np.exp(-0.6)))
    assert "0.20 s" in answer.note and "uncertain" in answer.note


def test_the_most_suspicious_channel_answers() -> None:
    quiet, other, made = (
        judged(heard, CONFIG, channels=3)
        for heard in (of((25, None)), of((25, -3.0)), of((25, 3.0)))
    )
    answer = most_suspicious([quiet, other, made])
    assert (answer.channel, answer.verdict) == (3, "made")
    assert answer.channels == (None, other.probability, made.probability)


def test_a_detector_that_was_never_calibrated_says_nothing() -> None:
    with pytest.raises(ModelFolderError, match="not calibrated"):
        judged(of((9, 1.0)), DetectorConfig())
    with pytest.raises(ConfigurationError, match="false_alarms"):
        judged(of((9, 1.0)), CONFIG, 0.5)


@pytest.mark.parametrize("seed", range(6))
def test_the_likeliest_sequence_is_the_best_of_all(seed) -> None:
    evidence = np.random.default_rng(seed).normal(0, 3, 10)

    def score(kinds: tuple[bool, ...]) -> float:
        changes = sum(a != b for a, b in pairwise(kinds))
        return sum(e for e, kind in zip(evidence, kinds, strict=True) if kind) - CHANGE * changes

    best = max(score(kinds) for kinds in product([False, True], repeat=10))
    assert score(tuple(likeliest_kinds(evidence))) == pytest.approx(best)
