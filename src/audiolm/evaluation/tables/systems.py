"""Systems that recordings go through, and metrics of what comes out: the same pairs for all.

Shared by the tables of the codec's quality and of its hoarseness.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from audiolm.audio.files import read
from audiolm.audio.waveform import Audio
from audiolm.evaluation.corpora import Utterance
from audiolm.evaluation.metrics.pool import PairMetrics, measured, processes
from audiolm.evaluation.metrics.statistics import Metric, mean_metric
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.tables.opus import Opus
from audiolm.model import AudioLM
from audiolm.shapes import CODEC_HOP, SAMPLE_RATE


@dataclass(frozen=True)
class System:
    """One thing that a recording goes through."""

    name: str
    """In the names of metrics: codec_4, opus_12, semantic, itself."""
    title: str
    make: Callable[[Audio], tuple[Audio, float]]
    """Recording to what is made of it, and the kbit/s that this takes."""


@dataclass
class SystemValues:
    """What was measured of one system, recording by recording; None where there is no answer."""

    kilobits: list[float] = field(default_factory=list)
    by_metric: dict[str, list[float | None]] = field(default_factory=dict)

    @property
    def rate(self) -> float | None:
        """Mean kbit/s; None for the recording itself."""
        mean = sum(self.kilobits) / len(self.kilobits)
        return None if math.isinf(mean) else mean


ITSELF = System("itself", "The recording itself (ceiling)", lambda audio: (audio, math.inf))


def codec_systems(model: AudioLM, levels: Sequence[int]) -> Iterator[System]:
    """The codec at each number of levels that is asked for and that it has."""
    bits = math.log2(model.codec.codebook_size) * SAMPLE_RATE / CODEC_HOP
    for count in levels:
        if count <= model.codec.levels:

            def make(audio: Audio, count: int = count) -> tuple[Audio, float]:
                return model.reconstruction(audio, count), count * bits / 1000

            title = f"Codec, {count} level{'s' if count > 1 else ''}"
            yield System(f"codec_{count}", title, make)


def opus_systems(bitrates: Sequence[float], conditions: dict[str, str]) -> list[System]:
    """Opus at each bitrate that is asked for, where it is installed; conditions say which."""
    if not bitrates:
        return []
    try:
        opus = Opus()
    except Skipped as error:
        conditions["opus"] = f"not measured: {error}"
        return []
    conditions["opus"] = opus.version
    systems = []
    for asked in bitrates:

        def make(audio: Audio, asked: float = asked) -> tuple[Audio, float]:
            result = opus(audio, asked)
            return result.audio, result.kilobits

        systems.append(System(f"opus_{asked:g}", f"Opus, asked for {asked:g} kbit/s", make))
    return systems


def opus_version(bitrates: Sequence[float]) -> dict[str, str | None]:
    """Which Opus there is to compare with: once it is installed, a table is made again."""
    if not bitrates:
        return {}
    try:
        return {"opus": Opus().version}
    except Skipped:
        return {"opus": None}


def values_of(
    systems: Sequence[System],
    chosen: Sequence[Utterance],
    longest: float,
    metrics: PairMetrics,
    progress: Callable[[float], None],
) -> dict[str, SystemValues]:
    """What the metrics say of every system, by its name.

    Args:
        systems: that each recording goes through.
        chosen: the recordings.
        longest: seconds from the beginning of each that are used.
        metrics: of a pair.
        progress: is told which share is done.
    """
    values = {system.name: SystemValues() for system in systems}

    def pairs() -> Iterator[tuple[Audio, Audio]]:
        for utterance in chosen:
            audio = read(utterance.recording.path, SAMPLE_RATE).first(longest)
            for system in systems:
                made, kilobits = system.make(audio)
                values[system.name].kilobits.append(kilobits)
                yield made, audio

    total = len(chosen) * len(systems)
    for number, found in enumerate(measured(pairs(), metrics, processes())):
        one = values[systems[number % len(systems)].name]
        for name, value in found.items():
            one.by_metric.setdefault(name, []).append(value)
        progress((number + 1) / total)
    return values


def mean_metrics(
    values: dict[str, SystemValues],
    units: dict[str, str],
    speakers: Sequence[str],
    seed: int,
    paper: dict[str, float] | None = None,
) -> dict[str, Metric]:
    """Means over the recordings with an answer, by `metric.system`, with intervals by speaker."""
    metrics: dict[str, Metric] = {}
    for name, one in values.items():
        for metric, unit in units.items():
            known = [
                (value, speaker)
                for value, speaker in zip(one.by_metric[metric], speakers, strict=True)
                if value is not None
            ]
            if not known:
                continue
            found, voices = zip(*known, strict=True)
            key = f"{metric}.{name}"
            metrics[key] = mean_metric(
                found, voices, unit=unit, paper=(paper or {}).get(key), seed=seed
            )
    return metrics
