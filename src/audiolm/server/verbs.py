"""One function per verb: a recording and fields to sound, as it is made.

They run in a worker's thread. Each calls `check` where it can, which ends it when the client has
gone; what is made all at once is told of progress by the stages, and checks then.
"""

import dataclasses
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from audiolm.audio.blocks import to_int16
from audiolm.audio.growing_wav import wav_pieces
from audiolm.audio.waveform import Audio
from audiolm.codec.chunks import CHUNK_SAMPLES
from audiolm.detecting import ChosenDetector, detect_channels
from audiolm.errors import ConfigurationError, ModelFolderError
from audiolm.model import AudioLM
from audiolm.pipeline import asked_sampling
from audiolm.prompt import check_prompt
from audiolm.safety.detector import Detector
from audiolm.server.fields import Continuation, Detection, Drawn, Edit, Reconstruction, Resynthesis
from audiolm.server.work import Check
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP
from audiolm.stages import Sampling

Chunks = Generator[Audio, None, None]
"""Sound as it is made."""


@dataclass(frozen=True)
class Verb:
    """What a path does."""

    name: str
    """The path below /v1."""
    says: str
    fields: type[Any]
    """A class of `audiolm.server.fields`."""
    file: str
    """The field of the form that holds the recording."""
    make: Callable[[AudioLM, Audio, Any, Check], Chunks] | None
    """Makes sound; None where the answer is JSON."""


def continuation(lm: AudioLM, prompt: Audio, fields: Continuation, check: Check) -> Chunks:
    """As it is made, unless all frames come at once (`acoustic` parallel) or the best is kept."""
    seconds = lm.info.seconds if fields.seconds is None else fields.seconds
    check_prompt(prompt, "prompt")
    if fields.best_of == 1 and fields.acoustic != "parallel":
        if fields.baseline is not None and fields.acoustic is not None:
            raise ConfigurationError(
                "field: acoustic: the baseline makes codes in its own way; leave it or baseline out"
            )
        stream = lm.stream(
            prompt,
            seconds,
            prompt_seconds=None,
            seed=fields.seed,
            sampling=_sampling(lm, fields),
            levels=fields.levels,
            baseline=fields.baseline,
            continuation_only=fields.continuation_only,
        )
        with closing(stream):
            yield from stream
        return
    yield lm.continuation(
        prompt,
        seconds,
        prompt_seconds=None,
        seed=fields.seed,
        sampling=_sampling(lm, fields),
        levels=fields.levels,
        best_of=fields.best_of,
        acoustic=fields.acoustic,
        baseline=fields.baseline,
        continuation_only=fields.continuation_only,
        progress=lambda *_: check(),
    )


def resynthesis(lm: AudioLM, audio: Audio, fields: Resynthesis, check: Check) -> Chunks:
    """All at once."""
    yield lm.acoustic_generation(
        audio,
        seed=fields.seed,
        sampling=_sampling(lm, fields),
        levels=fields.levels,
        best_of=fields.best_of,
        acoustic=fields.acoustic,
        progress=lambda *_: check(),
    )


def reconstruction(lm: AudioLM, audio: Audio, fields: Reconstruction, check: Check) -> Chunks:
    """Ten seconds at a time."""
    samples = audio.samples
    pieces = [samples[at : at + CHUNK_SAMPLES] for at in range(0, len(samples), CHUNK_SAMPLES)]
    for made in lm.reconstruct_stream(pieces, fields.levels):
        yield Audio(made, SAMPLE_RATE)


def edit(lm: AudioLM, audio: Audio, fields: Edit, check: Check) -> Chunks:
    """All at once."""
    yield lm.edit(
        audio,
        fields.start,
        fields.end,
        seconds=fields.seconds,
        keep_content=fields.keep_content,
        seed=fields.seed,
        sampling=_sampling(lm, fields),
        levels=fields.levels,
        best_of=fields.best_of,
        progress=lambda *_: check(),
    )


