"""The modes of AudioLM, with a whole model of random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.audio.waveform import Audio
from audiolm.errors import AudioLMError, ConfigurationError, ModelFolderError
from audiolm.model import AudioLM
from audiolm.model_io.manifest import ModelInfo
from audiolm.prompt import PromptCutWarning
from audiolm.stages import Sampling
from audiolm.tokens import Tokens
from tiny import COARSE, LEVELS, N, noise, tiny_model

ALL_STAGES = ("semantic", "coarse", "fine", "acoustic_only")


@pytest.fixture(scope="module")
def lm() -> AudioLM:
    return tiny_model(kinds=ALL_STAGES)


@pytest.fixture
def spied(lm, monkeypatch):
    """What each stage is given and gives: a list of (kind, prefix, settings, result)."""
    calls = []
    for kind, stage in lm.stages.items():

        def generate(prefix, *, kind=kind, original=stage.generate, **arguments):
            result = original(prefix, **arguments)
            calls.append((kind, prefix, arguments, result))
            return result

        monkeypatch.setattr(stage, "generate", generate)
    return calls


def same(a: Audio, b: Audio) -> bool:
    return np.array_equal(a.samples, b.samples)


# ---- continuation: lengths and clocks ------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(prompt=st.integers(8_000, 20_000), seconds=st.floats(0.01, 0.8))
def test_a_continuation_lasts_prompt_and_seconds_to_the_sample(lm, prompt, seconds):
    out = lm.continuation(noise(prompt / 16_000), seconds)
    used = prompt - prompt % 640
    assert out.sample_rate == 16_000
    assert len(out.samples) == used + max(1, round(seconds * 16_000))


def test_lengths_are_the_models_own_unless_given(lm, monkeypatch):
    monkeypatch.setattr(lm, "info", ModelInfo(prompt_seconds=0.8, seconds=0.4))
    prompt = noise(2.0)
    with pytest.warns(PromptCutWarning, match=r"the last 0.8 s are used"):
        own = lm.continuation(prompt)
    assert own.seconds == 1.2
    with pytest.warns(PromptCutWarning, match=r"the last 1.2 s are used"):
        assert lm.continuation(prompt, 0.2, prompt_seconds=1.2).seconds == 1.4
    assert lm.continuation(prompt, prompt_seconds=None).seconds == 2.4
    with pytest.warns(PromptCutWarning, match=r"the last 0.8 s are used"):
        lm.stream(prompt, 0.2)
    assert (ModelInfo().prompt_seconds, ModelInfo().seconds) == (3.0, 7.0)  # of older folders


def test_a_continuation_goes_beyond_the_context_of_every_stage(lm):
    out = lm.continuation(noise(1.0), 8.0)
    assert out.seconds == 9.0
    assert np.isfinite(out.samples).all()


def test_continuation_only_leaves_the_prompt_out(lm):
    whole = lm.continuation(noise(1.0), 0.7)
    rest = lm.continuation(noise(1.0), 0.7, continuation_only=True)
    assert np.array_equal(rest.samples, whole.samples[16_000:])


# ---- continuation: what goes through the stages --------------------------------------------------


def test_the_stages_see_the_prompt_and_each_other(lm, spied):
    prompt = noise(1.0)
    tokens = lm.tokenize(prompt)
    out = lm.continuation(prompt, 1.0, mark=False)
    (k1, p1, a1, r1), (k2, p2, a2, r2), (k3, p3, _, r3) = spied
    assert (k1, k2, k3) == ("semantic", "coarse", "fine")
    # Stage 1: the ids of the prompt alone, and as many new ones as the data has in a second.
    assert torch.equal(p1.semantic[0], tokens.semantic)
    assert a1["steps"] == 18
    # Stage 2: the prompt's ids and the new ones on the 25 Hz clock, and its coarse codes.
    assert p2.semantic.shape == (1, 50)
    assert torch.equal(p2.semantic[0, :25], tokens.semantic)
    held = torch.unique_consecutive(p2.semantic[0, 25:])
    assert torch.equal(held, torch.unique_consecutive(r1.semantic[0, -18:]))
    assert torch.equal(p2.codes[0], tokens.acoustic[:COARSE])
    assert a2["steps"] == 50
    # Stage 3: all coarse codes, and the prompt's own fine codes.
    assert torch.equal(p3.codes[0, :, :50], tokens.acoustic)
    assert torch.equal(p3.codes[:, :COARSE], r2.codes)
    assert (p3.codes[0, COARSE:, 50:] < 0).all()
    # The waveform: one decoding of the prompt's codes and the new ones.
    assert r3.codes.shape == (1, LEVELS, 100)
    assert torch.equal(r3.codes[0, :, :50], tokens.acoustic)
    assert same(out, lm.decode(Tokens(p2.semantic[0], r3.codes[0])))


def test_repeats_are_drawn_where_the_layout_keeps_them(monkeypatch):
    lm = tiny_model(remove_repeats=False)
    original, steps = lm.stages["semantic"].generate, []
    monkeypatch.setattr(
        lm.stages["semantic"],
        "generate",
        lambda prefix, **a: (steps.append(a["steps"]), original(prefix, **a))[1],
    )
    assert lm.continuation(noise(1.0), 1.0).seconds == 2.0
    assert steps == [25]


@pytest.mark.parametrize(("conditioning", "look_ahead"), [("aligned", 2), ("both", 0)])
def test_every_kind_of_conditioning_goes_through_the_whole_chain(conditioning, look_ahead):
    settings = {"conditioning": conditioning, "look_ahead": look_ahead, "remove_repeats": False}
    lm = tiny_model(**settings)
    assert lm.continuation(noise(1.0), 2.51).seconds == 3.51
    assert lm.acoustic_generation(noise(0.33)).seconds == 0.33


def test_the_prompt_conditions_what_follows(lm):
    a, b = (lm.continuation(noise(1.0, seed=s), 1.0, continuation_only=True) for s in (1, 2))
    assert not np.allclose(a.samples[-4000:], b.samples[-4000:])


def test_the_acoustic_only_baseline_leaves_the_semantic_stage_out(lm, spied):
    out = lm.continuation(noise(1.0), 0.5, baseline="acoustic-only")
    assert [kind for kind, *_ in spied] == ["acoustic_only", "fine"]
    assert spied[0][1].semantic is None
    assert out.seconds == 1.5


def test_without_a_fine_stage_the_coarse_codes_are_decoded():
    lm = tiny_model(kinds=("semantic", "coarse"))
    out = lm.continuation(noise(1.0), 0.5)
    assert out.seconds == 1.5
    coarse = lm.reconstruction(noise(1.0), levels=COARSE).samples
    # The first half second: what follows cannot change it.
    assert np.allclose(out.samples[:8000], coarse[:8000], atol=1e-4)


@pytest.mark.parametrize("levels", [1, COARSE, COARSE + 1, LEVELS])
def test_as_many_levels_are_made_as_asked(lm, spied, levels):
    run = lm.pipeline(3, levels=levels)
    made = lm.continuation(noise(1.0), 0.5, seed=3, levels=levels, mark=False)
    kinds = [kind for kind, *_ in spied]
    assert kinds == ["semantic", "coarse"] + ["fine"] * (levels > COARSE)
    all_levels = [result for *_, result in spied][-1].codes  # (1, Q or Q', F)
    waveform = lm.codec.decode(all_levels[:, :levels])[0, : len(made.samples)]
    assert np.array_equal(made.samples, waveform.numpy())
    assert run.levels == levels


def test_a_model_may_make_fewer_levels_by_itself(lm, spied):
    own = AudioLM(lm.codec, lm.semantic, lm.stages, info=ModelInfo(levels=COARSE))
    assert (lm.levels, own.levels) == (LEVELS, COARSE)
    boastful = AudioLM(lm.codec, lm.semantic, lm.stages, info=ModelInfo(levels=99))
    assert boastful.levels == LEVELS
    few = own.continuation(noise(1.0), 0.5)
    assert [kind for kind, *_ in spied] == ["semantic", "coarse"]
    assert same(few, lm.continuation(noise(1.0), 0.5, levels=COARSE))
    assert same(own.continuation(noise(1.0), 0.5, levels=LEVELS), lm.continuation(noise(1.0), 0.5))
    audio = noise(1.0)
    assert same(own.acoustic_generation(audio), lm.acoustic_generation(audio, levels=COARSE))
    assert same(own.unconditional(0.5), lm.unconditional(0.5, levels=COARSE))


def test_sampling_settings_reach_the_stages(lm, spied):
    lm.continuation(noise(1.0), 0.5, sampling={"coarse": Sampling(temperature=0.3, top_k=5)})
    used = {kind: arguments["sampling"] for kind, _, arguments, _ in spied}
    assert used["semantic"] == Sampling(temperature=0.6)
    assert used["coarse"] == Sampling(temperature=0.3, top_k=5)
    assert used["fine"] == Sampling(temperature=0.6)


def test_a_model_may_bring_sampling_settings_of_its_own(lm):
    info = ModelInfo(
        sampling={"semantic": {"temperature": 0.9, "top_p": 0.95}, "fine": {"top_k": 3}}
    )
    own = AudioLM(lm.codec, lm.semantic, lm.stages, info=info)
    assert own.sampling["semantic"] == Sampling(temperature=0.9, top_p=0.95)
    assert own.sampling["coarse"] == Sampling(temperature=0.8)
    assert own.sampling["fine"] == Sampling(temperature=0.6, top_k=3)  # the rest as in the paper


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.3])
def test_progress_grows_to_the_end_of_every_stage(lm, seconds):
    heard = {}
    lm.continuation(
        noise(0.8), seconds, progress=lambda kind, *step: heard.setdefault(kind, []).append(step)
    )
    assert list(heard) == ["semantic", "coarse", "fine"]
    for steps in heard.values():
        done = [step[0] for step in steps]
        assert done == sorted(done)
        assert len(steps) > 5
        assert {of for _, of in steps} == {done[-1]}


# ---- seeds and lists -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["continuation", "acoustic_generation", "unconditional"])
def test_one_seed_gives_one_result(lm, mode):
    first = noise(1.0) if mode != "unconditional" else 1.0
    make = getattr(lm, mode)
    torch.manual_seed(1)
    a = make(first, seed=7)
    torch.manual_seed(2)
    assert same(a, make(first, seed=7))
    assert not same(a, make(first, seed=8))


def test_generation_leaves_the_global_generator_alone(lm):
    before = torch.get_rng_state()
    lm.continuation(noise(1.0), 0.5)
    lm.unconditional(0.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_list_of_prompts_gives_a_list_in_order(lm):
    prompts = [noise(1.0, seed=1), noise(0.8, seed=2), noise(1.0, seed=3)]
    outs = lm.continuation(prompts, 0.5)
    assert [out.seconds for out in outs] == [1.5, 1.3, 1.5]
    for prompt, out in zip(prompts, outs, strict=True):
        begins = lm.reconstruction(prompt).samples
        assert np.allclose(out.samples[:8000], begins[:8000], atol=1e-4)


def test_a_list_of_one_equals_the_prompt_alone(lm):
    (out,) = lm.continuation([noise(1.0)], 0.5)
    assert same(out, lm.continuation(noise(1.0), 0.5))
    assert lm.continuation([], 0.5) == []


# ---- the other modes -----------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [100, 16_000, 17_777, 80_000])
def test_acoustic_generation_keeps_content_and_length(lm, spied, samples):
    audio = noise(samples / 16_000)
    out = lm.acoustic_generation(audio)
    assert len(out.samples) == samples
    kind, prefix, _, _ = spied[0]
    assert kind == "coarse"
    assert torch.equal(prefix.semantic[0], lm.tokenize(audio).semantic)
    assert prefix.codes.shape == (1, COARSE, 0)


@pytest.mark.parametrize("seconds", [0.01, 1.0, 1.2345, 6.0])
def test_unconditional_generation_lasts_as_asked(lm, seconds):
    assert len(lm.unconditional(seconds).samples) == round(seconds * 16_000)


@pytest.mark.parametrize("levels", [None, 1, LEVELS])
def test_reconstruction_is_the_codec_alone(lm, levels):
    audio = noise(1.01)
    waveform = torch.from_numpy(audio.samples)[None]
    with torch.inference_mode():
        expected = lm.codec.decode(lm.codec.encode(waveform, levels))[0, :16_160]
    assert np.array_equal(lm.reconstruction(audio, levels).samples, expected.numpy())


def test_tokens_have_their_shapes_and_decode(lm):
    audio = noise(1.01)
    tokens = lm.tokenize(audio)
    assert tokens.semantic.shape == (26,)
    assert tokens.acoustic.shape == (LEVELS, 51)
    assert tokens.semantic.dtype == tokens.acoustic.dtype == torch.int64
    assert np.array_equal(lm.decode(tokens).samples[:16_160], lm.reconstruction(audio).samples)


def test_tokens_of_another_codec_are_refused(lm):
    tokens = lm.tokenize(noise(0.5))
    for wrong in (tokens.acoustic + N, tokens.acoustic[0], tokens.acoustic[:, :0]):
        with pytest.raises(ConfigurationError, match=r"tokens\.acoustic"):
            lm.decode(replace(tokens, acoustic=wrong))


# ---- what is refused -----------------------------------------------------------------------------


def test_unknown_settings_are_refused(lm):
    with pytest.raises(ConfigurationError, match="acoustic-only"):
        lm.continuation(noise(1.0), 1.0, baseline="none")
    with pytest.raises(ConfigurationError, match="no stage crude"):
        lm.continuation(noise(1.0), 1.0, sampling={"crude": Sampling()})
    with pytest.raises(ConfigurationError, match="give 1 to 4"):
        lm.reconstruction(noise(1.0), levels=5)
    with pytest.raises(ConfigurationError, match="levels: 0 asked of a codec with 4; give 1 to 4"):
        lm.continuation(noise(1.0), 0.5, levels=0)
    with pytest.raises(ConfigurationError, match="abacus is not known"):
        lm.to("abacus")


def test_a_missing_stage_is_named():
    lm = tiny_model(kinds=("semantic", "coarse"))
    with pytest.raises(ModelFolderError, match=r"no stage acoustic_only.*has: semantic, coarse"):
        lm.continuation(noise(1.0), 0.5, baseline="acoustic-only")


def test_stages_of_another_model_are_refused_with_both_fingerprints(lm):
    other = tiny_model(seed=1)
    with pytest.raises(ModelFolderError) as error:
        AudioLM(other.codec, lm.semantic, lm.stages)
    assert lm.codec.fingerprint() in str(error.value)
    assert other.codec.fingerprint() in str(error.value)
    with pytest.raises(ModelFolderError) as error:
        AudioLM(lm.codec, other.semantic, lm.stages)
    assert lm.semantic.fingerprint() in str(error.value)
    assert other.semantic.fingerprint() in str(error.value)


def test_stages_that_do_not_fit_together_are_refused(lm):
    crossed = {"coarse": lm.stages["fine"]}
    with pytest.raises(ModelFolderError, match="is a stage of kind fine"):
        AudioLM(lm.codec, lm.semantic, crossed)
    split = {"coarse": lm.stages["coarse"], "fine": tiny_model(coarse_levels=3).stages["fine"]}
    with pytest.raises(ModelFolderError, match=r"makes 2 coarse levels.*goes on from 3"):
        AudioLM(lm.codec, lm.semantic, split)


# ---- the model as a whole ------------------------------------------------------------------------


def test_the_fingerprint_is_that_of_all_parts(lm):
    assert lm.fingerprint == tiny_model(kinds=ALL_STAGES).fingerprint
    assert lm.fingerprint != tiny_model().fingerprint
    assert lm.fingerprint != tiny_model(seed=1, kinds=ALL_STAGES).fingerprint


def test_parts_are_in_evaluation_mode_and_no_gradients_are_kept(lm):
    assert not any(part.training for part in lm.parts.values())
    out = lm.pipeline().coarse(
        lm.tokenize(noise(0.5)).semantic[None], torch.empty(1, LEVELS, 0, dtype=torch.long), 4
    )
    assert not out.requires_grad


def test_every_error_is_one_line(lm):
    for call in (
        lambda: lm.continuation(noise(0.1)),
        lambda: lm.unconditional(-1),
        lambda: lm.reconstruction(noise(1.0), 9),
    ):
        with pytest.raises(AudioLMError) as error:
            call()
        assert "\n" not in str(error.value)
