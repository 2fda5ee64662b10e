"""A trained model in the package: parts and what is said of them, and nothing else."""

import json

import pytest

import audiolm
from audiolm.parts import PARTS
from tiny import tiny_model


@pytest.fixture(scope="module")
def script(load_script):
    return load_script("bundle")


def test_parts_and_words_come_along_and_training_does_not(script, tmp_path, monkeypatch, capsys):
    run, models = tmp_path / "run", tmp_path / "models"
    tiny_model().save(run)
    (run / "training").mkdir()
    (models / "speech").mkdir(parents=True)
    (models / "speech" / "MODEL_CARD.md").write_text("by hand")
    monkeypatch.setattr(script, "MODELS", models)
    script.main([str(run), "speech"])
    bundled = audiolm.load(models / "speech")
    assert bundled.fingerprints == audiolm.load(run).fingerprints
    assert capsys.readouterr().out.strip().endswith(bundled.fingerprint)
    content = json.loads((models / "speech" / "model.json").read_text())
    assert (content["name"], content["licence"]) == ("speech", "CC BY 4.0")
    assert (models / "speech" / "MODEL_CARD.md").read_text() == "by hand"
    assert not (models / "speech" / "training").exists()


def test_what_the_new_model_lacks_goes(script, tmp_path, monkeypatch):
    models = tmp_path / "models"
    monkeypatch.setattr(script, "MODELS", models)
    for kinds in (("semantic", "coarse", "fine"), ("semantic", "coarse")):
        tiny_model(kinds=kinds).save(tmp_path / "run")
        script.main([str(tmp_path / "run"), "speech"])
    assert set(audiolm.load(models / "speech").stages) == {"semantic", "coarse"}
    assert not (models / "speech" / "stage_fine.safetensors").exists()


def test_one_part_alone_changes_nothing_else(script, tmp_path, monkeypatch):
    models = tmp_path / "models"
    monkeypatch.setattr(script, "MODELS", models)
    tiny_model().save(tmp_path / "run")
    script.main([str(tmp_path / "run"), "speech"])
    before = json.loads((models / "speech" / "model.json").read_text())
    tiny_model(seed=1).save(tmp_path / "other")
    other = audiolm.load(tmp_path / "other")
    script.main([str(tmp_path / "other"), "speech", "--only", "stage_semantic"])
    after = json.loads((models / "speech" / "model.json").read_text())
    assert (
        after["parts"].pop("stage_semantic")["fingerprint"]
        == (other.fingerprints["stage_semantic"])
    )
    before["parts"].pop("stage_semantic")
    assert after == before


def test_every_part_of_a_model_has_its_place(script, tmp_path, monkeypatch):
    assert set(script.ORDER) == set(PARTS)
