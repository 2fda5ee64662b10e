"""From scores of windows to an answer: a probability, a verdict, and where in the recording.

The verdict is stated at a rate of false alarms. One answer takes several looks: at the whole, and
at every stretch that the timeline picks out, in every channel. Each look gets its share of the
rate, so that the answer as a whole keeps to it.
"""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from audiolm.errors import ModelFolderError
from audiolm.safety.calibration import calibration_for, checked_false_alarms
from audiolm.safety.detector import DetectorConfig
from audiolm.safety.windows import HOP_SECONDS, WINDOW_SECONDS, Heard

if TYPE_CHECKING:
    from audiolm.safety.watermark import MarkReading

Verdict = Literal["made", "partly made", "not detected", "too short", "silence"]
"""`not detected` is no proof of a recording: the model left no trace that was found."""

LARGEST = 4.0
"""Log-odds that one window counts for at most in the timeline: no window decides alone."""
CHANGE = 4.0
"""What a change between stretches costs there: evidence of two seconds must speak for it."""
OVERLAP = HOP_SECONDS / WINDOW_SECONDS
"""What a window adds to the ones before it: each second is seen by four windows."""


@dataclass(frozen=True)
class Stretch:
    """A part of a recording that is of one kind."""

    start: float
    """Seconds from the beginning."""
    end: float
    probability: float | None
    """How likely it is that the model has made it; None of silence."""
    made: bool
    """Whether that is sure enough for the rate of false alarms that was asked for."""


@dataclass(frozen=True)
class Detection:
    """What can be said of a recording."""

    verdict: Verdict
    probability: float | None
    """How likely it is that the model made it, or a part of it, both being equally likely
    beforehand; None of silence."""
    codec_probability: float | None
    """How likely it is that it has been through the model's codec, made or not; None of silence."""
    false_alarms: float
    """Of recordings, the share that is called `made` or `partly made` at most, by what the
    detector's calibration has heard."""
    seconds: float
    timeline: tuple[Stretch, ...]
    """From the beginning to the end, each stretch of another kind than the one before."""
    joints: tuple[float, ...]
    """Seconds at which made sound begins or ends beside other sound."""
    mark: "MarkReading | None" = None
    """The mark in the sound itself; None where it was not looked for."""
    channel: int = 1
    """The channel that all this is of, counted from 1: the most suspicious one."""
    channels: tuple[float | None, ...] = ()
    """The probability of each channel."""
    note: str = ""
    """What one has to know beside it, in a sentence; mostly nothing."""
    detector: str = ""
    """The model whose detector answered."""

    @property
    def made(self) -> bool:
        """Whether the model has made it or a part of it, as the verdict says."""
        return self.verdict in ("made", "partly made")


def judged(
    heard: Heard, config: DetectorConfig, false_alarms: float = 0.01, channels: int = 1
) -> Detection:
    """The answer for one channel.

    Args:
        heard: what the detector said of its windows.
        config: the detector's, with its calibration.
        false_alarms: of the answer for all channels together.
        channels: how many are looked at.

    Raises:
        ConfigurationError: `false_alarms` is no rate that there is a threshold for.
        ModelFolderError: the detector was never calibrated.
    """
    rate = checked_false_alarms(false_alarms)
    if not config.made or not config.codec:
        raise ModelFolderError(
            "detector: is not calibrated, so that its scores mean nothing; train it with: "
            "audiolm train FOLDER --out MODEL --only detector"
        )
    if not heard.audible:
        silence = Stretch(0.0, heard.seconds, None, False)
        note = "there is only silence in it, of which nothing can be said"
        return Detection("silence", None, None, rate, heard.seconds, (silence,), (), note=note)
    coded = calibration_for(config.codec, heard.audible).log_odds(heard.mean(1))
    whole = calibration_for(config.made, heard.audible)
    log_odds = whole.log_odds(heard.mean(0))
    if heard.seconds < WINDOW_SECONDS:
        return _too_short(heard, log_odds, coded, rate)

    share = rate / 2 / channels  # the whole has one half, its stretches the other
    whole_made = log_odds >= whole.threshold(share)
    timeline = _timeline(heard, config, share)
    sure = [one for one in timeline if one.made]
    audible = [one for one in timeline if one.probability is not None]
    if sure and len(sure) < len(audible):
        verdict: Verdict = "partly made"
    else:
        verdict = "made" if sure or whole_made else "not detected"
    if verdict == "made":
        timeline = tuple(replace(o, made=o.probability is not None) for o in timeline)
    likely = [one.probability for one in sure if one.probability is not None]
    return Detection(
        verdict,
        max([_share(log_odds), *likely]),
        _share(coded),
        rate,
        heard.seconds,
        timeline,
        _joints(timeline),
    )


