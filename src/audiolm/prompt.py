"""Prompts and lengths: what can be asked of a model, and which part of a prompt it hears.

Of a long prompt the end is used, in whole semantic steps, and the caller is told. What is no
recording, is too short to be continued or is no length is refused.
"""

import warnings

import numpy as np

from audiolm.arguments import MAXIMUM_SECONDS, MINIMUM_PROMPT_SECONDS, checked_seconds
from audiolm.audio.waveform import Audio, too_large
from audiolm.errors import AudioError, ConfigurationError
from audiolm.shapes import SAMPLE_RATE, SEMANTIC_HOP


class PromptCutWarning(UserWarning):
    """A prompt is longer than what is used of it."""


def prompt_samples(prompt: Audio, seconds: float | None, stacklevel: int = 2) -> np.ndarray:
    """The end of a prompt (T,) at 16 kHz, whole semantic steps of it.

    Args:
        prompt: a recording of any rate.
        seconds: how much of its end is used; all when None.
        stacklevel: whom a warning is said to come from, counted from here: 2 is the caller.

    Raises:
        AudioError: the prompt is no recording, or is shorter than half a second.
        ConfigurationError: `seconds` is not a length.

    Warns:
        PromptCutWarning: the prompt is longer than `seconds`.
    """
    require_audio(prompt, "prompt")
    if seconds is not None:
        seconds = check_prompt_seconds(seconds)
        warn_where_cut(prompt.seconds, seconds, stacklevel + 1)
        prompt = prompt.last(seconds)
    check_prompt(prompt, "prompt")
    samples = prompt.resampled(SAMPLE_RATE).samples
    return samples[len(samples) % SEMANTIC_HOP :]


def check_prompt(prompt: Audio, name: str) -> Audio:
    """The prompt, or AudioError where it is too short; `name` is that of its file or argument."""
    if prompt.seconds < MINIMUM_PROMPT_SECONDS:
        raise AudioError(
            f"{name}: {prompt.seconds:.2f} s is too short to be continued; "
            f"give at least {MINIMUM_PROMPT_SECONDS:g} s"
        )
    return prompt


def check_prompt_seconds(seconds: object) -> float:
    """`seconds` as a number; ConfigurationError where it is no length, or too little to use."""
    seconds = check_seconds("prompt_seconds", seconds)
    if seconds < MINIMUM_PROMPT_SECONDS:
        raise ConfigurationError(
            f"prompt_seconds: {seconds:g} s is too short to be continued; "
            f"give at least {MINIMUM_PROMPT_SECONDS:g}"
        )
    return seconds


def warn_where_cut(whole: float, used: float, stacklevel: int = 2) -> None:
    """Tell that of a prompt of `whole` seconds the last `used` are heard, where it is longer."""
    if whole > used + SEMANTIC_HOP / SAMPLE_RATE:
        warnings.warn(
            f"prompt: {whole:.2f} s long, of which the last {used:g} s are used; "
            "ask for more with prompt_seconds",
            PromptCutWarning,
            stacklevel=stacklevel,
        )


def check_seconds(name: str, seconds: object) -> float:
    """`seconds` as a number; ConfigurationError where it is no length. `name` is the setting's."""
    return checked_seconds(name, seconds, MAXIMUM_SECONDS)


def check_baseline(baseline: object) -> None:
    """ConfigurationError where `baseline` is none."""
    if baseline not in (None, "acoustic-only"):
        raise ConfigurationError(f"baseline: {baseline!r} is not known; use acoustic-only")


def require_audio(audio: Audio, name: str) -> Audio:
    """What was given, or AudioError where it is no recording, or one of another full scale.

    `name` is the argument's.
    """
    if not isinstance(audio, Audio):
        kind = type(audio).__name__
        raise AudioError(f"{name}: need an Audio, got {kind}; read a file with audiolm.read")
    if (fault := too_large(audio.samples)) is not None:
        raise AudioError(f"{name}: its {fault}")
    return audio
