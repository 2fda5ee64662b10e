"""`AudioLM.edit`: what stands between two points of a recording is said anew.

    the recording    ... near side  |   gap   |  far side ...     at its own sample rate
    what is heard        near side  | silence |  far side         both sides, 16 kHz, whole steps
    semantic ids         known      | masked  |  known            filled by the semantic stage
    codes                known      | masked  |  known            filled by parallel and fine stage
    what is decoded      near side  |  made   |  far side         all as one, so that it joins
    the answer       ... near side >|<  made >|<  far side ...    its own samples, but for the gap

What stood in the gap is heard by nothing (unless its content is to be kept): the encoders get
silence in its place. The made piece is cut out of the decoded window, made as loud against it as
the recording's sides are against theirs, brought to the recording's sample rate, and cross-faded
into it within `FADE_SECONDS` on both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from audiolm.arguments import (
    MAXIMUM_SECONDS,
    MINIMUM_PROMPT_SECONDS,
    checked_seconds,
    checked_time,
)
from audiolm.audio.resample import resample
from audiolm.audio.waveform import Audio
from audiolm.codec.chunks import decode_in_chunks, encode_in_chunks
from audiolm.codec.contract import Codec
from audiolm.errors import ConfigurationError, ModelFolderError
from audiolm.pipeline import Pipeline
from audiolm.reranking import best_draws, scores
from audiolm.safety.watermark import Payload, mark
from audiolm.semantic.contract import SemanticTokenizer
from audiolm.shapes import CODEC_HOP, FRAMES_PER_STEP, SAMPLE_RATE, SEMANTIC_HOP, SemanticIds
from audiolm.stages import Stage, Streams
from audiolm.stages.streams import MASK

FADE_SECONDS = 0.025
"""Of the cross-fade on either side of the gap: short enough to leave the neighbouring sounds alone,
long enough to hide a step."""

LARGEST_GAIN = 2.0
"""Of the made piece, to be as loud as its neighbourhood: 6 dB."""

SHORTEST_SECONDS = CODEC_HOP / SAMPLE_RATE
"""Of a gap and of what is made: a frame."""


@dataclass(frozen=True)
class Gap:
    """What is replaced, in samples of the recording."""

    start: int
    """The first sample that is replaced."""
    stop: int
    """The first one after the gap; up to the recording's length."""
    length: int
    """Samples of what takes its place."""
    fade_in: int
    """Samples before the gap that are cross-faded; none where the recording begins with it."""
    fade_out: int
    """Samples after it that are; none where the recording ends with it."""


def checked_gap(
    audio: Audio, start: object, end: object, seconds: object = None, keep_content: bool = False
) -> Gap:
    """A gap from `start` to `end`, in seconds, which is to last `seconds`, or as long as it did.

    Raises:
        ConfigurationError: a time is none or lies outside the recording, the gap ends before it
            begins, is shorter than a frame or leaves too little to go on from, or cannot last so
            long.
    """
    first = checked_time("start", start, audio.seconds)
    last = checked_time("end", end, audio.seconds)
    if first >= last:
        raise ConfigurationError(
            f"start: {first:g} s is not before the end, {last:g} s; give a start before it"
        )
    if last - first < SHORTEST_SECONDS:
        raise ConfigurationError(
            f"end: a gap of {last - first:g} s is less than a frame; make it "
            f"{SHORTEST_SECONDS:g} s or more"
        )
    if audio.seconds - (last - first) < MINIMUM_PROMPT_SECONDS:
        raise ConfigurationError(
            f"start, end: the gap leaves {audio.seconds - (last - first):g} s of the recording; "
            f"leave at least {MINIMUM_PROMPT_SECONDS:g} s of it to go on from"
        )
    if seconds is not None and keep_content:
        raise ConfigurationError(
            "seconds: where the content is kept, so is its length; leave seconds or keep_content "
            "out"
        )
    rate, whole = audio.sample_rate, len(audio.samples)
    begin, stop = round(first * rate), min(round(last * rate), whole)
    length = stop - begin
    if seconds is not None:
        asked = checked_seconds("seconds", seconds, MAXIMUM_SECONDS)
        if asked < SHORTEST_SECONDS:
            raise ConfigurationError(
                f"seconds: {asked:g} is less than a frame; give {SHORTEST_SECONDS:g} or more"
            )
        length = round(asked * rate)
    fade = round(FADE_SECONDS * rate)
    return Gap(begin, stop, length, min(fade, begin), min(fade, whole - stop))


