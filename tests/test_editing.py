"""A gap in a recording, said anew: what stays, what is made, and what is refused."""

import re

import numpy as np
import pytest
import torch

from audiolm.audio.waveform import Audio
from audiolm.editing import (
    FADE_SECONDS,
    checked_gap,
    far_side_likelihood,
    joined,
    side_gain,
)
from audiolm.errors import AudioError, ConfigurationError, ModelFolderError
from audiolm.model import AudioLM
from audiolm.stages import Sampling, Streams, stretch
from tiny import noise, tiny_model, tiny_stage

GREEDY = {kind: Sampling(temperature=0) for kind in ("semantic", "parallel", "fine")}


@pytest.fixture(scope="module")
def lm():
    """A model that can edit, its repeats kept, as the bundled presets have it."""
    return editing_model(remove_repeats=False)


def editing_model(kinds=("parallel", "fine"), **layout):
    base = tiny_model(kinds=kinds)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        stage = tiny_stage("semantic", base.codec, base.semantic, fill_in_the_middle=True, **layout)
    return AudioLM(base.codec, base.semantic, {"semantic": stage.rounded(), **base.stages})


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        (0.8, 1.1, None),
        (0.8, 1.1, 0.173),
        (0.8003, 1.1117, 0.6),
        (0.0, 0.3, None),
        (1.7, 2.2, 0.31),
        (0.01, 0.2, None),
        (1.9, 2.19, 0.4),
    ],
)
def test_outside_the_gap_and_its_fades_every_sample_is_the_recordings(
    lm, rate, start, end, seconds
):
    audio = noise(2.2, sample_rate=rate)
    out = lm.edit(audio, start, end, seconds, best_of=2)
    first, last = round(start * rate), round(end * rate)
    length = last - first if seconds is None else round(seconds * rate)
    fade = round(FADE_SECONDS * rate)
    assert out.sample_rate == rate
    assert len(out.samples) == len(audio.samples) + length - (last - first)
    before, after = max(0, first - fade), last + fade
    assert np.array_equal(out.samples[:before], audio.samples[:before])
    rest = len(audio.samples) - after
    if rest > 0:
        assert np.array_equal(out.samples[-rest:], audio.samples[after:])
    inside = out.samples[first : first + length]
    assert np.abs(inside).max() > 1e-3
    assert not np.array_equal(inside[:100], audio.samples[first : first + 100])


def test_it_is_joined_without_a_step_and_the_made_piece_is_the_decoders(lm):
    audio = Audio(np.linspace(-0.5, 0.5, 32_000, dtype=np.float32), 16_000)
    gap = checked_gap(audio, 0.5, 1.0, 0.25)
    made = np.full(gap.fade_in + gap.length + gap.fade_out, 0.75, np.float32)
    out = joined(audio, made, gap).samples
    assert len(out) == 32_000 - 4000
    assert np.array_equal(out[8000:12_000], made[400:4400])
    assert np.array_equal(out[:7600], audio.samples[:7600])
    assert np.array_equal(out[12_400:], audio.samples[16_400:])
    assert np.abs(np.diff(out)).max() < 0.02  # the two differ by 1 and more
    assert (made == 0.75).all()


def test_it_is_as_loud_as_both_sides_ask():
    heard = noise(1.0).samples
    rendered, unknown = 0.7 * heard, slice(4000, 8000)
    rendered[unknown] = 5.0  # of no account
    assert side_gain(heard, rendered, unknown) == pytest.approx(1 / 0.7, rel=1e-4)
    assert side_gain(heard, heard, unknown) == 1
    assert side_gain(heard, 9 * heard, unknown) == 0.5
    assert side_gain(heard, 0.1 * heard, unknown) == 2
    assert side_gain(0 * heard, heard, unknown) == side_gain(heard, 0 * heard, unknown) == 1


def test_nothing_of_the_gap_is_heard_unless_its_content_is_kept(lm):
    one, other = noise(2.2, seed=0), noise(2.2, seed=0)
    other.samples[12_800:17_600] = noise(0.3, seed=5).samples
    ends = (0.8, 1.1)
    assert np.array_equal(lm.edit(one, *ends).samples, lm.edit(other, *ends).samples)
    kept = [lm.edit(audio, *ends, keep_content=True, sampling=GREEDY) for audio in (one, other)]
    assert not np.array_equal(kept[0].samples, kept[1].samples)


def test_the_far_side_is_heard(lm):
    one, other = noise(2.2, seed=0), noise(2.2, seed=0)
    other.samples[20_000:] = noise(2.2, seed=5).samples[20_000:]
    made = [lm.edit(audio, 0.8, 1.1, sampling=GREEDY).samples for audio in (one, other)]
    assert not np.array_equal(made[0][12_800:17_600], made[1][12_800:17_600])


def test_what_the_stages_are_given_is_known_outside_the_gap(lm, monkeypatch):
    given = {}
    for kind in ("semantic", "parallel", "fine"):
        stage = lm.stages[kind]
        own = stage.generate

        def spy(streams, *, kind=kind, own=own, **settings):
            given[kind] = (streams, settings["steps"], out := own(streams, **settings))
            return out

        monkeypatch.setattr(stage, "generate", spy)
    audio = noise(2.2)
    lm.edit(audio, 0.8, 1.1, 0.4, best_of=1)  # whole steps on both sides: 20, then 10 and 28 of 28
    streams, steps, made = given["semantic"]
    assert steps == 10
    # The parallel stage sees two seconds: one, 25 steps, of each side. What is next to the gap
    # hears silence there, as at a recording's end.
    assert streams.semantic.shape == (1, 20) and streams.far.shape == (1, 25)
    codes, _, _ = given["parallel"]
    masked = (codes.codes == -2).all(1)[0]
    assert masked.nonzero().squeeze(1).tolist() == list(range(40, 60))
    assert torch.equal(codes.semantic[:, 20:30], made.semantic)
    alone = audio.first(0.8)
    known = lm.tokenize(alone)
    assert torch.equal(codes.codes[0, :, :38], known.acoustic[:2, :38])
    fine, _, out = given["fine"]
    assert torch.equal((fine.codes == -2)[0, 2:].all(0), masked)
    assert (out.codes >= 0).all()


