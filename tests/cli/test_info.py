"""`audiolm info`."""

from audiolm.pretrained import load
from tiny import tiny_model


def test_info_as_json(audiolm, model):
    answer = audiolm("info", model, "--json")
    assert answer.code == 0
    report, lm = answer.json, load(model)
    assert report["name"] == "tiny"
    assert report["fingerprint"] == lm.fingerprint
    assert set(report["parts"]) == set(lm.parts)
    for name, part in lm.parts.items():
        said = report["parts"][name]
        assert said["fingerprint"] == part.fingerprint()
        weights = part.state_dict().values()
        assert said["parameters"] == sum(t.numel() for t in weights if t.is_floating_point())
        assert said["bytes"] == (model / f"{name}.safetensors").stat().st_size


def test_info_for_people(audiolm, tmp_path):
    lm = tiny_model()
    lm.info = lm.info.model_copy(
        update={"licence": "CC0-1.0", "preset": {"name": "small"}, "data": {"hours": 8.9}}
    )
    lm.save(tmp_path / "mine")
    answer = audiolm("info", "--model", tmp_path / "mine")
    assert answer.code == 0
    for word in ("CC0-1.0", "small", "hours 8.9", lm.fingerprint, "stage_fine", "spectral"):
        assert word in answer.out
    assert answer.err == ""
