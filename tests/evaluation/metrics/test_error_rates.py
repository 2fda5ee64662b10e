"""Errors of recognised text against a plain edit distance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm.evaluation.metrics.error_rates import errors, evaluate, normalise_text
from reference.levenshtein import edit_distance

pytest.importorskip("jiwer")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("HELLO  World", "hello world"),
        ("“Well,” she said — don't!", "well she said don't"),
        ("the dogs’ bones, 'tis", "the dogs bones tis"),
        ("Mr. O’Neill's 3 cats\n", "mr o'neill's 3 cats"),
        ("twenty-one_two", "twenty one two"),
        ("Café ﬁne", "café fine"),
        ("...", ""),
    ],
)
def test_text_is_normalised(text, wanted):
    assert normalise_text(text) == wanted
    assert normalise_text(wanted) == wanted


words = st.lists(st.sampled_from(["a", "an", "ant", "bee"]), min_size=1, max_size=6)


@given(words, st.one_of(words, st.just([])))
def test_errors_are_edit_distances(transcript, heard):
    a, b = " ".join(transcript), " ".join(heard)
    found = errors(b, a)
    assert found.words == edit_distance(transcript, heard)
    assert found.of_words == len(transcript)
    assert found.characters == edit_distance(a, b)
    assert found.of_characters == len(a)


def test_rates_are_percent_of_the_transcript():
    assert evaluate("one two", "one two three four") == {
        "cer": pytest.approx(100 * 11 / 18),
        "wer": 50,
    }


@pytest.mark.parametrize(("text", "transcript"), [("One", "one"), ("one", "One."), ("one", "")])
def test_what_is_not_normalised_or_empty_is_refused(text, transcript):
    with pytest.raises(ValueError, match=r"normalised|empty"):
        evaluate(text, transcript)