@pytest.mark.parametrize("remove_repeats", [False, True])
def test_the_draw_that_leads_to_the_far_side_is_kept(remove_repeats):
    lm = editing_model(remove_repeats=remove_repeats)
    stage = lm.stages["semantic"]
    generator = torch.Generator().manual_seed(0)
    near, middle, far = (torch.randint(16, (5, n), generator=generator) for n in (6, 4, 7))
    if not remove_repeats:
        whole = torch.cat([near, middle, far], dim=1)
        judged = stage.log_likelihood(Streams(whole))
        expected = judged.per_token[:, 10:17].sum(1)  # position i tells of token i + 1
        assert torch.allclose(far_side_likelihood(stage, near, middle, far), expected, atol=1e-3)
    seen = []
    own = stage.generate

    def spy(streams, **settings):
        seen.append((streams, own(streams, **settings)))
        return seen[-1][1]

    stage.generate = spy
    parallel = lm.stages["parallel"]
    given = []
    filled = parallel.generate

    def spy_on_parallel(streams, **settings):
        given.append(streams)
        return filled(streams, **settings)

    parallel.generate = spy_on_parallel
    lm.edit(noise(2.2), 0.8, 1.12, best_of=6, sampling={"semantic": Sampling(temperature=2.0)})
    streams, made = seen[0]
    said = stretch(made.semantic, 8)
    assert len({tuple(row) for row in said.tolist()}) > 1
    judged = far_side_likelihood(stage, streams.semantic, said, streams.far)
    assert torch.equal(given[0].semantic[0, 20:28], said[judged.argmax()])


def test_one_seed_gives_one_result(lm):
    audio = noise(2.2)
    one, same, other = (lm.edit(audio, 0.8, 1.3, seed=seed).samples for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_gap_at_the_end_needs_no_stage_that_fills_the_middle():
    lm = tiny_model(kinds=("semantic", "parallel"))
    audio = noise(2.0)
    assert lm.edit(audio, 1.5, 2.0, 0.7).seconds == 2.2
    with pytest.raises(ModelFolderError, match=r"has not learnt to fill.*--only semantic"):
        lm.edit(audio, 1.0, 1.5)
    assert lm.edit(audio, 1.0, 1.5, keep_content=True).seconds == 2.0


def test_what_is_missing_is_named_with_what_to_train(lm):
    audio = noise(2.0)
    with pytest.raises(
        ModelFolderError, match=r"no stage parallel.*--only semantic,parallel --set"
    ):
        tiny_model(kinds=("semantic",)).edit(audio, 1.0, 1.5)
    with pytest.raises(ModelFolderError, match=r"no stage parallel.*--only parallel$"):
        tiny_model(kinds=("semantic",)).edit(audio, 1.0, 1.5, keep_content=True)
    with pytest.raises(ConfigurationError, match=r"^seconds: 2\.5 s .* 2 s or less"):
        lm.edit(audio, 1.0, 1.5, 2.5)


@pytest.mark.parametrize(
    ("start", "end", "more", "says"),
    [
        (1.5, 1.0, {}, "start: 1.5 s is not before the end, 1 s"),
        (1.0, 1.0, {}, "start: 1 s is not before"),
        (-0.1, 1.0, {}, "start: -0.1 is no time in the recording; give 0 to 2 seconds"),
        (0.5, 2.5, {}, "end: 2.5 is no time"),
        (float("nan"), 1.0, {}, "start: nan is no time"),
        (0.5, float("inf"), {}, "end: inf is no time"),
        ("a", 1.0, {}, "start: 'a' is no time"),
        (0.5, True, {}, "end: True is no time"),
        (0.0, 2.0, {}, "start, end: the gap leaves 0 s"),
        (0.2, 1.9, {}, "start, end: the gap leaves 0.3 s"),
        (1.0, 1.01, {}, "end: a gap of 0.01 s is less than a frame"),
        (1.0, 1.5, {"seconds": 0.01}, "seconds: 0.01 is less than a frame"),
        (1.0, 1.5, {"seconds": float("nan")}, "seconds: nan is not a length"),
        (1.0, 1.5, {"seconds": 1.0, "keep_content": True}, "seconds: where the content is kept"),
        (1.0, 1.5, {"best_of": 0}, "best_of: "),
        (1.0, 1.5, {"passes": (4,)}, "passes: "),
        (1.0, 1.5, {"levels": 9}, "levels: "),
    ],
)
def test_gaps_that_cannot_be_are_refused(lm, start, end, more, says):
    with pytest.raises(ConfigurationError, match="^" + re.escape(says)):
        lm.edit(noise(2.0), start, end, **more)


def test_what_is_no_recording_is_refused(lm):
    with pytest.raises(AudioError, match=r"^audio: need an Audio"):
        lm.edit(np.zeros(16_000, np.float32), 0.2, 0.4)
