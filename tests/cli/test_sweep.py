"""`audiolm sweep`: every layer and K is trained and measured once."""

import json

import numpy as np
import pytest
import soundfile

from audiolm.cli import sweep
from audiolm.evaluation.halves import half_of

ABX = {"dev.semantic.within": 12.1, "dev.semantic.across": 14.7, "dev.layer_1.within": 10.0}
BITS = {"bits_per_token.semantic_stage": 5.5, "bits_per_token.unigram": 7.25}
PAIRS = {"espeak_lexical.all": 61.0}


@pytest.fixture
def verbs(monkeypatch):
    """What is run, in place of running it."""
    ran = []

    def run(*words):
        ran.append(words)
        folder = words[words.index("--out") + 1]
        from pathlib import Path

        out = Path(folder)
        if words[0] == "train":
            (out / "training" / "semantic").mkdir(parents=True)
        else:
            name = words[words.index("--only") + 1]
            found = BITS if out.name == "bits" else ABX if name == "abx" else PAIRS
            metrics = {key: {"value": value} for key, value in found.items()}
            out.mkdir(parents=True)
            report = {"experiments": {name: {"metrics": metrics}}}
            (out / "report.json").write_text(json.dumps(report))

    monkeypatch.setattr(sweep, "run_verb", run)
    return ran


def ask(audiolm, model, tmp_path, *more, half="choose"):
    for name in ("speech", "dev", "aligned", "probes"):
        (tmp_path / name).mkdir(exist_ok=True)
    name = next(str(n) for n in range(99) if half_of(f"recording {n}") == half)
    soundfile.write(tmp_path / "dev" / f"{name}.wav", np.zeros(1600), 16_000)
    return audiolm(
        *("sweep", tmp_path / "speech", "--validation", tmp_path / "dev", "--model", model),
        *("--out", tmp_path / "out", "--layers", "1,2", "--clusters", "16", *more),
    )


def test_one_row_for_each_combination(audiolm, trained_model, verbs, tmp_path):
    more = ("--aligned", tmp_path / "aligned", "--probes", tmp_path / "probes", "--minutes", 2)
    answer = ask(audiolm, trained_model, tmp_path, *more)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0].startswith("| layer | K | ABX within / across")
    assert lines[2] == "| 1 | 16 | 10.0 | 12.1 / 14.7 | 5.50, 7.25 | 61.0 |  |"
    assert lines[3] == "| 2 | 16 |  | 12.1 / 14.7 | 5.50, 7.25 | 61.0 |  |"
    assert [words[0] for words in verbs] == ["train", "evaluate", "evaluate", "evaluate"] * 2
    train, bits, abx, _ = verbs[:4]
    assert "training.clustering.layer=1" in train  # the preset tiny has no second round
    assert "recipe=[clustering, tokens, semantic]" in train
    assert train[train.index("--minutes") + 1] == "2"
    assert bits[bits.index("--data") + 1] == str(tmp_path / "dev")
    for measured in (bits, abx):
        assert measured[measured.index("--speakers") + 1] == "choose"


def test_what_is_not_given_is_not_measured(audiolm, trained_model, verbs, tmp_path):
    answer = ask(audiolm, trained_model, tmp_path, "--json")
    assert [words[0] for words in verbs] == ["train", "evaluate"] * 2
    assert answer.json["sweep"][0] == {
        "layer": 1,
        "clusters": 16,
        "bits": 5.5,
        "unigram_bits": 7.25,
    }


def test_bits_are_of_everybody_where_nobody_is_there_to_choose_by(
    audiolm, trained_model, verbs, tmp_path
):
    ask(audiolm, trained_model, tmp_path, "--json", half="report")
    assert verbs[1][verbs[1].index("--speakers") + 1] == "all"


def test_a_model_that_was_not_trained_here_is_refused(audiolm, model, verbs, tmp_path):
    answer = ask(audiolm, model, tmp_path)
    assert answer.code == 2
    assert "holds no finished w2v-BERT" in answer.err
    assert verbs == []


@pytest.mark.parametrize("layers", ["", "1,x", "0", "-1"])
def test_layers_are_numbers(audiolm, trained_model, tmp_path, layers):
    answer = audiolm(
        *("sweep", tmp_path, "--validation", tmp_path, "--model", trained_model),
        *("--out", tmp_path / "o", "--layers", layers, "--clusters", "16"),
    )
    assert answer.code == 2
    assert "is no list of numbers" in answer.err


def test_a_verb_that_fails_ends_it_in_a_line(audiolm, trained_model, tmp_path):
    answer = ask(audiolm, trained_model, tmp_path)  # there are no recordings
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith("audiolm: sweep: audiolm train ")


@pytest.mark.slow
def test_a_layer_is_clustered_and_trained_on(
    audiolm, trained_model, training_corpus, corpus_folder, tmp_path
):
    others = corpus_folder(3, seconds=2.0)
    arguments = (
        *("sweep", training_corpus, "--validation", others, "--model", trained_model),
        *("--out", tmp_path / "out", "--layers", "1", "--clusters", "16", "--preset", "tiny"),
        *("--probes", training_corpus, "--json"),
    )
    answer = audiolm(*arguments)
    assert answer.code == 0, answer.err
    (found,) = answer.json["sweep"]
    assert found["bits"] > 0
    assert "bits_per_token.semantic_stage" in found["probes"]
    again = audiolm(*arguments)
    assert again.json == answer.json
