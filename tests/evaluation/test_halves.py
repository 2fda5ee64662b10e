"""Halves of the speakers: fixed by name, and ten of twenty on the corpora at hand."""

from pathlib import Path

import pytest
from layouts import record

from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.halves import half_of, of_half

SPEECH = Path(__file__).parents[3] / "shared" / "data" / "speech"


def test_a_name_is_always_in_the_same_half():
    assert [half_of(name) for name in ("61", "121", "672", "1089")] == [
        "choose",
        "choose",
        "report",
        "report",
    ]


def test_the_halves_share_nothing_and_leave_nothing_out():
    names = [str(number) for number in range(200)]
    choose, report = (of_half(names, str, half) for half in ("choose", "report"))
    assert sorted([*choose, *report]) == sorted(names)
    assert of_half(names, str, "all") == names
    assert 80 < len(choose) < 120


@pytest.mark.skipif(not SPEECH.is_dir(), reason="needs ../shared/data/speech")
@pytest.mark.parametrize("corpus", ["librispeech/dev", "dev-aligned"])
def test_ten_of_twenty_are_chosen_by(corpus):
    speakers = [path.name for path in (SPEECH / corpus).iterdir() if path.is_dir()]
    assert len(speakers) == 20
    assert len(of_half(speakers, str, "choose")) == 10


def test_recordings_are_of_one_half(tmp_path):
    for speaker in (61, 121, 672, 1089):
        record(tmp_path / str(speaker) / "1" / f"{speaker}-1-0000.wav", 0.5, speaker)
    assert [u.speaker for u in utterances(tmp_path, speakers="report")] == ["1089", "672"]
    assert [u.speaker for u in utterances(tmp_path, speakers="choose")] == ["121", "61"]


def test_a_half_without_speakers_is_named(tmp_path):
    record(tmp_path / "61" / "1" / "61-1-0000.wav", 0.5, 0)
    with pytest.raises(CorpusError, match="none of its speakers is in the half report"):
        utterances(tmp_path, speakers="report")
