"""The page: whole in itself, readable, and the paper's metrics beside ours."""

import re
from html.parser import HTMLParser

import pytest

from audiolm.evaluation.metrics.statistics import Metric
from audiolm.evaluation.report import plots
from audiolm.evaluation.report.page import html_report, written
from audiolm.evaluation.report.results import ExperimentResult, Table
from audiolm.evaluation.report.stored import Finished, load, result_from_json, result_to_json, save

FIGURE = Metric(6.66, 6.13, 6.92, 40, "%", "speakers resampled", 6.7)

REPORT = {
    "model": {"name": "tiny <1>", "fingerprint": "abc", "parts": {}},
    "data": "/data",
    "limit": None,
    "seed": 0,
    "speakers": "all",
    "versions": {"torch": "2"},
    "device": "cpu",
    "experiments": {
        "abx": {
            "title": "Phonetic ABX",
            "paper": "Table I",
            "protocol": 1,
            "state": "done",
            "seconds": 3.2,
        },
        "speaker": {
            "title": "Speaker",
            "paper": "Table III",
            "protocol": 1,
            "state": "skipped",
            "reason": "one speaker",
            "remedy": "get <two>",
        },
    },
}


class Page(HTMLParser):
    """Checks that elements close, and collects what refers to something outside."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def result(tmp_path):
    table = Table("Errors & more", ["what", "here"], [["a <b>", FIGURE], ["c", None]], "a note")
    drawn = plots.dots(tmp_path / "abx.svg", "error, %", {"within": {"a": FIGURE}})
    return ExperimentResult({"x": FIGURE}, [table], drawn, {"protocol": "as published"})


def test_the_page_is_whole_in_itself(result):
    page = Page(html_report(REPORT, {"abx": result}))
    assert len(page.links) == 1  # the plot
    assert page.links[0].startswith("data:image/svg+xml;base64,")


def test_the_page_says_it_all(result):
    text = html_report(REPORT, {"abx": result})
    for words in (
        "tiny &lt;1&gt;",
        "Phonetic ABX",
        "a &lt;b&gt;",
        "6.66 % [6.13, 6.92]",
        "(paper 6.7)",
        "Beside the paper",
        "40 items; speakers resampled",
        "as published",
        "a note",
        "Skipped: one speaker; get &lt;two&gt;",
    ):
        assert words in text, words


def test_a_part_without_tables_shows_its_metrics():
    text = html_report(REPORT, {"abx": ExperimentResult({"within.tokens": FIGURE})})
    assert re.search(r"within\.tokens</td><td>.*6\.66 %", text)


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric(12.345, 10.0, 14.0, 1, "%"), "12.3 % [10.0, 14.0]"),
        (Metric(12.345, 2.0, 34.0, 1, ""), "12 [2, 34]"),
        (Metric(3.30456, 3.2, 3.41, 1, "MOS"), "3.30 MOS [3.20, 3.41]"),
        (Metric(0.5, 0.4999, 0.5001, 1, ""), "0.500 [0.500, 0.500]"),
        (Metric(0.0, 0.0, 0.0, 1, "%"), "0.00 % [0.00, 0.00]"),
    ],
)
def test_metrics_have_the_digits_that_their_interval_bears(metric, text):
    assert written(metric) == text


def test_results_come_back_from_disk(tmp_path, result):
    assert result_from_json(result_to_json(result, tmp_path), tmp_path) == result
    finished = Finished(result, 2.5)
    save(tmp_path / "abx.json", finished, {"seed": 0})
    assert load(tmp_path / "abx.json", {"seed": 0}) == finished
    assert load(tmp_path / "abx.json", {"seed": 1}) is None
    assert load(tmp_path / "none.json", {"seed": 0}) is None


def test_plots_are_the_same_for_the_same_metrics(tmp_path):
    series = {"within": {"mfcc": FIGURE, "tokens": FIGURE}, "across": {"mfcc": FIGURE}}
    (first,) = plots.dots(tmp_path / "a.svg", "error", series)
    (second,) = plots.dots(tmp_path / "b.svg", "error", series)
    assert first.read_bytes() == second.read_bytes()
    text = first.read_text()
    for words in ("mfcc", "tokens", "within", "across", "within: paper"):
        assert f">{words}<" in text
    (curve,) = plots.lines(tmp_path / "c.svg", "layer", "error", {"within": {1: FIGURE, 2: FIGURE}})
    assert ">layer<" in curve.read_text()


def test_nothing_to_draw_draws_nothing(tmp_path):
    assert plots.dots(tmp_path / "a.svg", "error", {"within": {}}) == []
    assert plots.lines(tmp_path / "a.svg", "layer", "error", {}) == []
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_there_are_no_plots(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert plots.dots(tmp_path / "a.svg", "error", {"within": {"a": FIGURE}}) == []
