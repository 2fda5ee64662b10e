"""A run: what is finished stays, what cannot be done says so, and the report holds it all."""

import dataclasses
import json

import pytest

from audiolm.errors import AudioLMError, ConfigurationError, CorpusError
from audiolm.evaluation import requirements
from audiolm.evaluation import run as running
from audiolm.evaluation.metrics.statistics import Metric
from audiolm.evaluation.options import EvaluationConfig
from audiolm.evaluation.report.results import ExperimentResult, Table
from audiolm.evaluation.requirements import Skipped
from audiolm.evaluation.run import Evaluation, run
from audiolm.evaluation.tables.registry import EXPERIMENTS, Experiment
from tiny import tiny_model

MODEL = tiny_model(kinds=("semantic",))


class Bench:
    """Parts that do what the test says, under the names of real ones."""

    def __init__(self):
        self.calls = []
        self.raises = {}

    def abx(self, request):
        return self._part("abx", request)

    def probes(self, request):
        return self._part("probes", request)

    def _part(self, name, request):
        self.calls.append(name)
        self.request = request
        if name in self.raises:
            raise self.raises[name]
        request.progress(0.5)
        plot = request.out / "plot.svg"
        plot.write_text("<svg/>")
        metric = Metric(12.5, 10.0, 15.0, 40, "%", "of items", 6.7)
        table = Table("A table", ["name", "value", "n"], [["x", metric, 3], ["y", None, 0.5]])
        return ExperimentResult({f"{name}.x": metric}, [table], [plot], {"made of": "cheese"})


@pytest.fixture
def bench(monkeypatch):
    """Two parts, `abx` and `probes`."""
    bench = Bench()
    table = {name: Experiment(name, 1, name.title(), "Table I") for name in ("abx", "probes")}
    monkeypatch.setattr(running, "EXPERIMENTS", table)
    monkeypatch.setattr(Experiment, "load", lambda part: getattr(bench, part.name))
    return bench


def evaluate(tmp_path, told=None, **about):
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    asked = Evaluation(MODEL, **({"data": data, "out": tmp_path / "out"} | about))
    return run(asked, tell=(told if told is not None else []).append)


def test_every_part_is_real():
    for name, part in EXPERIMENTS.items():
        assert callable(part.load()), name
        assert hasattr(EvaluationConfig(), name)


def test_the_report_holds_metrics_with_what_they_depend_on(tmp_path, bench):
    report = evaluate(tmp_path, seed=7, limit=5)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    assert report["model"]["fingerprint"] == MODEL.fingerprint
    assert report["model"]["parts"] == MODEL.fingerprints
    assert (report["seed"], report["limit"]) == (7, 5)
    assert {"audiolm", "torch", "numpy"} <= set(report["versions"])
    part = report["experiments"]["abx"]
    assert (part["state"], part["protocol"]) == ("done", 1)
    assert part["metrics"]["abx.x"] == {
        "value": 12.5,
        "low": 10.0,
        "high": 15.0,
        "count": 40,
        "unit": "%",
        "note": "of items",
        "paper": 6.7,
    }
    assert part["plots"] == ["abx/plot.svg"]
    assert part["conditions"] == {"made of": "cheese"}
    assert part["seconds"] >= 0
    assert (bench.request.seed, bench.request.limit) == (7, 5)


def test_what_is_finished_is_not_run_again(tmp_path, bench):
    first = evaluate(tmp_path)
    told = []
    second = evaluate(tmp_path, told)
    assert bench.calls == ["abx", "probes"]
    assert [outcome.state for outcome in told] == ["kept", "kept"]
    for name in ("abx", "probes"):
        assert second["experiments"][name] == first["experiments"][name] | {"state": "kept"}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"limit": 3},
        {"options": EvaluationConfig.model_validate({"abx": {"max_size_group": 3}})},
        {"data": "elsewhere"},
    ],
    ids=["seed", "limit", "options", "data"],
)
def test_what_changes_is_run_again(tmp_path, bench, change):
    evaluate(tmp_path, only=["abx"])
    if "data" in change:
        change = {"data": tmp_path / change["data"]}
        change["data"].mkdir()
    evaluate(tmp_path, only=["abx"], **change)
    assert bench.calls == ["abx", "abx"]


def depends(name, tmp_path, **sections):
    options = EvaluationConfig.model_validate(sections)
    asked = Evaluation(MODEL, tmp_path, tmp_path / "out", options=options)
    part = EXPERIMENTS[name]
    return running._depends(part, asked, running._request(part, asked, lambda *_: None))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_part_depends_on_its_own_section_and_those_it_uses(name, tmp_path):
    """The classifier of voices in `continuation` and `edit` is trained by `speaker`."""
    other = {
        "abx": {"max_size_group": 3},
        "reconstruction": {"longest": 3.0},
        "voicing": {"longest": 3.0},
        "content": {"samples": 1},
        "speaker": {"epochs": 1.0},
        "probes": {"split": "test"},
        "continuation": {"samples": 1},
        "stream": {"minutes": 2},
        "edit": {"gap": 2.0},
        "detection": {"threshold": 0.4},
        "watermark": {"clips": 30},
        "listening": {"clips": 4},
        "notes": {"hours": 2.0},
        "music": {"places": 1},
        "next_segment": {"rivals": 1},
    }
    before = depends(name, tmp_path)
    changing = {s for s, v in other.items() if depends(name, tmp_path, **{s: v}) != before}
    assert changing == {name} | ({"speaker"} if name in ("continuation", "edit") else set())