def check_stages(stages: Mapping[str, Stage], audio: Audio, gap: Gap, keep_content: bool) -> None:
    """Refuse what these stages cannot fill.

    Raises:
        ModelFolderError: stages are missing, or have not learnt to; it says what to train.
        ConfigurationError: more is to be said than the semantic stage sees at once.
    """
    needed = ["parallel"] if keep_content else ["semantic", "parallel"]
    lacking = [kind for kind in needed if kind not in stages]
    faults = [f"has no stage {' and no stage '.join(lacking)}"] if lacking else []
    semantic = None if keep_content else stages.get("semantic")
    two_sided = gap.stop < len(audio.samples)
    if two_sided and semantic is not None and not semantic.config.layout.fill_in_the_middle:
        faults.append("its semantic stage has not learnt to fill the middle")
        lacking.insert(0, "semantic")
    if faults:
        setting = " --set stages.semantic.layout.fill_in_the_middle=true"
        raise ModelFolderError(
            f"stages: to edit, the model lacks something: it {', and '.join(faults)}; train with: "
            f"audiolm train FOLDER --out NEW --from MODEL --only {','.join(lacking)}"
            f"{setting if 'semantic' in lacking else ''}"
        )
    if semantic is not None:
        longest, asked = semantic.config.context_seconds / 2, gap.length / audio.sample_rate
        if asked > longest:
            raise ConfigurationError(
                f"seconds: {asked:g} s is more than this model fills at once; make it "
                f"{longest:g} s or less"
            )


def made_piece(
    codec: Codec,
    tokenizer: SemanticTokenizer,
    run: Pipeline,
    audio: Audio,
    gap: Gap,
    *,
    keep_content: bool = False,
    best_of: int = 1,
    payload: Payload | None = None,
) -> np.ndarray:
    """What takes the gap's place, with the cross-fades: (fade_in + length + fade_out,) float32.

    At the recording's sample rate, not yet joined.

    Args:
        codec: hears both sides, and decodes.
        tokenizer: makes the semantic ids of both sides (of all, to keep the content).
        run: the stages; its codes are made by the parallel one.
        audio: the recording.
        gap: in it.
        keep_content: the gap's own semantic ids stay.
        best_of: draws, of which one is kept: of content the one after which the far side is
            likeliest; where the content stays, of sounds the one in which it is heard best.
        payload: what the mark says that the made piece carries; it carries none when None.
    """
    rate, device = audio.sample_rate, next(codec.parameters()).device
    side = run.stages["parallel"].config.context_seconds / 2
    samples = audio.resampled(SAMPLE_RATE).samples
    window = _window(gap, rate, len(samples), round(side * SAMPLE_RATE / SEMANTIC_HOP))
    around = torch.from_numpy(window.cut(samples, silence=True))[None].to(device)  # (1, T)
    middle = slice(window.near, window.near + window.made)
    if keep_content:
        heard = torch.from_numpy(window.cut(samples, silence=False))[None].to(device)
        ids = tokenizer.encode(heard).repeat(best_of, 1)  # (B, S)
    else:
        ids = tokenizer.encode(around)  # (1, S)
        near, far = ids[:, : middle.start], ids[:, middle.stop :]
        seconds = gap.length / rate
        said = _middle(run, near, far, seconds, window, best_of)  # (1, S of the gap)
        ids = torch.cat([near, said, far], dim=1)
    codes = encode_in_chunks(codec, around).repeat(len(ids), 1, 1)  # (B, Q, F)
    codes[..., FRAMES_PER_STEP * middle.start : FRAMES_PER_STEP * middle.stop] = MASK
    codes = run.filled(ids, codes)
    decoded = decode_in_chunks(codec, codes)  # (B, T)
    kept = 0
    if len(decoded) > 1:
        judged = scores(codec, tokenizer, decoded, ids, codes, known=0)
        kept = int(best_draws(judged, len(decoded)))
    sound = decoded[kept].float().cpu().numpy()  # (T,)
    unknown = slice(window.start - window.begin, window.start - window.begin + window.length)
    sound = sound * side_gain(around[0].cpu().numpy(), sound, unknown)
    if payload is not None:
        fade = round(FADE_SECONDS * SAMPLE_RATE)
        made = slice(max(0, unknown.start - fade), unknown.stop + fade)
        sound[made] = mark(sound[made], payload)
    rendered = resample(sound, SAMPLE_RATE, rate)
    first = round(gap.start - window.begin * rate / SAMPLE_RATE) - gap.fade_in
    count = gap.fade_in + gap.length + gap.fade_out
    # Rounding from one clock to the other may leave it a sample short.
    return np.pad(rendered, (0, count))[first : first + count]


def side_gain(heard: np.ndarray, rendered: np.ndarray, unknown: slice) -> np.float32:
    """What the codec's rendering (T,) is to be multiplied by to be as loud as what was heard (T,).

    Told by both sides, all that is not `unknown`: a codec renders speech a few dB too quietly with
    few of its levels. Within `LARGEST_GAIN` either way; 1 where there is nothing to be heard.
    """
    powers = [
        float(np.square(np.delete(samples, unknown), dtype=np.float64).sum())
        for samples in (heard, rendered)
    ]
    if min(powers) <= 0.0:
        return np.float32(1.0)
    gain = (powers[0] / powers[1]) ** 0.5
    return np.float32(min(max(gain, 1 / LARGEST_GAIN), LARGEST_GAIN))


