"""A model goes to the hub and comes from it, over the hub's own protocol."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from stand_in import StandIn

import audiolm
from audiolm.errors import ModelFolderError
from audiolm.hub import is_hub_name, push
from audiolm.model_io.manifest import ModelInfo
from audiolm.pretrained import find, load
from tiny import noise, tiny_model

NAME = "someone/tiny"


@pytest.fixture(scope="module")
def lm():
    model = tiny_model()
    model.info = ModelInfo(licence="CC BY 4.0", data={"corpus": "noise", "folder": "/home/me"})
    return model


@pytest.fixture
def folder(lm, tmp_path) -> Path:
    lm.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_comes_back_as_it_went(hub: StandIn, lm, token):
    address = lm.push(NAME, token=token)
    assert address.startswith(f"{hub.address}/{NAME}/commit/")
    loaded = audiolm.load(NAME, "cpu")
    assert (loaded.name, loaded.fingerprint) == (lm.name, lm.fingerprint)
    a, b = (model.continuation(noise(1.0), 0.5).samples for model in (lm, loaded))
    assert (a == b).all()


def test_what_lies_on_the_hub(hub: StandIn, folder, token):
    (folder / "MODEL_CARD.md").write_text("# Tiny\n\nOf noise.\n")
    (folder / "notes.txt").write_text("mine")
    (folder / "training").mkdir()
    (folder / "training" / "log.json").write_text("{}")
    noise(0.5).write(folder / "prompt.wav")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    push(folder, NAME, token=token, private=True)
    repository = hub.repositories[NAME]
    parts = [f"{part}.safetensors" for part in tiny_model().parts]
    assert sorted(repository.files) == sorted(
        ["README.md", "config.json", "model.json", "prompt.wav", *parts]
    )
    assert repository.private
    assert repository.messages == ["audiolm: tiny"]
    for name in (*parts, "model.json", "prompt.wav"):
        assert repository.files[name] == (folder / name).read_bytes()
    weights = [(folder / part).read_bytes() for part in parts]
    assert set(weights) < set(hub.large.values())  # beside the commit: it has no room for them
    _, front, text = repository.files["README.md"].decode().split("---\n", 2)
    said = yaml.safe_load(front)
    assert (said["library_name"], said["license"]) == ("audiolm", "cc-by-4.0")
    assert text.strip() == "# Tiny\n\nOf noise."
    assert json.loads(repository.files["config.json"])["model_type"] == "audiolm"
    after = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before  # nothing of the user's was written to


def test_files_of_others_on_the_hub_stay(hub: StandIn, folder, token):
    push(folder, NAME, token=token)
    uploads = [asked for asked in hub.asked if asked.startswith("PUT")]
    repository = hub.repositories[NAME]
    repository.files["sample.wav"] = b"theirs"
    (folder / "MODEL_CARD.md").write_text("# Another card\n")
    push(folder, NAME, token=token)
    assert repository.files["sample.wav"] == b"theirs"
    assert b"# Another card" in repository.files["README.md"]
    assert uploads == [asked for asked in hub.asked if asked.startswith("PUT")]  # weights once


def test_the_download_is_one_that_the_hub_counts(hub: StandIn, folder, token):
    push(folder, NAME, token=token)
    hub.asked.clear()
    find(NAME)
    assert any(f"{NAME}/resolve/" in asked and "config.json" in asked for asked in hub.asked)


def test_a_revision_is_what_it_was(hub: StandIn, lm, token):
    lm.push(NAME, token=token)
    repository = hub.repositories[NAME]
    first = repository.refs["v1"] = repository.refs["main"]
    tiny_model(seed=1).push(NAME, token=token)
    assert load(NAME, "cpu").fingerprint != lm.fingerprint
    for asked in ({"revision": "v1"}, {"revision": first}):
        assert load(NAME, "cpu", **asked).fingerprint == lm.fingerprint
    assert load(f"{NAME}@v1", "cpu").fingerprint == lm.fingerprint
    with pytest.raises(ModelFolderError, match="someone/tiny: has no revision v2; name a branch"):
        load(NAME, "cpu", revision="v2")
    with pytest.raises(ModelFolderError, match="revision v2 is asked for, too"):
        load(f"{NAME}@v1", "cpu", revision="v2")


def test_a_private_model_wants_a_token(hub: StandIn, lm, token, monkeypatch):
    lm.push(NAME, token=token, private=True)
    with pytest.raises(ModelFolderError, match=r"shows no such model; .* give a token"):
        load(NAME, "cpu")
    assert load(NAME, "cpu", token=token).fingerprint == lm.fingerprint


def test_the_token_of_the_machine_is_taken(hub: StandIn, lm, token, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", token)
    lm.push(NAME, private=True)
    assert load(NAME, "cpu").fingerprint == lm.fingerprint


def test_what_was_fetched_needs_no_server(hub: StandIn, lm, token):
    with pytest.raises(ModelFolderError, match=r"not on this machine, and no server is to be"):
        load(NAME, "cpu", local_files_only=True)
    lm.push(NAME, token=token)
    load(NAME, "cpu")
    hub.asked.clear()
    assert load(NAME, "cpu", local_files_only=True).fingerprint == lm.fingerprint
    assert hub.asked == []
    hub.stop()
    assert load(NAME, "cpu").fingerprint == lm.fingerprint


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("someone/else", "someone/else: the hub shows no such model; check the name"),
        ("someone/gated", "someone/gated: its owner wants to be asked"),
    ],
)
def test_refusals_are_one_line(hub: StandIn, lm, token, name, says):
    lm.push("someone/gated", token=token)
    hub.repositories["someone/gated"].gated = True
    with pytest.raises(ModelFolderError) as error:
        load(name, "cpu")
    assert str(error.value).startswith(says)
    assert "\n" not in str(error.value)


def test_a_hub_that_does_not_answer_is_one_line(hub: StandIn, lm):
    hub.stop()
    for call in (lambda: load(NAME, "cpu"), lambda: lm.push(NAME, token="x")):
        with pytest.raises(
            ModelFolderError, match=r"^someone/tiny: the hub says: .*; check the"
        ) as e:
            call()
        assert "\n" not in str(e.value)


def test_what_was_altered_on_the_way_is_refused(hub: StandIn, lm, token):
    lm.push(NAME, token=token)
    files = hub.repositories[NAME].files
    weights = files["codec.safetensors"]
    files["codec.safetensors"] = weights[:-4] + b"\x01\x02\x03\x04"
    with pytest.raises(ModelFolderError, match=r"codec\.safetensors: was altered"):
        load(NAME, "cpu")
    del files["codec.safetensors"]
    files["README.md"] += b"\n"
    hub.repositories[NAME].refs["main"] = "f" * 40
    hub.repositories[NAME].commits["f" * 40] = files
    with pytest.raises(ModelFolderError, match=r"codec\.safetensors: is missing"):
        load(NAME, "cpu")


def test_no_half_of_a_model_goes_out(hub: StandIn, folder, token):
    (folder / "codec.safetensors").unlink()
    with pytest.raises(ModelFolderError, match="missing"):
        push(folder, NAME, token=token)
    assert hub.asked == []


def test_a_wrong_token_makes_no_repository(hub: StandIn, lm):
    with pytest.raises(ModelFolderError, match=r"^someone/tiny: the hub says: .*401"):
        lm.push(NAME, token="hf_wrong")
    assert hub.repositories == {}


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "/tiny", "../up", "someone/tiny@v1", ""])
def test_names_that_cannot_be(folder, name):
    with pytest.raises(ModelFolderError, match=f"^{name}: "):
        push(folder, name)
    assert not is_hub_name(name) or "@" in name


def test_without_the_extra_its_name_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelFolderError, match=r"pip install audiolm\[hub\]"):
        load(NAME)
