import numpy as np
import pytest
import torch

from audiolm.audio.waveform import Audio
from audiolm.errors import ConfigurationError
from audiolm.reranking import (
    VOICE_WEIGHT,
    best_draws,
    distance_from_prompt,
    heard_again,
    scores,
)
from audiolm.stages import Sampling
from tiny import COARSE, N, noise, tiny_model

PROMPT = 0.8
"""Seconds: 20 steps of 40 ms, 40 frames."""


@pytest.fixture(scope="module")
def lm():
    return tiny_model(kinds=("semantic", "coarse", "acoustic_only"))


def test_the_best_of_each_group_of_rows_is_taken():
    judged = torch.tensor([0.1, 0.3, 0.2, 0.5, 0.5, -1.0])
    assert best_draws(judged, 3).tolist() == [1, 3]
    assert best_draws(judged, 1).tolist() == [0, 1, 2, 3, 4, 5]
    assert best_draws(judged, 6).tolist() == [3]


@torch.no_grad()
def test_ids_are_heard_again_after_the_prompt_alone(lm):
    waveform = torch.from_numpy(noise(2.0).samples)[None]  # 50 steps
    ids = lm.semantic.encode(waveform)
    assert heard_again(lm.semantic, waveform, ids, 0).tolist() == [1.0]
    wrong = ids.clone()
    wrong[:, :30] = (wrong[:, :30] + 1) % lm.semantic.clusters
    assert heard_again(lm.semantic, waveform, wrong, 0).tolist() == pytest.approx([0.4])
    assert heard_again(lm.semantic, waveform, wrong, 30).tolist() == [1.0]
    assert heard_again(lm.semantic, waveform, wrong, 25).tolist() == pytest.approx([0.8])


@torch.no_grad()
def test_the_distance_is_that_of_means_in_deviations_of_the_prompt(lm):
    codes = torch.randint(N, (3, COARSE, 60), generator=torch.Generator().manual_seed(0))
    codes[0, :, 30:] = codes[0, :, :30]  # says the prompt's sounds again
    distance = distance_from_prompt(lm.codec, codes, 30)
    assert distance[0] == pytest.approx(0.0, abs=1e-5)
    embedded = lm.codec.embed(codes).numpy()
    for row in (1, 2):
        by_direction = [
            (embedded[row, 30:, d].mean() - embedded[row, :30, d].mean())
            / max(1e-3, embedded[row, :30, d].std())
            for d in range(embedded.shape[2])
        ]
        expected = float(np.sqrt(np.mean(np.square(by_direction))))
        assert float(distance[row]) == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_a_score_is_what_is_heard_less_the_distance(lm):
    waveform = torch.from_numpy(noise(2.0).samples)[None]
    ids, codes = lm.semantic.encode(waveform), lm.codec.encode(waveform)[:, :COARSE]
    heard = heard_again(lm.semantic, waveform, ids, 20)
    distance = distance_from_prompt(lm.codec, codes, 40)
    both = scores(lm.codec, lm.semantic, waveform, ids, codes, 40)
    assert torch.allclose(both, heard - VOICE_WEIGHT * distance)
    assert torch.allclose(scores(lm.codec, lm.semantic, waveform, None, codes, 40), both - heard)
    assert torch.equal(
        scores(lm.codec, lm.semantic, waveform, ids, codes, 0),
        heard_again(lm.semantic, waveform, ids, 0),
    )


def single_draws(lm, prompt, draws, seed, baseline=None):
    """What `best_of` chooses from: one prompt given several times is one batch, too."""
    return lm.continuation([prompt] * draws, 0.8, seed=seed, baseline=baseline)


@pytest.mark.parametrize("baseline", [None, "acoustic-only"])
def test_the_answer_is_one_of_the_draws_and_the_one_that_scores_best(lm, baseline):
    prompt, chosen = noise(PROMPT), set()
    for seed in range(4):
        best = lm.continuation(prompt, 0.8, seed=seed, best_of=3, baseline=baseline)
        draws = single_draws(lm, prompt, 3, seed, baseline)
        which = [n for n, one in enumerate(draws) if np.array_equal(one.samples, best.samples)]
        assert len(which) == 1
        chosen.add(which[0])
    assert len(chosen) > 1  # not always the first


def test_prompts_of_a_list_are_each_continued_by_their_own_best(lm):
    prompts = [noise(PROMPT), noise(PROMPT, seed=1), noise(1.2, seed=2)]
    answers = lm.continuation(prompts, 0.8, best_of=2)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer.seconds == pytest.approx(prompt.seconds + 0.8)
        known = round(prompt.seconds * 16000)
        rendered = lm.reconstruction(prompt, levels=COARSE).samples
        assert np.allclose(answer.samples[: known - 2000], rendered[: known - 2000], atol=0.1)


def test_acoustic_generation_and_unconditional_keep_the_draw_that_is_heard_best(lm):
    audio = noise(1.2)
    ids = lm.tokenize(audio).semantic[None]

    def share(made: Audio) -> float:
        again = lm.tokenize(made).semantic[None]
        return float((again == ids).float().mean())

    hot = {"coarse": Sampling(temperature=2.0)}
    one = [share(lm.acoustic_generation(audio, seed=s, sampling=hot)) for s in range(6)]
    best = [share(lm.acoustic_generation(audio, seed=s, sampling=hot, best_of=8)) for s in range(6)]
    assert np.mean(best) > np.mean(one)
    assert lm.unconditional(0.8, best_of=3).seconds == pytest.approx(0.8)


@pytest.mark.parametrize("best_of", [0, -1, 65, 1.5, True, None, "4", float("nan")])
def test_what_is_no_number_of_draws_is_refused(lm, best_of):
    for make in (
        lambda: lm.continuation(noise(1.0), 0.8, best_of=best_of),
        lambda: lm.acoustic_generation(noise(1.0), best_of=best_of),
        lambda: lm.unconditional(0.8, best_of=best_of),
    ):
        with pytest.raises(ConfigurationError, match=r"best_of: .*give 1 to 64"):
            make()
