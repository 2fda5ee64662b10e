"""AudioLM: a language modelling approach to audio generation.

    import audiolm

    lm = audiolm.load("speech")
    prompt = audiolm.read("prompt.wav")
    lm.continuation(prompt, seconds=7, seed=0).write("out.wav")

Names are imported when they are first used, so that `import audiolm` takes no time: PyTorch is
loaded with the first model, not with the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from audiolm._version import __version__
from audiolm.errors import (
    AudioError,
    AudioLMError,
    ConfigurationError,
    CorpusError,
    ModelFolderError,
    TrainingError,
)

if TYPE_CHECKING:
    from audiolm.audio.files import read, write
    from audiolm.audio.waveform import Audio
    from audiolm.detecting import detect
    from audiolm.model import AudioLM
    from audiolm.pretrained import example_prompt, load
    from audiolm.safety.detection import Detection
    from audiolm.stages import Sampling
    from audiolm.tokens import Tokens

__all__ = [
    "Audio",
    "AudioError",
    "AudioLM",
    "AudioLMError",
    "ConfigurationError",
    "CorpusError",
    "Detection",
    "ModelFolderError",
    "Sampling",
    "Tokens",
    "TrainingError",
    "__version__",
    "detect",
    "example_prompt",
    "load",
    "read",
    "write",
]

_HOMES = {
    "Audio": "audiolm.audio.waveform",
    "AudioLM": "audiolm.model",
    "Detection": "audiolm.safety.detection",
    "Sampling": "audiolm.stages",
    "Tokens": "audiolm.tokens",
    "detect": "audiolm.detecting",
    "example_prompt": "audiolm.pretrained",
    "load": "audiolm.pretrained",
    "read": "audiolm.audio.files",
    "write": "audiolm.audio.files",
}
"""Where the names live that are imported when first used."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'audiolm' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
