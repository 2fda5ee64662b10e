"""A trained model in the package: parts and what is said of them, and nothing else."""

import json

import pytest

import audiolm
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


def test_every_part_of_a_model_has_its_place(script, tmp_path, monkeypatch):
    kinds = ("semantic", "coarse", "fine", "acoustic_only")
    assert set(tiny_model(kinds=kinds).parts) <= set(script.ORDER)