def test_a_part_is_done_again_when_its_inputs_change(tmp_path, bench, monkeypatch):
    found = {"answers": 1}
    monkeypatch.setattr(Experiment, "inputs_of", lambda part, request: dict(found))
    evaluate(tmp_path, only=["abx"])
    evaluate(tmp_path, only=["abx"])
    assert bench.calls == ["abx"]
    found["answers"] = 2
    evaluate(tmp_path, only=["abx"])
    assert bench.calls == ["abx", "abx"]


def test_options_of_another_part_change_nothing(tmp_path, bench):
    evaluate(tmp_path, only=["abx"])
    options = EvaluationConfig.model_validate({"probes": {"split": "test"}})
    evaluate(tmp_path, only=["abx"], options=options)
    assert bench.calls == ["abx"]


def test_another_model_or_protocol_is_run_again(tmp_path, bench, monkeypatch):
    evaluate(tmp_path, only=["abx"])
    newer = dataclasses.replace(running.EXPERIMENTS["abx"], version=2)
    monkeypatch.setitem(running.EXPERIMENTS, "abx", newer)
    evaluate(tmp_path, only=["abx"])
    assert bench.calls == ["abx", "abx"]
    other = Evaluation(tiny_model(seed=1, kinds=()), tmp_path / "data", tmp_path / "out", ["abx"])
    run(other)
    assert bench.calls == ["abx", "abx", "abx"]


def test_a_lost_plot_or_a_broken_file_is_made_again(tmp_path, bench):
    evaluate(tmp_path, only=["abx"])
    (tmp_path / "out" / "abx" / "plot.svg").unlink()
    evaluate(tmp_path, only=["abx"])
    (tmp_path / "out" / "abx.json").write_text("{")
    evaluate(tmp_path, only=["abx"])
    assert bench.calls == ["abx"] * 3


def test_the_report_keeps_what_earlier_runs_finished(tmp_path, bench):
    evaluate(tmp_path, only=["probes"])
    told = []
    report = evaluate(tmp_path, told, only=["abx"])
    assert list(report["experiments"]) == ["abx", "probes"]
    assert [outcome.experiment.name for outcome in told] == ["abx"]


def test_a_finished_part_is_written_before_the_next_begins(tmp_path, bench):
    bench.raises["probes"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path)
    assert (tmp_path / "out" / "abx.json").is_file()
    assert "abx" in json.loads((tmp_path / "out" / "report.json").read_text())["experiments"]
    bench.raises.clear()
    evaluate(tmp_path)
    assert bench.calls == ["abx", "probes", "probes"]


@pytest.mark.parametrize(
    ("error", "state", "reason", "remedy"),
    [
        (Skipped("no items", "get some"), "skipped", "no items", "get some"),
        (AudioLMError("dev.item: is broken"), "failed", "dev.item: is broken", ""),
    ],
)
def test_a_part_that_cannot_be_done_says_so_and_others_run(
    tmp_path, bench, error, state, reason, remedy
):
    bench.raises["abx"] = error
    told = []
    report = evaluate(tmp_path, told)
    part = report["experiments"]["abx"]
    assert (part["state"], part["reason"], part["remedy"]) == (state, reason, remedy)
    assert report["experiments"]["probes"]["state"] == "done"
    assert [outcome.state for outcome in told] == [state, "done"]
    assert not (tmp_path / "out" / "abx").exists()
    page = (tmp_path / "out" / "report.html").read_text()
    assert reason in page and remedy in page
    bench.raises.clear()
    evaluate(tmp_path)
    assert bench.calls == ["abx", "probes", "abx"]  # it is tried again


def test_progress_is_told_by_part(tmp_path, bench):
    seen = []
    (tmp_path / "data").mkdir()
    run(
        Evaluation(MODEL, tmp_path / "data", tmp_path / "out", ["abx"]),
        lambda name, share: seen.append((name, share)),
    )
    assert seen == [("abx", 0.0), ("abx", 0.5), ("abx", 1.0)]


def test_unknown_parts_and_folders_are_refused(tmp_path, bench):
    with pytest.raises(
        ConfigurationError, match="--only abz: there is no such experiment; choose of abx"
    ):
        evaluate(tmp_path, only=["abz"])
    with pytest.raises(CorpusError, match="there is no such folder"):
        evaluate(tmp_path, data=tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="cannot be made"):
        evaluate(tmp_path, out=tmp_path / "file")


def test_a_missing_extra_is_named():
    with pytest.raises(Skipped, match="no_such_metric is not installed"):
        requirements.extra("no_such_metric.inside")
