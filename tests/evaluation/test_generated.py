"""Sound that a model makes for an evaluation is made once."""

import numpy as np
import pytest
from asking import ask

from audiolm.evaluation import generated as module
from audiolm.evaluation.generated import Generated, coarse_maker, levels_made, needed
from audiolm.evaluation.options import MakingConfig
from audiolm.evaluation.requirements import Skipped
from audiolm.model import AudioLM
from audiolm.model_io.manifest import ModelInfo
from tiny import COARSE, LEVELS, noise, tiny_model


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse", "fine", "acoustic_only"))


@pytest.fixture
def calls(lm, monkeypatch):
    """Every call of the model that makes sound."""
    made = []
    for name in ("continuation", "acoustic_generation"):
        original = getattr(lm, name)

        def spy(*args, original=original, name=name, **kwargs):
            made.append((name, args, kwargs))
            return original(*args, **kwargs)

        monkeypatch.setattr(lm, name, spy)
    return made


def near(a, b):
    """The same but for 16 bits on disk."""
    return a.sample_rate == b.sample_rate and np.allclose(
        a.samples, np.clip(b.samples, -1, 1), atol=1 / 32768
    )


def test_acoustic_generation_is_made_once(lm, calls, tmp_path):
    audio = noise(1.0)
    first = Generated(lm, tmp_path).acoustic_generation(audio, seed=3)
    again = Generated(lm, tmp_path).acoustic_generation(audio, seed=3)
    assert len(calls) == 1
    assert np.array_equal(first.samples, again.samples)
    assert near(first, lm.acoustic_generation(audio, seed=3))


def test_another_seed_model_or_recording_is_made_anew(lm, calls, tmp_path):
    generated = Generated(lm, tmp_path)
    a = generated.acoustic_generation(noise(1.0), seed=0)
    b = generated.acoustic_generation(noise(1.0), seed=1)
    generated.acoustic_generation(noise(1.0, seed=9), seed=0)
    assert len(calls) == 3
    assert not np.array_equal(a.samples, b.samples)
    other = tiny_model(seed=1)
    c = Generated(other, tmp_path).acoustic_generation(noise(1.0), seed=0)
    assert not np.array_equal(a.samples, c.samples)


def test_continuations_are_the_models_with_their_prompts(lm, tmp_path):
    prompts = [noise(0.8, seed=s) for s in range(3)]
    made = Generated(lm, tmp_path).continuations(prompts, 0.5, seed=4)
    wanted = lm.continuation(prompts, 0.5, seed=4)
    assert all(near(a, b) for a, b in zip(made, wanted, strict=True))
    assert all(audio.seconds == 1.3 for audio in made)


def test_the_baseline_is_kept_apart(lm, calls, tmp_path):
    generated = Generated(lm, tmp_path)
    (ours,) = generated.continuations([noise(0.8)], 0.5, seed=0)
    (baseline,) = generated.continuations([noise(0.8)], 0.5, 0, "acoustic-only")
    assert not np.array_equal(ours.samples, baseline.samples)
    assert near(baseline, lm.continuation(noise(0.8), 0.5, baseline="acoustic-only"))


def test_what_was_made_before_an_interruption_is_kept(lm, calls, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TOGETHER", 2)
    prompts = [noise(0.8, seed=s) for s in range(5)]
    shares = []
    generated = Generated(lm, tmp_path)
    whole = generated.continuations(prompts, 0.5, 0, progress=shares.append)
    assert shares == pytest.approx([0.4, 0.8, 1.0])
    assert len(calls) == 3
    sorted(tmp_path.glob("*.flac"))[0].unlink()  # as if stopped in the middle of one group
    again = generated.continuations(prompts, 0.5, 0)
    assert len(calls) == 4
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(whole, again, strict=True))


def test_levels_are_those_of_the_last_stage(lm):
    assert levels_made(lm) == LEVELS
    assert levels_made(tiny_model(kinds=("semantic", "coarse"))) == COARSE
    assert levels_made(tiny_model(kinds=())) == LEVELS
    few = AudioLM(lm.codec, lm.semantic, lm.stages, info=ModelInfo(levels=1))
    assert levels_made(few) == 1