def joined(audio: Audio, made: np.ndarray, gap: Gap) -> Audio:
    """The recording with `made`, as `made_piece` gives it, in the place of the gap.

    All samples but those of the gap and of its cross-fades are the recording's own. A mark in the
    recording stays where it is kept.
    """
    samples, made = audio.samples, made.copy()
    rising = _rising(gap.fade_in)
    before = samples[gap.start - gap.fade_in : gap.start]
    made[: gap.fade_in] = before + rising * (made[: gap.fade_in] - before)
    falling = _rising(gap.fade_out)[::-1]
    after = samples[gap.stop : gap.stop + gap.fade_out]
    end = len(made) - gap.fade_out
    made[end:] = after + falling * (made[end:] - after)
    first, last = gap.start - gap.fade_in, gap.stop + gap.fade_out
    return Audio(np.concatenate([samples[:first], made, samples[last:]]), audio.sample_rate)


def _rising(count: int) -> np.ndarray:
    """Half a cosine from above 0 to below 1: (count,) float32; its reverse is 1 minus it."""
    place = np.arange(1, count + 1) / (count + 1)
    rising: np.ndarray = (0.5 - 0.5 * np.cos(np.pi * place)).astype(np.float32)
    return rising


def _middle(
    run: Pipeline, near: Tensor, far: Tensor, seconds: float, window: "_Window", best_of: int
) -> SemanticIds:
    """The ids (1, S) of a gap between two sides; of `best_of`, those that lead to the far side."""
    draws = best_of if far.shape[1] else 1  # nothing to judge them by
    near, far = near.repeat(draws, 1), far.repeat(draws, 1)  # (B, S), (B, S')
    ended = torch.full((draws,), window.reaches_end, device=near.device)
    said = run.middle(Streams(near, ended=ended, far=far), seconds, window.made)  # (B, S)
    if draws == 1:
        return said
    leads = far_side_likelihood(run.stages["semantic"], near, said, far)
    return said[best_draws(leads, draws)]


def far_side_likelihood(
    stage: Stage, near: SemanticIds, middle: SemanticIds, far: SemanticIds
) -> Tensor:
    """log p (B,) of the far side after the near side and the middle, said from left to right."""
    before = torch.cat([near, middle], dim=1)
    whole = torch.cat([before, far], dim=1)
    judged = stage.log_likelihood(Streams(whole)).total
    return judged - stage.log_likelihood(Streams(before)).total


@dataclass(frozen=True)
class _Window:
    """What of a recording is heard, as it will be after the edit, in whole semantic steps.

    The gap seldom is whole steps, so up to a step around it is made anew with it: half on either
    side, or what lies beyond an end of the recording.
    """

    begin: int
    """Its first sample, at 16 kHz; below 0 where it begins before the recording."""
    near: int
    """Semantic steps before those that are made."""
    made: int
    far: int
    """Steps after them."""
    start: int
    """Where the gap starts, at 16 kHz."""
    stop: int
    """Where it stops in the recording as it is."""
    length: int
    """Samples of what takes its place, at 16 kHz."""
    reaches_end: bool
    """Whether nothing of the recording comes after it."""

    def cut(self, samples: np.ndarray, silence: bool) -> np.ndarray:
        """The window (T,) of a recording (T,), silence for what is not there, and for the gap
        unless it is as long as what takes its place, and wanted."""
        total = (self.near + self.made + self.far) * SEMANTIC_HOP
        if not silence:
            return _excerpt(samples, self.begin, total)
        before = _excerpt(samples[: self.start], self.begin, self.start + self.length - self.begin)
        return np.concatenate([before, _excerpt(samples, self.stop, total - len(before))])


def _window(gap: Gap, rate: int, whole: int, side: int) -> _Window:
    """Where things lie in a recording of `whole` samples at 16 kHz, `side` steps to a side."""
    start, stop, length = (
        round(count * SAMPLE_RATE / rate) for count in (gap.start, gap.stop, gap.length)
    )
    length = max(1, length)
    rest = -length % SEMANTIC_HOP  # to whole steps
    before = rest if start == 0 else 0 if stop >= whole else rest // 2
    first, after = start - before, stop + rest - before  # of what is made; after it
    near = min(side, max(0, -(-first // SEMANTIC_HOP)))
    far = min(side, max(0, -(-(whole - after) // SEMANTIC_HOP)))
    return _Window(
        begin=first - near * SEMANTIC_HOP,
        near=near,
        made=(length + rest) // SEMANTIC_HOP,
        far=far,
        start=start,
        stop=stop,
        length=length,
        reaches_end=after + far * SEMANTIC_HOP >= whole,
    )


def _excerpt(samples: np.ndarray, first: int, count: int) -> np.ndarray:
    """`count` samples from `first` on, silence where there are none."""
    there = samples[max(0, first) : max(0, first + count)]
    missing = min(count, max(0, -first))
    return np.pad(there, (missing, count - missing - len(there)))