def most_suspicious(answers: list[Detection]) -> Detection:
    """Of the answers for each channel, the one with the highest probability, with all of them."""
    order = sorted(
        range(len(answers)),
        key=lambda n: (answers[n].made, answers[n].probability or 0.0),
        reverse=True,
    )
    chosen = order[0]
    probabilities = tuple(answer.probability for answer in answers)
    return replace(answers[chosen], channel=chosen + 1, channels=probabilities)


def _too_short(heard: Heard, log_odds: float, coded: float, rate: float) -> Detection:
    """Of less than a window: evidence that counts for as much as there is of it."""
    part = heard.seconds / WINDOW_SECONDS
    probability = _share(part * log_odds)
    note = (
        f"{heard.seconds:.2f} s are less than the second that the detector listens to: the "
        "probability is uncertain, and no rate of false alarms is known for it"
    )
    timeline = (Stretch(0.0, heard.seconds, probability, False),)
    return Detection(
        "too short",
        probability,
        _share(part * coded),
        rate,
        heard.seconds,
        timeline,
        (),
        note=note,
    )


def _timeline(heard: Heard, config: DetectorConfig, rate: float) -> tuple[Stretch, ...]:
    """Stretches of made sound, of other sound and of silence; made ones that are sure are so."""
    second = calibration_for(config.made, WINDOW_SECONDS)
    evidence = second.scale * heard.scores[:, 0].astype(np.float64) + second.offset  # (W,)
    evidence = np.clip(evidence, -LARGEST, LARGEST) * OVERLAP
    evidence[heard.silent] = 0.0
    kinds = likeliest_kinds(evidence)  # (W,) bool
    sure = np.zeros(len(kinds), dtype=bool)
    for first, last in _runs(kinds):
        if kinds[first]:
            sure[first:last] = _is_sure(heard, first, last, config, rate)
    # Silence of a second or more is a stretch of its own; 2 is not a kind that can be sure.
    labels = np.where(heard.silent, 2, sure.astype(int))
    stretches = []
    for first, last in _runs(labels):
        start = 0.0 if first == 0 else _border(first)
        end = heard.seconds if last == len(labels) else _border(last)
        audible = np.arange(first, last)[~heard.silent[first:last]]
        probability = None
        if len(audible):
            calibration = calibration_for(config.made, _lasting(first, last))
            score = float(heard.scores[audible, 0].mean(dtype=np.float64))
            probability = _share(calibration.log_odds(score))
        stretches.append(Stretch(start, end, probability, bool(labels[first] == 1)))
    return tuple(stretches)


def _is_sure(heard: Heard, first: int, last: int, config: DetectorConfig, rate: float) -> bool:
    """Whether windows `first` to `last` - 1 pass for made: a stretch has its part of the rate."""
    audible = ~heard.silent[first:last]
    if not audible.any():
        return False
    calibration = calibration_for(config.made, _lasting(first, last))
    score = float(heard.scores[first:last, 0][audible].mean(dtype=np.float64))
    part = (last - first) / len(heard.silent)
    return calibration.log_odds(score) >= calibration.threshold(rate * part)


def likeliest_kinds(evidence: NDArray[np.float64], change: float = CHANGE) -> NDArray[np.bool_]:
    """Which windows are made: the likeliest sequence, where every change costs `change` (Viterbi).

    Args:
        evidence: (W,) log-odds of each window on its own.
        change: in the same unit.
    """
    count = len(evidence)
    best = np.zeros(2)  # of sequences that end with not made, with made
    before = np.zeros((count, 2), dtype=np.int64)
    for window, odds in enumerate(evidence.tolist()):
        stays, changes = best, best[::-1] - change
        before[window] = np.where(stays >= changes, [0, 1], [1, 0])
        best = np.maximum(stays, changes) + np.array([0.0, odds])
    kinds = np.zeros(count, dtype=np.bool_)
    kind = int(best[1] > best[0])
    for window in range(count - 1, -1, -1):
        kinds[window] = bool(kind)
        kind = int(before[window, kind])
    return kinds


def _runs(labels: NDArray[np.generic]) -> list[tuple[int, int]]:
    """First and one past the last index of each run of equal labels."""
    ends = (np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist()
    starts = [0, *ends]
    return list(zip(starts, [*ends, len(labels)], strict=True))


def _border(window: int) -> float:
    """Seconds between the middle of a window and that of the one before it."""
    return (window - 0.5) * HOP_SECONDS + WINDOW_SECONDS / 2


def _lasting(first: int, last: int) -> float:
    """Seconds that windows `first` to `last` - 1 cover."""
    return WINDOW_SECONDS + (last - first - 1) * HOP_SECONDS


def _joints(timeline: tuple[Stretch, ...]) -> tuple[float, ...]:
    """Where made sound begins or ends inside a recording, beside sound of another kind."""
    audible = [one for one in timeline if one.probability is not None]
    return tuple(
        later.start if later.made else earlier.end
        for earlier, later in pairwise(audible)
        if earlier.made != later.made
    )


def _share(log_odds: float) -> float:
    """The probability of log-odds."""
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, log_odds))))
