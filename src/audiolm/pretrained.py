"""Find a model by its name, load it whole, save it.

A name is one of the models inside the package, a folder, or `owner/name` on the Hugging Face hub,
tried in this order; write `./speech` for a folder that is called like a bundled model.
"""

from pathlib import Path

import torch

from audiolm.codec.contract import Codec
from audiolm.device import choose_device
from audiolm.errors import ModelFolderError
from audiolm.hub import fetch, is_hub_name
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
    "save",
    "save_part",
]

BUNDLED = Path(__file__).parent / "models"
"""The models inside the package, a folder each."""


def load(
    name_or_path: str | Path = "speech",
    device: torch.device | str = "auto",
    *,
    revision: str | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> AudioLM:
    """Load a model, every file of it verified.

    Args:
        name_or_path: a bundled model, a folder, or `owner/name` on the hub, also with a revision:
            `owner/name@revision`.
        device: auto (CUDA, else MPS, else CPU), cpu, cuda or mps.
        revision: of a model on the hub: a branch, a tag or a commit; the newest when None.
        token: of the hub, for a private model; the one of this machine when None.
        local_files_only: ask no server; take what was fetched from the hub before.

    Raises:
        ModelFolderError: when there is no such model, or a part of it is missing, truncated,
            altered, or belongs to another model; or a revision is asked of one that has none.
        ConfigurationError: when this machine has no such device.
    """
    target = choose_device(device)
    folder = find(name_or_path, revision, token, local_files_only)
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


def find(
    name_or_path: str | Path,
    revision: str | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder of a model, fetched from the hub where it lies there; arguments as of `load`.

    Raises:
        ModelFolderError: when there is no such model, or it is on this machine and has no such
            thing as a revision.
    """
    text = str(name_or_path)
    bundled = bundled_models()
    folder = BUNDLED / text if text in bundled else Path(text)
    if _exists(folder):
        if revision is not None:
            raise ModelFolderError(
                f"{folder}: lies on this machine and has no revision {revision}; leave it out"
            )
        return folder
    if isinstance(name_or_path, str) and is_hub_name(text):
        return fetch(text, revision, token, local_files_only)
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


def example_prompt(model: str = "speech") -> Path:
    """A recording inside the package, to try a continuation with.

    Args:
        model: a bundled one, whose kind of sound it is.

    Raises:
        ModelFolderError: there is no such model in the package, or it was installed without.
    """
    for suffix in ("wav", "flac"):
        path = BUNDLED / model / f"prompt.{suffix}"
        if path.is_file():
            return path
    known = bundled_models()
    if known and model not in known:
        raise ModelFolderError(f"example_prompt: no bundled model {model}; use {', '.join(known)}")
    raise ModelFolderError(f"{BUNDLED / model}: holds no prompt; install audiolm again")
