"""Find a model by its name, load it whole, save it, put it on the hub.

A name is one of the models inside the package, a folder, or `owner/name` on the Hugging Face hub,
tried in this order; write `./speech` for a folder that is called like a bundled model.
"""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

from audiolm.codec.contract import Codec
from audiolm.device import choose_device
from audiolm.errors import ModelFolderError
from audiolm.model import AudioLM
from audiolm.model_io.folder import load_part, save_part
from audiolm.model_io.manifest import MANIFEST, read_manifest
from audiolm.part import Dtype
from audiolm.parts import CODEC, DETECTOR, SEMANTIC, STAGES
from audiolm.safety.detector import Detector
from audiolm.semantic.contract import SemanticTokenizer
from audiolm.stages import Stage

__all__ = [
    "choose_device",
    "example_prompt",
    "find",
    "load",
    "load_part",
    "push",
    "save",
    "save_part",
]

BUNDLED = Path(__file__).parent / "models"
"""The models inside the package, a folder each."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_FILES = ["*.json", "*.safetensors", "*.md", "prompt.*"]


def load(name_or_path: str | Path = "speech", device: torch.device | str = "auto") -> AudioLM:
    """Load a model, every file of it verified.

    Args:
        name_or_path: a bundled model, a folder, or `owner/name` on the hub.
        device: auto (CUDA, else MPS, else CPU), cpu, cuda or mps.

    Raises:
        ModelFolderError: when there is no such model, or a part of it is missing, truncated,
            altered, or belongs to another model.
        ConfigurationError: when this machine has no such device.
    """
    target = choose_device(device)
    folder = find(name_or_path)
    manifest = read_manifest(folder)
    codec = load_part(folder, CODEC.name, target)
    semantic = load_part(folder, SEMANTIC.name, target)
    assert isinstance(codec, Codec)
    assert isinstance(semantic, SemanticTokenizer)
    stages: dict[str, Stage] = {}
    for kind, part in STAGES.items():
        if part.name in manifest.parts:
            stage = load_part(folder, part.name, target)
            assert isinstance(stage, Stage)
            stages[kind] = stage
    detector = load_part(folder, DETECTOR.name, target) if DETECTOR.name in manifest.parts else None
    assert detector is None or isinstance(detector, Detector)
    fingerprints = {name: entry.fingerprint for name, entry in manifest.parts.items()}
    try:
        return AudioLM(
            codec, semantic, stages, manifest.name, manifest.info, fingerprints, detector
        )
    except ModelFolderError as error:
        raise ModelFolderError(f"{folder}: {error}") from None


def save(lm: AudioLM, folder: str | Path, dtype: Dtype = "float16") -> None:
    """Write a model into a folder, whole or not at all; the same as `lm.save`.

    Raises:
        ModelFolderError: as `audiolm.model_io.folder.save_parts`.
    """
    lm.save(folder, dtype)


def find(name_or_path: str | Path) -> Path:
    """The folder of a model, fetched from the hub where it lies there.

    Raises:
        ModelFolderError: when there is no such model.
    """
    text = str(name_or_path)
    bundled = bundled_models()
    if text in bundled:
        return BUNDLED / text
    if _exists(Path(text)):
        return Path(text)
    if isinstance(name_or_path, str) and _HUB_NAME.fullmatch(text):
        return _fetch(text)
    names = ", ".join(bundled) or "none"
    raise ModelFolderError(
        f"{text}: there is no such model; give a folder, owner/name on the hub, "
        f"or a bundled name ({names})"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # the name is too long, or is none
        return False


def bundled_models() -> list[str]:
    """Names of the models inside the package."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{MANIFEST}"))


def example_prompt() -> Path:
    """A recording inside the package, to try a continuation with.

    Raises:
        ModelFolderError: when the package was installed without its models.
    """
    for suffix in ("wav", "flac"):
        path = BUNDLED / "speech" / f"prompt.{suffix}"
        if path.is_file():
            return path
    raise ModelFolderError(f"{BUNDLED / 'speech'}: holds no prompt; install audiolm again")


def push(folder: str | Path, repository: str) -> None:
    """Put a model folder on the hub as `owner/name`; needs a token of the hub on this machine.

    Raises:
        ModelFolderError: when the folder is no whole model, or the hub refuses.
    """
    folder = Path(folder)
    for name in read_manifest(folder).parts:
        load_part(folder, name)  # what goes out has been verified
    hub = _hub()
    try:
        hub.create_repo(repository, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=_HUB_FILES)
    except Exception as error:  # huggingface_hub raises errors of several libraries
        raise _hub_trouble(repository, error) from error


def _fetch(repository: str) -> Path:
    hub = _hub()
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=_HUB_FILES))
    except Exception as error:  # huggingface_hub raises errors of several libraries
        raise _hub_trouble(repository, error) from error


def _hub_trouble(repository: str, error: Exception) -> ModelFolderError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelFolderError(
        f"{repository}: the hub says: {reason}; check the name and your network"
    )


def _hub() -> ModuleType:
    try:
        return import_module("huggingface_hub")
    except ImportError:
        raise ModelFolderError(
            "hub: huggingface_hub is not installed; install it with: pip install audiolm[hub]"
        ) from None
