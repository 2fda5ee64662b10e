"""A model folder: one safetensors file per part, each entered in model.json.

Parts are written one by one, as training finishes them, or all at once. Reading trusts nothing: a
file that is missing, truncated or altered is named, with what was expected and what was found.
Weights lie in safetensors files and settings in JSON; nothing in a model folder is a pickle.
"""

import shutil
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from audiolm.atomic import replacing
from audiolm.configuration import parse
from audiolm.device import torch_defaults
from audiolm.errors import AudioLMError, ModelFolderError
from audiolm.int8 import from_int8, is_matrix, to_int8
from audiolm.locking import locked
from audiolm.model_io.compatibility import renamed
from audiolm.model_io.manifest import MANIFEST, Manifest, PartEntry, read_manifest, write_manifest
from audiolm.part import Dtype, Part, element_type, fingerprint
from audiolm.parts import part_kind

_FLOATS = {"F16", "BF16", "F32", "F64"}
_SCALES = ".int8_scales"
"""Behind the name of a matrix in eight bits, the name of its rows' scales."""

LOCK = ".model.json.lock"
"""Lies in a model folder while somebody writes there."""


def load_part(folder: str | Path, name: str, device: torch.device | str = "cpu") -> Part:
    """Load one part (`codec`, `semantic`, `stage_coarse`, …) in float32, ready for inference.

    Raises:
        ModelFolderError: when there is no such part, it is not listed, or its file is missing,
            truncated, altered or a link out of the folder.
    """
    folder, kind = Path(folder), part_kind(name)
    manifest = read_manifest(folder)
    if name not in manifest.parts:
        listed = ", ".join(manifest.parts) or "none"
        raise ModelFolderError(
            f"{folder}: the model has no part {name} (it has: {listed}); "
            f"train it with: audiolm train … --only {name}"
        )
    entry = manifest.parts[name]
    where = f"{folder / MANIFEST}: parts.{name}.config"
    # The global generator is put back: building a network draws first weights that are thrown away.
    # Outside the caller's inference mode: a part that is loaded can be trained.
    try:
        with torch.inference_mode(False), torch_defaults(torch.device(device)):
            weights = _read_weights(folder / entry.file, entry)
            with torch.random.fork_rng(devices=[]):
                part = kind.build(entry.config, where)
            part.load_state_dict(renamed(weights), assign=True)
            return part.to(device).eval()
    except ModelFolderError:
        raise
    except (AudioLMError, RuntimeError) as error:
        raise ModelFolderError(
            f"{folder / entry.file}: does not fit the configuration of {name} in {MANIFEST} "
            f"({str(error).splitlines()[0]}); update audiolm or fetch the model again"
        ) from None


def save_part(
    folder: str | Path,
    name: str,
    part: Part,
    about: Mapping[str, Any] | None = None,
    dtype: Dtype = "float16",
) -> str:
    """Write one part into a model folder and enter it in model.json; returns its fingerprint.

    The part itself stays as it is. Its fingerprint is that of the weights as they are stored: a
    codec or tokenizer should be `rounded()` before it makes the tokens that a stage learns from.
    Several processes may save parts into one folder: they wait for each other.

    Args:
        folder: a model folder, or one that may become one.
        name: one of `audiolm.parts.PARTS`: `codec`, `semantic`, or `stage_` and the kind of stage.
        part: what to write.
        about: what model.json says beside its parts (`name` and the fields of `ModelInfo`); what is
            not given stays as it is.
        dtype: how the weights are stored.

    Raises:
        ModelFolderError: when there is no such part or `part` is another, the folder holds
            something else or cannot be written, or a weight is too large for `dtype`.
    """
    folder, kind = Path(folder), part_kind(name)
    network = kind.network(part)
    weights = _stored(name, part, dtype)
    config = part.config.model_dump(mode="json")
    path = folder / kind.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK):
            known = (folder / MANIFEST).exists()
            manifest = read_manifest(folder) if known else Manifest(name=folder.resolve().name)
            told = manifest.model_dump() | dict(about or {})
            manifest = parse(Manifest, told, f"{folder / MANIFEST}")  # refused before any writing
            entry = PartEntry(
                file=path.name,
                fingerprint=fingerprint(config, _restored(weights)),
                kind=network,
                config=config,
                bytes=_write_weights(path, weights),
            )
            manifest.parts[name] = entry
            write_manifest(folder, manifest)
    except (OSError, SafetensorError) as error:
        raise ModelFolderError(
            f"{path}: cannot be written ({error}); make room or permit it"
        ) from None
    return entry.fingerprint


