"""The step that makes a detector: examples, resuming, and a detector that has learnt something."""

import json

import numpy as np
import pytest
import soundfile
import torch

from audiolm.cli.main import main
from audiolm.errors import TrainingError
from audiolm.model_io.folder import load_part
from audiolm.model_io.manifest import read_manifest
from audiolm.safety.detector import hidden
from audiolm.training import examples
from audiolm.training import examples as module
from audiolm.training.examples import KINDS, Examples, ExamplesConfig, drawn_way, make_examples
from tiny import LEVELS, noise, tiny_model

CONFIG = ExamplesConfig(
    continuations=4, prompt_seconds=0.64, seconds=1.0, together=2, copies=1, baseline_share=0.5
)


@pytest.fixture
def lm():
    return tiny_model(kinds=("semantic", "coarse", "fine", "acoustic_only", "parallel"))


@pytest.fixture
def store(recordings):
    return recordings[0].store


def test_shards_hold_continuations_and_what_stands_beside_them(lm, store, tmp_path) -> None:
    make_examples(lm, store, tmp_path, CONFIG, 3, seed=1)
    assert len(list(tmp_path.glob("shard-*"))) == 2  # of two prompts and of one
    found = Examples(tmp_path)
    counts = {kind: len(of) for kind, of in found.of_kind.items()}
    assert counts == {"raw": 3, "codec": 6, "made": 3}
    assert found.lengths.shape == (2, 12)
    for index in found.of_kind["made"]:
        assert found.lengths[0, index] == 16_000
    assert not np.array_equal(found.whole(0, 0), found.whole(0, 1))  # under a condition
    speakers = {hidden(recording.speaker) for recording in store.recordings}
    assert set(found.speakers) <= speakers


def test_the_original_stands_where_its_continuation_does(lm, store, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(examples, "MARKED_SHARE", 0.0)
    make_examples(lm, store, tmp_path, CONFIG, 2, seed=1)
    found = Examples(tmp_path)
    raw, coded = found.of_kind["raw"][0], found.of_kind["codec"][0]
    piece = found.whole(int(raw), 0)
    starts = []
    for index in range(len(store)):
        whole = store.crop(index, 0, store.length(index))
        if len(whole) < len(piece):
            continue
        windows = np.lib.stride_tricks.sliding_window_view(whole, len(piece))
        for place in np.flatnonzero(np.abs(windows[:, :20] - piece[:20]).max(axis=1) < 1e-4):
            if np.abs(windows[place] - piece).max() < 1e-4:
                starts.append((index, int(place)))
    ((index, start),) = starts
    prompt = round(0.64 * 16_000)
    assert start >= prompt  # there is a prompt before it
    before = store.crop(index, start - prompt, prompt + len(piece))
    levels = lm.codec.encode(torch.from_numpy(before)[None])
    wanted = lm.codec.decode(levels)[0, prompt : prompt + len(piece)].detach().numpy()
    assert np.abs(found.whole(int(coded), 0) - wanted).max() < 1e-3


def test_what_was_interrupted_goes_on_and_is_the_same(lm, store, tmp_path) -> None:
    make_examples(lm, store, tmp_path / "whole", CONFIG, 4, seed=3)
    make_examples(lm, store, tmp_path / "parts", CONFIG, 4, seed=3)
    first, second = sorted((tmp_path / "parts").iterdir())
    second.unlink()
    kept = first.stat().st_mtime_ns
    make_examples(lm, store, tmp_path / "parts", CONFIG, 4, seed=3)
    assert first.stat().st_mtime_ns == kept
    whole, parts = Examples(tmp_path / "whole"), Examples(tmp_path / "parts")
    assert all(np.array_equal(whole.whole(i, 0), parts.whole(i, 0)) for i in range(len(whole)))


def test_ways_differ_from_batch_to_batch(lm) -> None:
    ways = [drawn_way(lm, CONFIG, np.random.default_rng(n)) for n in range(40)]
    assert {way.acoustic for way in ways} == {None, "autoregressive", "parallel"}
    assert {way.baseline for way in ways} == {True, False}
    assert {way.best_of for way in ways} == {1, 4}
    own = lm.sampling["coarse"].temperature
    factors = [way.sampling["coarse"].temperature / own for way in ways]
    assert 0.79 < min(factors) < 0.9 and 1.1 < max(factors) < 1.26
    plain = tiny_model(kinds=("semantic", "coarse"))
    assert {drawn_way(plain, CONFIG, np.random.default_rng(n)).acoustic for n in range(9)} == {
        "autoregressive"
    }


def test_recordings_that_are_too_short_are_told(lm, store, tmp_path) -> None:
    config = CONFIG.model_copy(update={"prompt_seconds": 60.0})
    with pytest.raises(TrainingError, match=r"examples\.prompt_seconds: no recording lasts 61 s"):
        make_examples(lm, store, tmp_path, config, 2, seed=0)


def test_train_only_detector_from_a_model(trained_model, training_corpus, tmp_path, capsys) -> None:
    out = tmp_path / "model"
    arguments = ["train", str(training_corpus), "--out", str(out), "--preset", "tiny", "--quiet"]
    arguments += ["--only", "detector", "--from", str(trained_model)]
    assert main(arguments) == 0, capsys.readouterr().err
    log = [json.loads(line) for line in (out / "training/detector/log.jsonl").open()]
    losses = [line["loss"] for line in log if line["kind"] == "validation"]
    assert losses[-1] < losses[0]
    manifest = read_manifest(out)
    assert {"codec", "semantic", "stage_coarse", "stage_parallel", "detector"} <= set(
        manifest.parts
    )
    assert (out / "detector.safetensors").stat().st_size < 3_000_000
    detector = load_part(out, "detector")
    assert detector.config.model == read_manifest(trained_model).name
    assert [one.seconds for one in detector.config.made] == [1.0, 2.0]
    assert set(detector.config.speakers) == {hidden(str(100 + n)) for n in range(5)}

    path = tmp_path / "some.wav"
    soundfile.write(path, noise(3.0).samples, 16_000)
    capsys.readouterr()
    made = (out / "training/detector/done.json").read_text()
    assert main(arguments) == 0  # done already
    assert (out / "training/detector/done.json").read_text() == made


def test_a_model_without_stages_is_told(training_corpus, tmp_path, capsys) -> None:
    out = tmp_path / "model"
    arguments = ["train", str(training_corpus), "--out", str(out), "--preset", "tiny", "--quiet"]
    assert main([*arguments, "--only", "detector"]) == 2
    assert "there is no codec in it yet" in capsys.readouterr().err


def test_kinds_are_stored_in_an_order_that_stays() -> None:
    assert KINDS == ("raw", "codec", "made")
    assert module.SHORTEST == 1.0
    assert LEVELS == 4


def test_marks_are_on_sounds_of_every_kind_alike(lm, store, tmp_path, monkeypatch) -> None:
    marked = []

    def note(samples, payload):
        marked.append(payload)
        return 0 * samples

    monkeypatch.setattr(examples, "mark", note)
    make_examples(lm, store, tmp_path, CONFIG, 12, seed=1)
    found = Examples(tmp_path)
    silent = np.array([not found.whole(index, 0).any() for index in range(len(found))])
    assert silent.sum() == len(marked)
    assert all(payload.fingerprint == lm.fingerprint[:3] for payload in marked)
    for kind, of in found.of_kind.items():
        assert 0 < silent[of].mean() < 1, kind
