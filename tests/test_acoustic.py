"""Coarse codes in parallel, or one after the other: what a call, a model and its folder say."""

import numpy as np
import pytest
import torch

import audiolm
from audiolm.errors import ConfigurationError, ModelFolderError
from audiolm.model_io.manifest import ModelInfo
from audiolm.stages import KINDS, Sampling
from tiny import noise, tiny_model

MODES = {
    "continuation": lambda lm, **how: lm.continuation(noise(1.0), 0.6, seed=1, **how),
    "acoustic_generation": lambda lm, **how: lm.acoustic_generation(noise(1.0), seed=1, **how),
    "unconditional": lambda lm, **how: lm.unconditional(0.6, seed=1, **how),
}


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=tuple(KINDS))


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_makes_codes_either_way(lm, mode):
    own, serial, parallel, quick = (
        MODES[mode](lm, **how).samples
        for how in (
            {},
            {"acoustic": "autoregressive"},
            {"acoustic": "parallel"},
            {"acoustic": "parallel", "passes": (1, 1)},
        )
    )
    assert np.array_equal(own, serial)
    assert not np.array_equal(parallel, serial) and not np.array_equal(quick, parallel)
    assert len(parallel) == len(serial)
    again = MODES[mode](lm, acoustic="parallel").samples
    assert np.array_equal(parallel, again)


def test_the_prompts_codes_stay_and_the_stages_share_what_is_said(lm):
    with torch.inference_mode():
        waveform = torch.from_numpy(noise(0.8).samples)[None]
        known, ids = lm.codec.encode(waveform), lm.semantic.encode(waveform)
        runs = [lm.pipeline(0, acoustic=how) for how in ("parallel", "autoregressive")]
        said = [run.semantic(ids, 0.4, 30) for run in runs]
        made = [run.coarse(said[0], known, 60) for run in runs]
    assert torch.equal(*said)
    for codes in made:
        assert codes.shape == (1, 2, 60) and torch.equal(codes[..., :40], known[:, :2])


def test_progress_is_told_under_the_stages_name(lm):
    told = []
    lm.unconditional(
        0.6, acoustic="parallel", progress=lambda stage, done, of: told.append((stage, done, of))
    )
    of_stage = [line for line in told if line[0] == "parallel"]
    assert of_stage[-1] == ("parallel", 60, 60)
    assert not any(stage == "coarse" for stage, _, _ in told)


def test_a_model_may_make_codes_in_parallel_unless_it_is_told_otherwise(lm, tmp_path):
    given = tiny_model(kinds=tuple(KINDS))
    given.info = ModelInfo(acoustic="parallel")
    given.save(tmp_path / "m", dtype="float32")
    loaded = audiolm.load(tmp_path / "m", device="cpu")
    assert loaded.info.acoustic == "parallel"
    own = loaded.unconditional(0.4)
    assert np.array_equal(own.samples, lm.unconditional(0.4, acoustic="parallel").samples)
    quick = loaded.unconditional(0.4, passes=(1, 1))
    assert not np.array_equal(quick.samples, own.samples)
    serial = loaded.unconditional(0.4, acoustic="autoregressive")
    assert np.array_equal(serial.samples, lm.unconditional(0.4).samples)


def test_guidance_is_asked_of_the_stage_that_is_used(lm):
    sampling = {"parallel": Sampling(guidance=2.0)}
    assert lm.unconditional(0.2, sampling=sampling).seconds == 0.2
    with pytest.raises(ConfigurationError, match="parallel stage: guidance is 2"):
        lm.unconditional(0.2, sampling=sampling, acoustic="parallel")


def test_the_best_of_several_is_made_in_parallel_as_well(lm):
    best = lm.continuation(noise(1.0), 0.4, acoustic="parallel", best_of=3)
    assert best.seconds == pytest.approx(1.4, abs=0.03)


def test_a_model_without_the_stage_says_what_to_train():
    lm = tiny_model()
    for call in (
        lambda: lm.pipeline(acoustic="parallel"),
        lambda: MODES["unconditional"](lm, acoustic="parallel"),
    ):
        with pytest.raises(ModelFolderError, match=r"no stage parallel .* --only parallel$"):
            call()
    lm = tiny_model(kinds=("semantic", "parallel"))
    with pytest.raises(ModelFolderError, match=r"no stage coarse .* --only coarse$"):
        lm.unconditional(0.2)
    assert lm.unconditional(0.2, acoustic="parallel").seconds == 0.2


def test_the_baseline_has_a_way_of_its_own(lm):
    for how in ({"acoustic": "parallel"}, {"passes": (1, 1)}):
        with pytest.raises(ConfigurationError, match="the baseline makes codes in its own way"):
            lm.continuation(noise(1.0), 0.2, baseline="acoustic-only", **how)


def test_a_stream_goes_frame_by_frame_even_where_the_models_own_way_is_parallel(lm):
    own = audiolm.AudioLM(lm.codec, lm.semantic, lm.stages, info=ModelInfo(acoustic="parallel"))
    prompt = noise(0.8)
    chunks = list(own.stream(prompt, 0.6, seed=2))
    expected = own.continuation(
        prompt, 0.6, seed=2, acoustic="autoregressive", continuation_only=True
    )
    streamed = np.concatenate([chunk.samples for chunk in chunks])
    assert np.allclose(streamed, expected.samples, atol=1e-4)
    other = own.continuation(prompt, 0.6, seed=2, continuation_only=True)
    assert not np.allclose(streamed, other.samples, atol=1e-4)


def test_a_model_in_the_making_does_without_the_stage_it_prefers():
    bare = tiny_model(kinds=("semantic", "coarse"))
    bare.info = ModelInfo(acoustic="parallel")
    plain = tiny_model(kinds=("semantic", "coarse")).unconditional(0.4)
    assert np.array_equal(bare.unconditional(0.4).samples, plain.samples)
