"""Names of models, and loading one whole; tests/hub has the hub."""

import json
from pathlib import Path

import pytest

from audiolm import pretrained
from audiolm.errors import ConfigurationError, ModelFolderError
from audiolm.model_io.manifest import ModelInfo
from tiny import noise, tiny_model


@pytest.fixture(scope="module")
def lm():
    model = tiny_model()
    model.info = ModelInfo(licence="CC0", sampling={"coarse": {"temperature": 0.7}})
    return model


@pytest.fixture
def folder(lm, tmp_path) -> Path:
    pretrained.save(lm, tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_is_loaded_whole(lm, folder):
    loaded = pretrained.load(folder, "cpu")
    assert (loaded.name, loaded.info, loaded.fingerprint) == (lm.name, lm.info, lm.fingerprint)
    assert set(loaded.parts) == set(lm.parts)
    a, b = (model.continuation(noise(1.0), 0.5).samples for model in (lm, loaded))
    assert (a == b).all()


def test_loading_and_saving_again_changes_nothing(folder, tmp_path):
    pretrained.load(str(folder), "cpu").save(tmp_path / "again")
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_bundled_name_comes_before_a_folder_of_the_same_name(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "BUNDLED", tmp_path)
    monkeypatch.chdir(tmp_path / "model")
    (tmp_path / "model" / "model").mkdir()
    assert pretrained.bundled_models() == ["model"]
    assert pretrained.find("model") == tmp_path / "model"
    assert pretrained.find("./model").resolve() == tmp_path / "model" / "model"
    assert pretrained.load("model").name == "tiny"


def test_an_unknown_name_says_what_there_is(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(pretrained, "BUNDLED", tmp_path)
    for name in ("speach", "/no/such/folder", Path("owner/name"), "a" * 300, "a\0b"):
        with pytest.raises(
            ModelFolderError, match=r"there is no such model.*bundled name \(model\)"
        ):
            pretrained.load(name)


def test_an_unfinished_model_says_which_part_it_lacks(folder):
    path = folder / "model.json"
    data = json.loads(path.read_text())
    del data["parts"]["semantic"]
    path.write_text(json.dumps(data))
    with pytest.raises(ModelFolderError, match=r"no part semantic .*train it with"):
        pretrained.load(folder)


def test_parts_of_two_models_are_refused_with_both_fingerprints(lm, folder):
    other = tiny_model(seed=1).codec
    pretrained.save_part(folder, "codec", other)
    with pytest.raises(ModelFolderError) as error:
        pretrained.load(folder)
    for word in (str(folder), lm.codec.fingerprint(), other.fingerprint()):
        assert word in str(error.value)


def test_an_unknown_device_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigurationError, match="device"):
        pretrained.load(tmp_path / "nothing", device="gpu")


def test_the_example_prompt_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "BUNDLED", tmp_path)
    with pytest.raises(ModelFolderError, match="holds no prompt"):
        pretrained.example_prompt()
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech" / "prompt.flac").touch()
    assert pretrained.example_prompt() == tmp_path / "speech" / "prompt.flac"


def test_every_bundled_model_brings_a_prompt_of_its_own():
    for name in pretrained.bundled_models():
        assert pretrained.example_prompt(name).parent.name == name
    with pytest.raises(ModelFolderError, match=r"no bundled model ocarina; use .*speech"):
        pretrained.example_prompt("ocarina")


def test_what_lies_on_this_machine_has_no_revision(folder):
    with pytest.raises(ModelFolderError, match=r"model: lies on this machine .* no revision v1"):
        pretrained.load(folder, revision="v1")
