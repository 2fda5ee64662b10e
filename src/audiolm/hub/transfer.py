"""Fetching models from the hub, and putting them there.

huggingface_hub does the work: its cache, its tokens (`hf auth login`, `HF_TOKEN`) and its switches
(`HF_ENDPOINT`, `HF_HUB_OFFLINE`) count here, too.
"""

import json
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from audiolm.errors import ModelFolderError
from audiolm.hub.card import Measured, card
from audiolm.model_io.folder import load_part
from audiolm.model_io.manifest import MANIFEST, Manifest, read_manifest

CARD = "MODEL_CARD.md"
"""What people read of a model folder; on the hub, README.md, with YAML in front."""

_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@([\w./-]+))?")
_FILES = ["*.json", "*.safetensors", "*.md", "prompt.*"]


def is_hub_name(text: str) -> bool:
    """Whether this can be a model on the hub: `owner/name`, or `owner/name@revision`."""
    return _NAME.fullmatch(text) is not None


def fetch(
    name: str,
    revision: str | None = None,
    token: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """The folder of a model of the hub on this machine, brought here where it is not yet.

    Args:
        name: `owner/name`, or `owner/name@revision`.
        revision: a branch, a tag or a commit; the newest when None.
        token: of the hub, for a private model; the one of this machine when None.
        local_files_only: ask no server; take what was fetched before.

    Raises:
        ModelFolderError: there is no such model or revision, it is not for everybody, or the hub
            does not answer and the model is not on this machine.
    """
    repository, named = _split(name)
    if revision is not None and named not in (None, revision):
        raise ModelFolderError(f"{name}: revision {revision} is asked for, too; name one of them")
    revision = revision or named
    hub = _hub()
    try:
        return Path(
            hub.snapshot_download(
                repository,
                revision=revision,
                token=token,
                local_files_only=local_files_only,
                allow_patterns=_FILES,
            )
        )
    except Exception as error:  # huggingface_hub raises errors of several libraries
        raise _trouble(repository, error, revision, local_files_only) from error


def push(
    folder: str | Path,
    repository: str,
    *,
    token: str | None = None,
    private: bool | None = None,
    text: str | None = None,
    measured: Sequence[Measured] = (),
) -> str:
    """Put a model folder on the hub, in one commit; what is there and is no part of it stays.

    Every part is verified first. The folder itself is only read.

    Args:
        folder: a whole model.
        repository: `owner/name`, made where there is none.
        token: of the hub, that may write; the one of this machine when None.
        private: whether a new repository is; as the owner has set it when None.
        text: Markdown of the card; the folder's MODEL_CARD.md when None.
        measured: metrics for the card.

    Returns:
        The address of the commit.

    Raises:
        ModelFolderError: the folder is no whole model, the name cannot be, or the hub refuses.
    """
    folder = Path(folder)
    name, revision = _split(repository)
    if revision is not None:
        raise ModelFolderError(f"{repository}: a model is put on the main branch; leave @ out")
    files = model_files(folder, text, measured)
    hub = _hub()
    try:
        api = hub.HfApi(token=token)
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.create_commit(
            name,
            [hub.CommitOperationAdd(path, content) for path, content in files.items()],
            commit_message=f"audiolm: {read_manifest(folder).name}",
        )
    except Exception as error:  # as above
        raise _trouble(name, error) from error
    return str(commit.commit_url)


def model_files(
    folder: Path, text: str | None = None, measured: Sequence[Measured] = ()
) -> dict[str, bytes | str]:
    """What goes to the hub, by name: bytes, or the path of a file that goes as it is.

    Raises:
        ModelFolderError: the folder is no whole model.
    """
    manifest = read_manifest(folder)
    for part in manifest.parts:
        load_part(folder, part)  # what goes out has been verified
    if text is None:
        path = folder / CARD
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    kept = [folder / MANIFEST, *(folder / entry.file for entry in manifest.parts.values())]
    kept += sorted(folder.glob("prompt.*"))
    return {
        "README.md": card(manifest, text, measured).encode(),
        "config.json": (json.dumps(_config(manifest), indent=1) + "\n").encode(),
        **{path.name: str(path) for path in kept},
    }


def _config(manifest: Manifest) -> dict[str, Any]:
    """config.json: the hub counts a download when this is fetched; nothing is read from it."""
    return {
        "model_type": "audiolm",
        "format_version": manifest.format_version,
        "sample_rate": manifest.sample_rate,
        "parts": {name: entry.kind for name, entry in manifest.parts.items()},
    }


def _split(name: str) -> tuple[str, str | None]:
    found = _NAME.fullmatch(name)
    if found is None:
        raise ModelFolderError(f"{name}: is no name on the hub; give owner/name")
    return found[1], found[2]


def _trouble(
    repository: str, error: Exception, revision: str | None = None, local: bool = False
) -> ModelFolderError:
    """What the hub says, in one line with a remedy; kinds of trouble by huggingface_hub's names."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if local or "OfflineModeIsEnabled" in kinds:
        wanted = f" at revision {revision}" if revision else ""
        return ModelFolderError(
            f"{repository}: is not on this machine{wanted}, and no server is to be asked; load it "
            "once without local_files_only and HF_HUB_OFFLINE"
        )
    if "GatedRepoError" in kinds:
        return ModelFolderError(
            f"{repository}: its owner wants to be asked; do so on its page, and give a token"
        )
    if "RevisionNotFoundError" in kinds:
        return ModelFolderError(
            f"{repository}: has no revision {revision}; name a branch, a tag or a commit"
        )
    if "RepositoryNotFoundError" in kinds:
        return ModelFolderError(
            f"{repository}: the hub shows no such model; check the name, and for a private one "
            "give a token (token=…, HF_TOKEN, or hf auth login)"
        )
    # The first line of an error of theirs ends with an id of the request, which helps nobody.
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" (Request")[0]
    return ModelFolderError(
        f"{repository}: the hub says: {reason}; check the name, your token and your network"
    )


def _hub() -> ModuleType:
    try:
        return import_module("huggingface_hub")
    except ImportError:
        raise ModelFolderError(
            "hub: huggingface_hub is not installed; install it with: pip install audiolm[hub]"
        ) from None
