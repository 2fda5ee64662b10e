"""`audiolm push`, against a hub on this machine."""

import json

import pytest
import yaml
from stand_in import StandIn

from audiolm.cli.main import main
from audiolm.model_io.manifest import read_manifest
from tiny import tiny_model

NAME = "someone/tiny"


@pytest.fixture
def folder(tmp_path, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    tiny_model().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def report(tmp_path, folder):
    metric = {"value": 29.5, "low": 25.0, "high": 35.0, "count": 20, "unit": "%", "note": ""}
    content = {
        "format_version": 2,
        "model": {"fingerprint": read_manifest(folder).fingerprint},
        "data": "/home/me/dev",
        "experiments": {
            "content": {"title": "Words understood", "metrics": {"wer.codec": metric}},
            "speaker": {"title": "Whose voice", "state": "skipped"},
        },
    }
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text(json.dumps(content))
    return tmp_path / "report"


def test_push_says_where_it_is(hub: StandIn, folder, capsys):
    assert main(["push", str(folder), NAME]) == 0
    out = capsys.readouterr().out
    assert f"{hub.address}/{NAME}/commit/" in out
    assert f"--model {NAME}" in out
    assert main(["info", NAME, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["fingerprint"] == read_manifest(folder).fingerprint


def test_push_as_json(hub: StandIn, folder, capsys):
    assert main(["push", str(folder), NAME, "--private", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["repository"] == NAME
    assert hub.repositories[NAME].private


def test_metrics_of_a_report_go_into_the_card(hub: StandIn, folder, report):
    assert main(["push", str(folder), NAME, "--report", str(report), "--quiet"]) == 0
    text = hub.repositories[NAME].files["README.md"].decode()
    front = yaml.safe_load(text.split("---\n")[1])
    (result,) = front["model-index"][0]["results"]
    assert result["dataset"]["name"] == "dev"
    assert result["metrics"][0]["value"] == 29.5
    assert "/home/me" not in text


def test_a_report_of_another_model_is_refused(hub: StandIn, folder, report, tmp_path, capsys):
    tiny_model(seed=1).save(tmp_path / "other")
    assert main(["push", str(tmp_path / "other"), NAME, "--report", str(report)]) == 2
    assert "is of another model" in capsys.readouterr().err
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing-here", NAME], "there is no such model"),
        (["FOLDER", "tiny"], "tiny: is no name on the hub"),
        (["FOLDER", NAME, "--report", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(hub: StandIn, folder, capsys, arguments, says):
    words = [str(folder) if word == "FOLDER" else word for word in arguments]
    assert main(["push", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("audiolm: ")
    assert says in err
    assert err.count("\n") == 1
    assert hub.repositories == {}
