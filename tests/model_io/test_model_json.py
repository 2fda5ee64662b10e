"""model.json: what is written is read back, and what is not ours is refused."""

import json
from pathlib import Path

import pytest

from audiolm.errors import ModelFolderError
from audiolm.model_io.manifest import (
    Manifest,
    ModelInfo,
    PartEntry,
    model_fingerprint,
    read_manifest,
    write_manifest,
)

CODEC = PartEntry(
    file="codec.safetensors", fingerprint="c0dec", kind="spectral", config={"width": 16}, bytes=99
)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with the manifest of a model that has a codec."""
    write_manifest(tmp_path, Manifest(name="tiny", licence="CC0", parts={"codec": CODEC}))
    return tmp_path


def change(folder: Path, **values) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# ---- round trips ---------------------------------------------------------------------------------


def test_what_is_written_is_read_back(folder):
    manifest = read_manifest(folder)
    assert manifest == Manifest(name="tiny", licence="CC0", parts={"codec": CODEC})
    assert manifest.info == ModelInfo(licence="CC0")
    assert [path.name for path in folder.iterdir()] == ["model.json"]


def test_the_fingerprint_of_a_model_is_that_of_its_parts_in_any_order():
    prints = {"codec": "a", "semantic": "b"}
    assert model_fingerprint(prints) == model_fingerprint(dict(reversed(prints.items())))
    assert model_fingerprint(prints) != model_fingerprint({"codec": "b", "semantic": "a"})


# ---- what is refused when read -------------------------------------------------------------------


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(ModelFolderError, match=r"not a model folder, it has no model\.json"):
        read_manifest(tmp_path)


def test_a_manifest_that_is_no_json(folder):
    (folder / "model.json").write_text('{"format_version": 1, ')
    with pytest.raises(ModelFolderError, match=r"model\.json: cannot be read"):
        read_manifest(folder)


def test_a_newer_format_names_both_versions_and_the_remedy(folder):
    change(folder, format_version=7)
    with pytest.raises(ModelFolderError, match=r"format_version 7 is newer than 1.*pip install -U"):
        read_manifest(folder)


def test_an_unknown_key_in_the_manifest(folder):
    change(folder, licens="MIT")
    with pytest.raises(ModelFolderError, match="unknown key licens; did you mean licence"):
        read_manifest(folder)


def test_a_part_outside_the_folder_is_refused(folder):
    parts = json.loads((folder / "model.json").read_text())["parts"]
    parts["codec"]["file"] = "../codec.safetensors"
    change(folder, parts=parts)
    with pytest.raises(ModelFolderError, match=r"parts\.codec\.file"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        ({"crude": {"temperature": 1.0}}, "stage 'crude': is no kind of stage; use semantic"),
        ({"coarse": {"temperature": -1.0}}, r"sampling\.coarse: temperature"),
        ({"coarse": {"temprature": 1.0}}, "did you mean temperature"),
    ],
)
def test_sampling_that_cannot_be_is_refused(folder, sampling, says):
    change(folder, sampling=sampling)
    with pytest.raises(ModelFolderError, match=rf"model\.json: .*{says}"):
        read_manifest(folder)