def detection(detector: Detector, audio: Audio) -> dict[str, Any]:
    """`audiolm.detect` as JSON: probability, verdict, timeline, mark, and what else it says."""
    samples = audio.resampled(SAMPLE_RATE).samples[:, None]  # (T, 1)
    chosen = ChosenDetector(detector, detector.config.model)
    found: dict[str, Any] = _plain(detect_channels([samples], chosen))
    return found


VERBS = (
    Verb(
        "continuations",
        "Go on from a prompt, in its voice and its room; sent as it is made.",
        Continuation,
        "prompt",
        continuation,
    ),
    Verb(
        "resyntheses",
        "Say what a recording says in another voice and another room.",
        Resynthesis,
        "audio",
        resynthesis,
    ),
    Verb(
        "reconstructions",
        "A recording through the codec and back, with so many levels.",
        Reconstruction,
        "audio",
        reconstruction,
    ),
    Verb(
        "edits",
        "Say anew what stands between two times; the rest stays as it is.",
        Edit,
        "audio",
        edit,
    ),
    Verb(
        "detections",
        "Whether a recording was made: probability, verdict, timeline, mark.",
        Detection,
        "audio",
        None,
    ),
)


def heard(lm: AudioLM, fields: Any) -> float | None:
    """Seconds at the end of a recording that a verb hears; None for all of it."""
    if not isinstance(fields, Continuation):
        return None
    return lm.info.prompt_seconds if fields.prompt_seconds is None else fields.prompt_seconds


def check_fields(lm: AudioLM, fields: Any, longest: float) -> None:
    """Refuse what cannot be, before anything waits or is decoded.

    Raises:
        ConfigurationError: a field has a value that this model or server cannot.
        ModelFolderError: the model lacks the detector that is asked.
    """
    if isinstance(fields, Detection) and lm.detector is None:
        raise ModelFolderError("this model has no detector; take another one")
    for name in ("seconds", "prompt_seconds"):
        value = getattr(fields, name, None)
        if value is not None and value > longest:
            raise ConfigurationError(f"field: {name}: {value:g} is more than {longest:g} allowed")
    lm.check_levels(getattr(fields, "levels", None))
    lm.check_acoustic(getattr(fields, "acoustic", None))
    if isinstance(fields, Drawn):
        _sampling(lm, fields)
    if isinstance(fields, Edit) and not fields.start < fields.end:
        raise ConfigurationError(
            f"field: end: {fields.end:g} is not after start, {fields.start:g}; give a later time"
        )


def prompt_length(prompt: Audio, fields: Any) -> int:
    """Samples at the beginning of an answer that are the prompt's rendering."""
    if not isinstance(fields, Continuation) or fields.continuation_only:
        return 0
    return len(prompt.samples) // SEMANTIC_HOP * SEMANTIC_HOP


def encoded(chunks: Chunks, form: str) -> Generator[bytes, None, None]:
    """Sound as a WAV of unknown length or as its samples alone, piece by piece."""
    with closing(chunks):
        first = next(chunks, None)
        if first is None:
            return
        blocks = (chunk.samples for chunk in chain([first], chunks))  # (n,) each
        if form == "wav":
            yield from wav_pieces(blocks, SAMPLE_RATE, first.origin)
        else:
            yield from (to_int16(block).astype("<i2").tobytes() for block in blocks)


def _sampling(lm: AudioLM, fields: Drawn) -> dict[str, Sampling]:
    return {
        kind: asked_sampling(
            kind,
            own.model_dump(),
            temperatures=fields.temperatures,
            top_k=fields.top_k,
            top_p=fields.top_p,
            guidance=fields.guidance,
        )
        for kind, own in lm.sampling.items()
    }


def _plain(value: Any) -> Any:
    """A result as JSON has it: data classes as objects, arrays as lists, no NaN."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)