def save_parts(
    folder: str | Path,
    parts: Mapping[str, Part],
    about: Mapping[str, Any] | None = None,
    dtype: Dtype = "float16",
) -> None:
    """Write a whole model: beside `folder` first, then in its place, so that it is all or nothing.

    A model that is there already is replaced; other files in its folder stay.

    Raises:
        ModelFolderError: as `save_part`; also when rounding to `dtype` would change a codec or a
            tokenizer that the stages were trained on, or `folder` holds something else.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ModelFolderError(f"{folder}: is a file; name a folder for the model")
    ours = (folder / MANIFEST).exists()
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise ModelFolderError(
            f"{folder}: is not empty and not a model (no {MANIFEST}); name a new or empty folder"
        )
    replaced = (
        {MANIFEST} | {e.file for e in read_manifest(folder).parts.values()} if ours else set()
    )
    here = folder.resolve()
    about = {"name": here.name, **(about or {})}
    mark = uuid.uuid4().hex[:8]
    draft, old = (here.with_name(f".{here.name}.{mark}.{suffix}") for suffix in ("part", "old"))
    try:
        fingerprints = {
            name: save_part(draft, name, part, about, dtype) for name, part in parts.items()
        }
        _refuse_orphans(parts, fingerprints, dtype)
        with locked(here / LOCK) if here.exists() else nullcontext():
            if here.exists():
                here.rename(old)
            draft.rename(here)
            if old.exists():
                for path in old.iterdir():
                    if path.name not in replaced and not (here / path.name).exists():
                        path.rename(here / path.name)
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if old.exists() and not here.exists():
            old.rename(here)
        raise ModelFolderError(f"{folder}: cannot be written ({error}); choose another") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def count_parameters(folder: Path, entry: PartEntry) -> int:
    """Numbers in a part's floating-point weights, from the file's header alone.

    Raises:
        ModelFolderError: when the file is missing or truncated.
    """
    path = _whole_file(folder / entry.file, entry)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            return sum(
                prod(held.get_shape())
                for key, held in slices.items()
                if not key.endswith(_SCALES)
                and (held.get_dtype() in _FLOATS or key + _SCALES in slices)
            )
    except SafetensorError as error:
        raise _altered(path, str(error)) from None


def _read_weights(path: Path, entry: PartEntry) -> dict[str, Tensor]:
    _whole_file(path, entry)
    try:
        stored: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise _altered(path, str(error)) from None
    weights = _restored(stored)
    # Over the configuration as it is written, not as this version would complete it: settings that
    # a later version adds do not make older models look altered.
    found = fingerprint(entry.config, weights)
    if found != entry.fingerprint:
        raise _altered(path, f"fingerprint {found}, expected {entry.fingerprint}")
    return weights


def _restored(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they compute, float32, from what lies on disk."""
    weights = {}
    for key, tensor in stored.items():
        if key.endswith(_SCALES):
            continue
        if key + _SCALES in stored:
            tensor = from_int8(tensor, stored[key + _SCALES])
        weights[key] = tensor.float() if tensor.is_floating_point() else tensor
    return weights


def _whole_file(path: Path, entry: PartEntry) -> Path:
    _refuse_link_outside(path)
    if not path.is_file():
        raise ModelFolderError(
            f"{path}: is missing though {MANIFEST} lists it; fetch the model again"
        )
    size = path.stat().st_size
    if entry.bytes is not None and size != entry.bytes:
        state = "truncated" if size < entry.bytes else "altered"
        raise ModelFolderError(
            f"{path}: is {state}, {size} bytes, expected {entry.bytes}; fetch the model again"
        )
    return path


def _refuse_link_outside(path: Path) -> None:
    """Refuse a file that is a link to somewhere else; the hub's own store of a model is no such."""
    folder, target = path.parent.resolve(), path.resolve()
    allowed = [folder]
    if folder.parent.name == "snapshots":  # huggingface_hub: snapshots/COMMIT/FILE -> blobs/HASH
        allowed.append(folder.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise ModelFolderError(
            f"{path}: is a link out of the model folder, to {target}; put the file itself there"
        )


def _altered(path: Path, found: str) -> ModelFolderError:
    return ModelFolderError(f"{path}: was altered ({found}); fetch the model again")


def _refuse_orphans(parts: Mapping[str, Part], stored: Mapping[str, str], dtype: Dtype) -> None:
    """Refuse to round a codec or tokenizer into one that its stages were not trained on."""
    for name, part in parts.items():
        for of in part_kind(name).ids_of:
            expected = getattr(part.config, f"{of}_fingerprint", "")
            if expected and expected != stored.get(of, expected):
                raise ModelFolderError(
                    f"{of}: rounded to {dtype} it is {stored[of]}, but {name} was trained on "
                    f"{expected}; save with dtype='float32'"
                )


def _write_weights(path: Path, weights: dict[str, Tensor]) -> int:
    """Write a safetensors file, whole or not at all; returns its size in bytes.

    What lies there before is replaced: a link too, and not what it leads to.
    """
    with replacing(path) as draft:
        draft.touch()
        mode = draft.stat().st_mode  # the user's; safetensors hides what it writes from others
        save_file(weights, draft, metadata={"format": "pt"})
        draft.chmod(mode)
        return draft.stat().st_size


def _stored(name: str, part: Part, dtype: Dtype) -> dict[str, Tensor]:
    """The part's weights as they will lie on disk: in `dtype`, smaller where nothing is lost."""
    weights: dict[str, Tensor] = {}
    parameters = {key for key, _ in part.named_parameters()}
    for key, tensor in part.state_dict().items():
        tensor = tensor.detach().cpu()
        if not tensor.is_floating_point():
            weights[key] = tensor.contiguous().clone()
            continue
        tensor = tensor.float()
        half = tensor.half()
        stored = tensor.to(element_type(dtype))
        if not bool(stored.isfinite().all()):
            raise ModelFolderError(
                f"{name}: {key} has values that are not finite as {dtype}; "
                "save with dtype='float32', or look at the training"
            )
        if is_matrix(tensor):
            integers, scales = to_int8(tensor)
            rounds = dtype == "int8" and key in parameters
            if rounds or torch.equal(from_int8(integers, scales), tensor):
                weights[key], weights[key + _SCALES] = integers, scales
                continue
        exact = torch.equal(half.float(), tensor)
        weights[key] = (half if exact else stored).contiguous().clone()
    return weights