def test_what_is_made_with_other_levels_is_made_anew(lm, tmp_path):
    prompts = [noise(1.0)]
    first = Generated(lm, tmp_path).continuations(prompts, 0.5, 0)
    few = AudioLM(lm.codec, lm.semantic, lm.stages, info=ModelInfo(levels=1))
    second = Generated(few, tmp_path).continuations(prompts, 0.5, 0)
    assert not np.array_equal(first[0].samples, second[0].samples)


def test_a_stage_that_is_lacking_is_named(lm):
    needed(lm, "semantic", "coarse")
    with pytest.raises(Skipped, match=r"no stage coarse.*--only coarse"):
        needed(tiny_model(kinds=("semantic",)), "semantic", "coarse")


def test_experiments_of_one_report_share(lm, calls, tmp_path):
    one, two = (ask(lm, tmp_path, tmp_path / "report" / name) for name in ("a", "b"))
    one.generated().acoustic_generation(noise(1.0), seed=0)
    two.generated().acoustic_generation(noise(1.0), seed=0)
    assert len(calls) == 1


def test_the_best_of_several_is_asked_for_and_kept_apart_from_single_draws(lm, calls, tmp_path):
    prompts = [noise(1.0), noise(1.0, seed=1)]
    single = Generated(lm, tmp_path).continuations(prompts, 0.5, 0)
    best = Generated(lm, tmp_path, best_of=4).continuations(prompts, 0.5, 0)
    expected = lm.continuation(prompts, 0.5, prompt_seconds=None, seed=0, best_of=4)
    for one, audio in zip(best, expected, strict=True):
        assert np.allclose(one.samples, audio.samples, atol=1e-4)
    assert not np.array_equal(single[0].samples, best[0].samples)


def test_a_piece_that_is_empty_or_cut_is_made_again(lm, calls, tmp_path):
    audio = noise(1.0)
    first = Generated(lm, tmp_path).acoustic_generation(audio, seed=3)
    (path,) = tmp_path.glob("*.flac")
    for content in (b"", path.read_bytes()[:100]):
        path.write_bytes(content)
        again = Generated(lm, tmp_path).acoustic_generation(audio, seed=3)
        assert np.array_equal(first.samples, again.samples)
    assert len(calls) == 3


def test_sound_that_is_made_another_way_is_made_anew_and_kept(tmp_path):
    lm = tiny_model(kinds=("semantic", "coarse", "parallel"))
    own = Generated(lm, tmp_path).acoustic_generation(noise(1.0), seed=0)
    made = [own]
    for how in ({"acoustic": "parallel"}, {"acoustic": "parallel", "passes": (1, 1)}):
        generated = Generated(lm, tmp_path, MakingConfig(**how))
        assert near(
            generated.acoustic_generation(noise(1.0), seed=0),
            lm.acoustic_generation(noise(1.0), seed=0, **how),
        )
        made.append(generated.acoustic_generation(noise(1.0), seed=0))
        one = generated.continuations([noise(1.0)], 0.5, seed=0)[0]
        assert near(one, lm.continuation(noise(1.0), 0.5, prompt_seconds=None, **how))
    assert len({sound.samples.tobytes() for sound in made}) == 3
    assert len(list(tmp_path.iterdir())) == 5
    serial = Generated(lm, tmp_path, MakingConfig(acoustic="autoregressive"))
    assert np.array_equal(serial.acoustic_generation(noise(1.0), seed=0).samples, own.samples)
    assert len(list(tmp_path.iterdir())) == 5  # the same sound, asked for by name
    assert coarse_maker(lm, MakingConfig(acoustic="parallel")) == "parallel"
    assert coarse_maker(lm, MakingConfig()) == "coarse"
    lm.info = ModelInfo(acoustic="parallel")
    assert coarse_maker(lm, MakingConfig()) == "parallel"
    own = Generated(lm, tmp_path).acoustic_generation(noise(1.0), seed=0)
    assert np.array_equal(own.samples, made[1].samples)


def test_the_baseline_is_made_in_its_own_way(tmp_path):
    lm = tiny_model(kinds=("semantic", "acoustic_only", "parallel"))
    asked = Generated(lm, tmp_path, MakingConfig(acoustic="parallel"))
    made = [
        one.continuations([noise(1.0)], 0.5, 0, "acoustic-only")[0]
        for one in (asked, Generated(lm, tmp_path))
    ]
    assert np.array_equal(made[0].samples, made[1].samples)
    assert len(list(tmp_path.iterdir())) == 1
