"""`--acoustic` and `--passes`: how coarse codes are made."""

import numpy as np
import pytest

from audiolm.audio.files import read
from audiolm.pretrained import load


@pytest.mark.parametrize("verb", ["continue", "resynthesize", "generate"])
def test_every_verb_that_makes_codes_makes_them_as_asked(
    audiolm, parallel_model, prompt, tmp_path, verb
):
    source = [] if verb == "generate" else [prompt]
    seconds = [] if verb == "resynthesize" else ["--seconds", 0.5]
    made = []
    for number, how in enumerate(
        ([], ["--acoustic", "parallel"], ["--acoustic", "parallel", "--passes", "1,1"])
    ):
        out = tmp_path / f"{number}.wav"
        answer = audiolm(verb, *source, "-o", out, *seconds, "--model", parallel_model, *how)
        assert (answer.code, answer.err) == (0, "")
        made.append(out.read_bytes())
    assert len(set(made)) == 3


def test_it_is_what_the_library_makes_at_the_coarse_temperature(
    audiolm, parallel_model, prompt, tmp_path
):
    out = tmp_path / "out.wav"
    arguments = ("--seconds", 0.5, "--model", parallel_model, "--temperature", "0.9,0,0.9")
    assert audiolm("continue", prompt, "-o", out, *arguments, "--acoustic", "parallel").code == 0
    lm = load(parallel_model)
    sampling = {
        kind: own.model_copy(update={"temperature": 0.0 if kind == "parallel" else 0.9})
        for kind, own in lm.sampling.items()
    }
    expected = lm.continuation(read(prompt), 0.5, acoustic="parallel", sampling=sampling)
    assert np.allclose(read(out).samples, expected.samples.clip(-1, 1), atol=1 / 32_000)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (["--acoustic", "serial"], "'serial' is not one of"),
        (["--acoustic", "parallel", "--passes", "16,x"], "'16,x' is not numbers like 16,1,1,1"),
        (["--acoustic", "parallel", "--passes", "16"], "passes: 16 is not 2 whole numbers"),
        (["--acoustic", "parallel", "--passes", "0,1"], "passes: 0,1 is not 2 whole numbers"),
        (["--passes", "2,1"], "ask for acoustic = parallel, or leave passes out"),
        (["--acoustic", "parallel", "--baseline", "acoustic-only"], "the baseline makes codes in"),
    ],
)
def test_what_cannot_be_is_refused(audiolm, parallel_model, prompt, tmp_path, how, says):
    out = tmp_path / "out.wav"
    answer = audiolm("continue", prompt, "-o", out, "--model", parallel_model, *how)
    assert answer.code == 2 and answer.out == ""
    assert says in answer.err and answer.err.startswith("audiolm: ")
    assert not out.exists()


def test_a_model_without_the_stage_says_what_to_train(audiolm, model, prompt, tmp_path):
    out = tmp_path / "out.wav"
    answer = audiolm("continue", prompt, "-o", out, "--model", model, "--acoustic", "parallel")
    assert answer.code == 2 and answer.err.count("\n") == 1
    assert "the model has no stage parallel" in answer.err
    assert "audiolm train FOLDER --out MODEL --only parallel" in answer.err
    assert not out.exists()
