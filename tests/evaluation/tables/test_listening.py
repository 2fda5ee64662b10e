"""The material of the listening tests, and what comes of the answers."""

import csv
import json

import numpy as np
import pytest
from asking import ask

from audiolm.audio.files import read
from audiolm.errors import CorpusError
from audiolm.evaluation.corpora import utterances
from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.run import Evaluation, run
from audiolm.evaluation.selection import prompts_of, spread_over_speakers
from audiolm.evaluation.tables.listening import evaluate
from tiny import tiny_model

REAL, PREFERENCE = "original-or-synthetic", "preference"
SECTION = {
    "clips": 6,
    "prompt_seconds": 0.64,
    "seconds": 1.0,
    "pairs": 6,
    "pair_prompt_seconds": 0.8,
    "pair_seconds": 1.2,
}


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse", "fine", "acoustic_only"))


@pytest.fixture
def corpus(corpus_folder):
    return corpus_folder(8, layout="librispeech", speakers=4, seconds=1.5)


@pytest.fixture
def built(lm, corpus, tmp_path):
    """A request whose material is there."""
    request = ask(lm, corpus, tmp_path / "report" / "listening", listening=SECTION)
    with pytest.raises(Skipped, match="no answers yet") as skipped:
        evaluate(request)
    assert f"send {REAL} and {PREFERENCE} to raters (not key.json)" in skipped.value.remedy
    return request


def key_of(request):
    return json.loads((request.out / "key.json").read_text())["tests"]


