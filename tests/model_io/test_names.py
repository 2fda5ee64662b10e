"""Names that would become paths: what is no part of a model is refused where read and written."""

import json
import os
from pathlib import Path

import pytest

from audiolm.errors import ModelFolderError
from audiolm.model_io.folder import load_part, save_part
from audiolm.model_io.manifest import read_manifest
from audiolm.parts import PARTS, part_kind, stage_part
from audiolm.pretrained import load
from tiny import tiny_model

BAD_NAMES = [
    "../victim/stage_coarse",
    "/tmp/stage_coarse",
    "stage_../stage_coarse",
    "stage_coarse/../../stage_coarse",
    "stage_coarse\\..\\x",
    "stage_unheard_of",
    "Codec",
    "codec ",
    "",
    ".",
    "stage_",
    "stage_coarse\n",
]


@pytest.fixture(scope="module")
def lm():
    return tiny_model()


@pytest.fixture
def folder(lm, tmp_path) -> Path:
    lm.save(tmp_path / "model")
    return tmp_path / "model"


def edit(folder, change):
    """Let `change` alter the manifest's data in place."""
    path = folder / "model.json"
    data = json.loads(path.read_text())
    change(data["parts"])
    path.write_text(json.dumps(data))


def test_the_table_holds_the_parts_of_the_format():
    stages = ["stage_semantic", "stage_coarse", "stage_fine", "stage_acoustic_only"]
    stages.append("stage_parallel")
    assert list(PARTS) == ["codec", "semantic", *stages, "detector"]
    assert all(part.file == f"{name}.safetensors" for name, part in PARTS.items())
    assert stage_part("coarse") is part_kind("stage_coarse")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_no_part_is_refused_when_read(folder, name):
    edit(folder, lambda parts: parts.update({name: parts["stage_coarse"]}))
    for call in (read_manifest, load, lambda path: load_part(path, name)):
        with pytest.raises(ModelFolderError, match="a model holds no such part") as error:
            call(folder)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_no_part_is_refused_when_written(lm, tmp_path, name):
    (tmp_path / "victim").mkdir()
    with pytest.raises(ModelFolderError, match="a model holds no such part"):
        save_part(tmp_path / "model", name, lm.stages["coarse"])
    assert [path.name for path in tmp_path.rglob("*")] == ["victim"]


@pytest.mark.parametrize(
    "file",
    ["../stage_coarse.safetensors", "/x.safetensors", "a/b.safetensors", "..safetensors",
     ".x.safetensors", "x.bin", "x.safetensors\n", "a\\b.safetensors", "..\\x.safetensors"],
)  # fmt: skip
def test_a_file_that_is_no_plain_name_is_refused(folder, file):
    edit(folder, lambda parts: parts["stage_coarse"].update(file=file))
    with pytest.raises(ModelFolderError, match=r"parts\.stage_coarse\.file"):
        read_manifest(folder)


def test_a_part_of_another_kind_is_refused_when_written(lm, tmp_path):
    for name, part in (
        ("stage_coarse", lm.stages["fine"]),
        ("codec", lm.semantic),
        ("stage_fine", lm.codec),
    ):
        with pytest.raises(ModelFolderError, match=f"^{name}: .*under its own name"):
            save_part(tmp_path / "model", name, part)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("change", [{"kind": "fine"}, {"kind": "guess"}, {"config": {}}])
def test_a_stage_of_a_kind_that_cannot_be_is_refused_when_read(folder, change):
    edit(folder, lambda parts: parts["stage_coarse"].update(change))
    with pytest.raises(ModelFolderError, match=r"stage_coarse: is a stage of kind .*, not coarse"):
        read_manifest(folder)


def test_a_layout_that_cannot_be_is_refused_when_read(folder):
    edit(folder, lambda parts: parts["stage_coarse"]["config"]["layout"].update(kind="fine"))
    with pytest.raises(ModelFolderError, match="stage_coarse: is a stage of kind fine, not coarse"):
        read_manifest(folder)


# ---- links ---------------------------------------------------------------------------------------


def test_a_link_out_of_the_folder_is_not_read(folder, tmp_path):
    (folder / "codec.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (folder / "codec.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ModelFolderError, match=r"codec\.safetensors: is a link out of the model"):
        load_part(folder, "codec")


def test_writing_replaces_a_link_and_not_what_it_leads_to(lm, folder, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("codec.safetensors", "model.json"):
        original = (folder / name).read_bytes()
        (folder / name).unlink()
        if name == "model.json":
            victim.write_bytes(original)
        (folder / name).symlink_to(victim)
        before = victim.read_bytes()
        save_part(folder, "codec", lm.codec)
        assert victim.read_bytes() == before
        assert not (folder / name).is_symlink()
    assert load_part(folder, "codec").fingerprint() == lm.codec.fingerprint()


def test_a_lock_that_is_a_link_is_not_followed(lm, folder, tmp_path):
    (folder / ".model.json.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(ModelFolderError, match="cannot be written"):
        save_part(folder, "codec", lm.codec)
    assert not (tmp_path / "victim").exists()


def test_links_inside_the_folder_and_of_the_hubs_store_are_read(lm, folder, tmp_path):
    (folder / "codec.safetensors").rename(folder / "weights")
    (folder / "codec.safetensors").symlink_to("weights")
    assert load_part(folder, "codec").fingerprint() == lm.codec.fingerprint()
    # As huggingface_hub lays a model out.
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b/snapshots/c0"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    lm.save(tmp_path / "plain")
    for path in (tmp_path / "plain").iterdir():
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(os.path.relpath(blobs / path.name, snapshot))
    assert load(snapshot).fingerprint == lm.fingerprint
