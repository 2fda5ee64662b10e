"""`speakers`: every table measures its half of the speakers, and says so."""

import pytest
from asking import add_transcripts, ask
from layouts import record

from audiolm.evaluation.halves import half_of
from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.run import Evaluation, run
from audiolm.evaluation.tables import abx, bits, content, continuation, detection, listening
from audiolm.evaluation.tables import speaker as speaker_table
from audiolm.evaluation.tables.voices import learn_voices
from tiny import tiny_model

SPEAKERS = ("61", "121", "672", "1089")
"""Two of each half."""


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("halves")
    lines = []
    for speaker in SPEAKERS:
        for number in range(2):
            name = f"{speaker}-1-{number:04d}"
            record(root / speaker / "1" / f"{name}.wav", 1.5, number, int(speaker))
            for token in range(4):
                onset = 0.1 + 0.3 * token
                times = f"{onset:.1f} {onset + 0.3:.1f}"
                lines.append(f"{name} {times} {'PQ'[token % 2]} A B {speaker}")
    (root / "dev.item").write_text("\n".join(lines) + "\n")
    add_transcripts(root)
    return root


def of(half):
    return {name for name in SPEAKERS if half_of(name) == half}


def test_the_two_halves_are_even():
    assert len(of("choose")) == len(of("report")) == 2


@pytest.mark.parametrize("half", ["choose", "report"])
def test_requests_give_the_half(lm, corpus, tmp_path, half):
    request = ask(lm, corpus, tmp_path / "r" / "x", speakers=half)
    assert {u.speaker for u in request.utterances()} == of(half)


@pytest.mark.parametrize("half", ["choose", "report"])
def test_abx_bits_and_voices_are_of_the_half(lm, corpus, tmp_path, half):
    section = {"features": ["mel"]}
    request = ask(lm, corpus, tmp_path / "r" / "abx", speakers=half, abx=section)
    assert "4 recordings of 2 speakers" in abx.evaluate(request).conditions["dev.item"]
    found = bits.bits_per_token(request, [], lambda share: None)
    assert found.metrics["bits_per_token.semantic_stage"].count == 4
    request = ask(lm, corpus, tmp_path / "r" / "s", speakers=half, speaker={"epochs": 1})
    voices = learn_voices(request)
    assert set(voices.classifier.classes) == of(half)


@pytest.mark.parametrize("module", [content, continuation, detection, listening, speaker_table])
def test_no_table_goes_round_the_request(module):
    """What finds recordings of its own would measure both halves."""
    assert not hasattr(module, "utterances")
    assert not hasattr(module, "open_corpus")


def test_the_report_says_which_half(lm, corpus, tmp_path):
    options = EvaluationConfig.model_validate({"abx": {"features": ["mel"]}})
    asked = Evaluation(lm, corpus, tmp_path, ["abx"], options=options, speakers="report")
    report = run(asked)
    assert report["speakers"] == "report"
    found = report["experiments"]["abx"]
    assert found["conditions"]["half of the speakers"] == "report"
    assert found["tables"][0]["note"].startswith("Speakers of the half `report` only.")
    assert "report" in (tmp_path / "report.html").read_text()
    whole = run(Evaluation(lm, corpus, tmp_path, ["abx"], options=options))  # measured anew
    assert whole["experiments"]["abx"]["state"] == "done"
    assert "half of the speakers" not in whole["experiments"]["abx"]["conditions"]