def answer(request, rater, answers):
    """Write a rater's file: by test and item, the answer."""
    with (request.out / "answers" / f"{rater}.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["test", "rater", "item", "answer"])
        rows.writerows([test, rater, i, a] for test, of in answers.items() for i, a in of.items())


def test_half_of_the_clips_are_originals_and_names_tell_nothing(built):
    truth = key_of(built)[REAL]
    assert sorted(truth.values()) == ["original"] * 3 + ["synthetic"] * 3
    files = sorted(
        p.relative_to(built.out / REAL).as_posix() for p in built.out.glob(f"{REAL}/**/*.wav")
    )
    assert files == sorted(f"clips/{item}.wav" for item in truth)
    assert list(truth) == sorted(truth)
    kinds = list(truth.values())
    assert kinds not in (sorted(kinds), sorted(kinds, reverse=True))
    assert {read(built.out / REAL / file).seconds for file in files} == {1.64}


def test_originals_are_compressed_recordings_and_the_rest_begins_with_prompts(built, lm, corpus):
    recordings = [read(path) for path in corpus.rglob("*.wav")]
    compressed = [lm.reconstruction(r.first(1.64)) for r in recordings if r.seconds >= 1.64]
    prompts = [lm.reconstruction(r.first(0.64)) for r in recordings]
    used = []
    for item, kind in key_of(built)[REAL].items():
        clip = read(built.out / REAL / f"clips/{item}.wav").samples
        if kind == "original":
            distances = [abs(clip - whole.samples).max() for whole in compressed]
        else:
            n = 8000  # what follows the prompt changes the codec's last samples of it
            distances = [abs(clip[:n] - prompt.samples[:n]).max() for prompt in prompts]
        assert min(distances) < 1e-3
        used.append((kind, int(np.argmin(distances))))
    assert len(set(used)) == 6


def test_pairs_go_on_from_the_same_prompt_on_sides_drawn_by_lot(built, lm, corpus):
    truth = key_of(built)[PREFERENCE]
    assert len(truth) == 6
    assert set(truth.values()) == {"a", "b"}
    for item, ours in truth.items():
        clips = {side: read(built.out / PREFERENCE / f"clips/{item}-{side}.wav") for side in "ab"}
        assert {clip.seconds for clip in clips.values()} == {2.0}
        assert np.allclose(clips["a"].samples[:12_000], clips["b"].samples[:12_000], atol=1e-3)
        assert not np.allclose(clips["a"].samples[13_000:], clips["b"].samples[13_000:], atol=1e-3)
        assert ours in "ab"


def test_the_side_of_ours_is_ours(built, lm):
    """Made again from the same prompts with the same seed."""
    prompts = prompts_of(spread_over_speakers(utterances(built.data), 6, 0), 0.8)
    ours = lm.continuation(prompts, 1.2, prompt_seconds=None, seed=0)
    found = 0
    for item, side in key_of(built)[PREFERENCE].items():
        clip = read(built.out / PREFERENCE / f"clips/{item}-{side}.wav").samples
        found += any(abs(clip - np.clip(one.samples, -1, 1)).max() < 1e-4 for one in ours)
    assert found == 6


def test_nothing_that_goes_to_raters_holds_the_key(built):
    for test in (REAL, PREFERENCE):
        truth = key_of(built)[test]
        page = (built.out / test / "index.html").read_text()
        start = page.index("const test = ") + len("const test = ")
        content, _ = json.JSONDecoder().raw_decode(page[start:])
        assert [q["item"] for q in content["questions"]] == sorted(truth)
        assert all(set(q) == {"item", "clips"} for q in content["questions"])
        assert all(
            (built.out / test / c).exists() for q in content["questions"] for c in q["clips"]
        )
        assert "http" not in page
        assert not list((built.out / test).rglob("*.json"))


def test_answers_are_counted(built):
    key = key_of(built)
    wrong = {"original": "synthetic", "synthetic": "original"}
    items = list(key[REAL])
    answer(built, "anna", key)
    mixed = {
        item: key[REAL][item] if item == items[0] else wrong[key[REAL][item]] for item in items
    }
    answer(built, "bob", {REAL: mixed})
    result = evaluate(built)
    metrics = result.metrics
    assert metrics["original_or_synthetic.all"].value == pytest.approx(100 * 7 / 12)
    assert metrics["original_or_synthetic.all"].count == 12
    assert metrics["preference.all"].value == 100
    assert metrics["preference.all"].count == 6
    assert not {"preference.a", "preference.b"} & set(metrics)
    rows = {row[0]: row for row in result.tables[0].rows}
    assert rows["Right answers, all"][2:] == [51.2, "0.77", "0.39"]
    assert rows["AudioLM preferred, all"][2:] == [83.3, "0.031", "0.016"]
    assert result.conditions[REAL] == "2 raters, 6 of 6 items, 12 answers"


def test_answers_that_come_later_are_counted_by_the_next_run(lm, corpus, tmp_path):
    options = EvaluationConfig.model_validate({"listening": SECTION | {"pairs": 0}})
    asked = Evaluation(lm, corpus, tmp_path / "out", ["listening"], options=options)

    def part():
        return run(asked)["experiments"]["listening"]

    assert part()["state"] == "skipped"
    key_file = tmp_path / "out" / "listening" / "key.json"
    truth = json.loads(key_file.read_text())["tests"][REAL]
    request = ask(lm, corpus, tmp_path / "out" / "listening")
    answer(request, "anna", {REAL: truth})
    first = part()
    assert (first["state"], first["metrics"]["original_or_synthetic.all"]["count"]) == ("done", 6)
    assert part()["state"] == "kept"
    answer(request, "bob", {REAL: truth})
    second = part()
    assert (second["state"], second["metrics"]["original_or_synthetic.all"]["count"]) == (
        "done",
        12,
    )
    answer(request, "bob", {REAL: dict.fromkeys(truth, "original")})  # a corrected file
    assert part()["metrics"]["original_or_synthetic.all"]["value"] == 75
    assert part()["state"] == "kept"


def test_a_damaged_key_is_named(built):
    (built.out / "key.json").write_text("{")
    with pytest.raises(CorpusError, match=r"key\.json: the key .* missing or damaged"):
        evaluate(built)


def test_other_temperatures_are_other_clips(built, lm, monkeypatch):
    before = key_of(built)
    hot = lm.info.model_copy(update={"sampling": {"coarse": {"temperature": 2.0}}})
    monkeypatch.setattr(lm, "info", hot)
    answer(built, "anna", {PREFERENCE: before[PREFERENCE]})
    with pytest.raises(Skipped, match="clips of another model or other settings"):
        evaluate(built)


def test_only_one_test_may_have_been_answered(built):
    answer(built, "anna", {PREFERENCE: key_of(built)[PREFERENCE]})
    assert all(name.startswith("preference") for name in evaluate(built).metrics)


def test_answers_to_other_material_are_an_error(built):
    answer(built, "anna", {REAL: {"00000000": "original"}})
    with pytest.raises(CorpusError, match="other material"):
        evaluate(built)


def test_other_settings_never_overwrite_answered_material(built, lm):
    answer(built, "anna", {PREFERENCE: key_of(built)[PREFERENCE]})
    other = ask(lm, built.data, built.out, seed=1, listening=SECTION)
    with pytest.raises(Skipped, match="clips of another model or other settings"):
        evaluate(other)
    assert evaluate(built).metrics
    (built.out / "answers" / "anna.csv").unlink()
    before = key_of(built)
    with pytest.raises(Skipped, match="no answers yet"):
        evaluate(other)
    assert key_of(built) != before


def test_clips_of_earlier_settings_are_gone(built, lm):
    other = ask(lm, built.data, built.out, listening=SECTION | {"clips": 2})
    with pytest.raises(Skipped, match="no answers yet"):
        evaluate(other)
    assert len(list(built.out.glob(f"{REAL}/clips/*"))) == 2


def test_without_a_baseline_there_is_one_test(corpus, tmp_path):
    request = ask(tiny_model(), corpus, tmp_path / "r" / "l", listening=SECTION, limit=5)
    with pytest.raises(Skipped, match="send original-or-synthetic to raters"):
        evaluate(request)
    assert len(key_of(request)[REAL]) == 4  # an even number


def test_short_recordings_are_a_reason_to_skip(lm, corpus, tmp_path):
    with pytest.raises(Skipped, match="no recording lasts 10 s or more"):
        evaluate(ask(lm, corpus, tmp_path / "r" / "l"))


def test_an_empty_key_is_made_again_with_the_clips(built):
    key = key_of(built)
    (built.out / "key.json").write_text("")
    with pytest.raises(Skipped, match="no answers yet"):
        evaluate(built)
    assert key_of(built) == key


def test_an_empty_key_never_loses_answers(built):
    answer(built, "anna", {REAL: dict.fromkeys(key_of(built)[REAL], "original")})
    (built.out / "key.json").write_text("")
    with pytest.raises(Skipped, match="rename"):
        evaluate(built)
    assert (built.out / "answers" / "anna.csv").exists()
