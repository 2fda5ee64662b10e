"""Model folders that earlier versions wrote: they load, and what is loaded can be saved again."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from audiolm.model_io.folder import load_part
from audiolm.model_io.manifest import read_manifest
from audiolm.part import fingerprint
from audiolm.pretrained import load
from tiny import noise, tiny_model

OLD_NAME, NEW_NAME = "transformer.companions.weight", "transformer.aligned.weight"


@pytest.fixture
def lm():
    return tiny_model(conditioning="aligned", look_ahead=1, remove_repeats=False)


@pytest.fixture
def old_folder(lm, tmp_path):
    """The model as an earlier version wrote it: another name, and its fingerprints over that."""
    folder = tmp_path / "old"
    lm.save(folder)
    data = json.loads((folder / "model.json").read_text())
    for name in ("stage_coarse", "stage_fine"):
        path, entry = folder / f"{name}.safetensors", data["parts"][name]
        weights = {OLD_NAME if k == NEW_NAME else k: v for k, v in load_file(path).items()}
        assert OLD_NAME in weights
        save_file(weights, path, metadata={"format": "pt"})
        entry["bytes"] = path.stat().st_size
        whole = {key: tensor.float() for key, tensor in weights.items()}
        entry["fingerprint"] = fingerprint(entry["config"], whole)
    (folder / "model.json").write_text(json.dumps(data))
    return folder


def test_an_old_folder_loads_and_sounds_the_same(lm, old_folder):
    # Without the mark, which tells the fingerprint: of names, too.
    models = (lm, load(old_folder))
    a, b = (model.continuation(noise(1.0), 0.5, seed=3, mark=False) for model in models)
    assert (a.samples == b.samples).all()


def test_what_is_loaded_from_it_can_be_saved_and_loads_again(lm, old_folder, tmp_path):
    loaded = load(old_folder)
    loaded.save(tmp_path / "new")
    again = load(tmp_path / "new")
    assert again.fingerprint == lm.fingerprint != loaded.fingerprint  # new names, new fingerprints
    for name, entry in read_manifest(tmp_path / "new").parts.items():
        assert entry.fingerprint == load_part(tmp_path / "new", name).fingerprint()
    a, b = (model.continuation(noise(1.0), 0.5, seed=3) for model in (lm, again))
    assert (a.samples == b.samples).all()


def test_it_can_be_saved_over_itself(lm, old_folder):
    load(old_folder).save(old_folder)
    assert load(old_folder).fingerprint == lm.fingerprint


@pytest.mark.parametrize("state", ["plain", "float64", "meta", "autocast", "inference"])
def test_loading_is_the_same_whatever_the_caller_has_set(lm, tmp_path, state):
    lm.save(tmp_path / "model")
    try:
        if state == "float64":
            torch.set_default_dtype(torch.float64)
        device = torch.device("meta" if state == "meta" else "cpu")
        autocast = torch.autocast("cpu", enabled=state == "autocast")
        with device, autocast, torch.inference_mode(state == "inference"):
            loaded = load(tmp_path / "model", "cpu")
    finally:
        torch.set_default_dtype(torch.float32)
    assert loaded.fingerprint == lm.fingerprint
    for part in loaded.parts.values():
        for tensor in (*part.parameters(), *part.buffers()):
            assert tensor.dtype in (torch.float32, torch.int64, torch.bool)
            assert tensor.device.type == "cpu" and not tensor.is_inference()
    a, b = (model.continuation(noise(1.0), 0.5, seed=3) for model in (lm, loaded))
    assert (a.samples == b.samples).all()
