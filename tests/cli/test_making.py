"""The verbs that make recordings: continue, resynthesize, generate, reconstruct."""

import json
import shutil

import numpy as np
import pytest

from audiolm.audio.files import read
from audiolm.pretrained import load
from tiny import noise


def test_continue(audiolm, model, prompt, tmp_path):
    out = tmp_path / "out.wav"
    answer = audiolm("continue", prompt, "-o", out, "--seconds", 0.5, "--model", model, "--seed", 3)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{out}: 1.50 s, seed 3, took")
    expected = load(model).continuation(read(prompt), 0.5, seed=3).samples.clip(-1, 1)
    assert np.allclose(read(out).samples, expected, atol=1 / 32_000)


def test_continuation_only_and_flac(audiolm, model, prompt, tmp_path):
    out = tmp_path / "out.flac"
    arguments = ("--seconds", 0.5, "--continuation-only", "--model", model)
    assert audiolm("continue", prompt, "-o", out, *arguments).code == 0
    assert out.read_bytes()[:4] == b"fLaC"
    assert len(read(out).samples) == 8000


def test_a_long_prompt_is_cut_and_it_is_said_unless_quiet(audiolm, model, tmp_path):
    noise(2.0).write(tmp_path / "long.wav")
    arguments = ["continue", tmp_path / "long.wav", "-o", tmp_path / "out.wav", "--model", model]
    arguments += ["--seconds", 0.3, "--prompt-seconds", 1]
    answer = audiolm(*arguments)
    assert answer.code == 0
    assert answer.err.startswith(
        "audiolm: warning: prompt: 2.00 s long, of which the last 1 s are used"
    )
    assert answer.err.count("\n") == 1
    assert len(read(tmp_path / "out.wav").samples) == 1.3 * 16_000
    quiet = audiolm(*arguments, "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_lengths_are_the_models_own_unless_given(audiolm, model, tmp_path):
    own = shutil.copytree(model, tmp_path / "own")
    manifest = json.loads((own / "model.json").read_text())
    assert (manifest["prompt_seconds"], manifest["seconds"]) == (3.0, 7.0)
    lengths = {"prompt_seconds": 0.8, "seconds": 0.3}
    (own / "model.json").write_text(json.dumps(manifest | lengths))
    noise(2.0).write(tmp_path / "long.wav")
    common = ("continue", tmp_path / "long.wav", "-o", tmp_path / "out.wav", "--model", own)
    answer = audiolm(*common)
    assert answer.code == 0
    assert "2.00 s long, of which the last 0.8 s are used" in answer.err
    assert read(tmp_path / "out.wav").seconds == 1.1
    audiolm(*common, "--prompt-seconds", 1.2, "--seconds", 0.2)
    assert read(tmp_path / "out.wav").seconds == 1.4


def test_samples_are_numbered_and_each_can_be_made_alone(audiolm, model, prompt, tmp_path):
    common = ("continue", prompt, "--seconds", 0.3, "--model", model)
    answer = audiolm(*common, "-o", tmp_path / "out.wav", "--samples", 3, "--seed", 5, "--json")
    assert answer.code == 0
    names = [str(tmp_path / f"out-{n}.wav") for n in (1, 2, 3)]
    assert [(made["file"], made["seed"]) for made in answer.json["outputs"]] == list(
        zip(names, (5, 6, 7), strict=True)
    )
    assert not (tmp_path / "out.wav").exists()
    audiolm(*common, "-o", tmp_path / "second.wav", "--seed", 6)
    # Not byte for byte: a file says when it was made.
    files = [read(tmp_path / name).samples.tobytes() for name in (*names, "second.wav")]
    assert files[1] == files[3]
    assert len(set(files)) == 3


def test_json_is_one_object_and_nothing_else(audiolm, model, prompt, tmp_path):
    answer = audiolm(
        "continue", prompt, "-o", tmp_path / "o.wav", "--seconds", 0.3, "--model", model, "--json"
    )
    assert answer.code == 0
    assert answer.out.lstrip().startswith("{")
    report = answer.json
    assert report["model"] == "tiny"
    assert report["fingerprint"] == load(model).fingerprint
    assert report["outputs"][0]["seconds"] == pytest.approx(1.3)


def test_best_of_keeps_what_the_model_keeps(audiolm, model, prompt, tmp_path):
    out, lm, recording = tmp_path / "out.wav", load(model), read(prompt)
    common = ("-o", out, "--model", model, "--best-of", 3, "--seed", 2)
    for arguments, expected in (
        (
            ("continue", prompt, "--seconds", 0.5),
            lm.continuation(recording, 0.5, seed=2, best_of=3),
        ),
        (("resynthesize", prompt), lm.acoustic_generation(recording, seed=2, best_of=3)),
        (("generate", "--seconds", 0.5), lm.unconditional(0.5, seed=2, best_of=3)),
    ):
        assert audiolm(*arguments, *common).code == 0
        assert np.allclose(read(out).samples, expected.samples.clip(-1, 1), atol=1 / 32_000)


def test_sampling_options_replace_the_models_own(audiolm, model, prompt, tmp_path):
    common = ("continue", prompt, "--seconds", 0.5, "--model", model, "-o")
    audiolm(*common, tmp_path / "plain.wav")
    audiolm(*common, tmp_path / "same.wav", "--temperature", "0.6,0.8,0.6")
    audiolm(*common, tmp_path / "hot.wav", "--temperature", "2,2,2")
    audiolm(*common, tmp_path / "one.wav", "--top-k", 1, "--seed", 1)
    audiolm(*common, tmp_path / "two.wav", "--top-k", 1, "--seed", 2)
    plain, equal, hot, one, two = (
        read(tmp_path / f"{name}.wav").samples.tobytes()
        for name in ("plain", "same", "hot", "one", "two")
    )
    assert plain == equal != hot
    assert one == two != plain


def test_the_baseline(audiolm, model, prompt, tmp_path):
    common = ("continue", prompt, "--seconds", 0.5, "--model", model, "-o")
    assert audiolm(*common, tmp_path / "a.wav", "--baseline", "acoustic-only").code == 0
    audiolm(*common, tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() != (tmp_path / "b.wav").read_bytes()


def test_resynthesize(audiolm, model, prompt, tmp_path):
    answer = audiolm("resynthesize", prompt, "-o", tmp_path / "out.wav", "--model", model)
    assert answer.code == 0
    expected = load(model).acoustic_generation(read(prompt)).samples.clip(-1, 1)
    assert np.allclose(read(tmp_path / "out.wav").samples, expected, atol=1 / 32_000)


def test_generate(audiolm, model, tmp_path):
    answer = audiolm("generate", "-o", tmp_path / "out.wav", "--seconds", 0.7, "--model", model)
    assert answer.code == 0
    expected = load(model).unconditional(0.7).samples.clip(-1, 1)
    assert np.allclose(read(tmp_path / "out.wav").samples, expected, atol=1 / 32_000)


def test_reconstruct(audiolm, model, prompt, tmp_path):
    common = ("reconstruct", prompt, "--model", model, "-o")
    assert audiolm(*common, tmp_path / "all.wav").code == 0
    assert audiolm(*common, tmp_path / "one.wav", "--levels", 1).code == 0
    for name, levels in (("all", None), ("one", 1)):
        expected = load(model).reconstruction(read(prompt), levels).samples.clip(-1, 1)
        assert np.allclose(read(tmp_path / f"{name}.wav").samples, expected, atol=1 / 32_000)
