"""The raters' page, run by Node with a small stand-in for a browser."""

import json
import shutil
import subprocess

import pytest

from audiolm.evaluation.report.listening_page import ListeningTest, Question, page
from audiolm.evaluation.tables.listening_answers import read_answers

BROWSER = r"""
const fs = require("fs"), vm = require("vm");
const html = fs.readFileSync(process.argv[2], "utf8");
const script = html.split("<script>")[1].split("</script>")[0];
const rater = process.argv[3], stopAfter = Number(process.argv[4]);
const store = JSON.parse(process.argv[5]);

class Element {
  constructor(tag) { this.tag = tag; this.children = []; this.hidden = false; this.value = ""; }
  append(child) { this.children.push(child); }
  replaceChildren() { this.children = []; }
  querySelectorAll(tag) { return this.children.filter(child => child.tag === tag); }
  pause() { this.paused = true; }
  click() { clicked.push(this); }
}
const clicked = [], elements = {}, log = [];
let saved = null;
const at = id => (elements[id] ??= new Element(id));
const context = vm.createContext({
  document: {
    getElementById: at,
    createElement: tag => new Element(tag),
  },
  localStorage: { getItem: k => store[k] ?? null, setItem: (k, v) => { store[k] = v; } },
  Blob: class { constructor(parts) { this.text = parts.join(""); } },
  URL: { createObjectURL: blob => { saved = blob.text; return "blob:"; } },
});
vm.runInContext(script, context);
at("rater").value = rater;
at("trial").hidden = at("end").hidden = true;
elements.start.onsubmit({ preventDefault() {} });
for (let n = 0; !elements.trial.hidden && n < stopAfter; n++) {
  const players = elements.clips.querySelectorAll("audio");
  const buttons = elements.answers.children;
  const before = buttons.map(button => button.disabled);
  players.forEach(player => player.onplay());
  players.slice(0, -1).forEach(player => player.onended());
  const half = buttons.map(button => button.disabled);
  players.at(-1).onended();
  const after = buttons.map(button => button.disabled);
  log.push({ clips: players.map(p => p.src), before, half, after,
             labels: buttons.map(b => b.textContent), count: elements.count.textContent });
  buttons[n % buttons.length].onclick();
}
const finished = !elements.end.hidden && elements.trial.hidden;
if (finished) elements.save.onclick();
console.log(JSON.stringify({ log, store, finished, saved, title: elements.title.textContent,
                             file: clicked.map(link => link.download)[0] ?? null }));
"""


def sample(clips=1):
    questions = [
        Question(f"{n:08x}", [f"clips/{n:08x}-{c}.wav" for c in range(clips)]) for n in range(6)
    ]
    labels = {"original": "Recording", "synthetic": "Machine </script> & <b>"}
    return ListeningTest("some-test", "Which?", "Listen & say.", labels, questions)


@pytest.fixture
def browse(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")

    def run(test, rater="anna", stop_after=99, store=None):
        (tmp_path / "page.html").write_text(page(test), encoding="utf-8")
        (tmp_path / "browser.js").write_text(BROWSER, encoding="utf-8")
        command = [node, tmp_path / "browser.js", tmp_path / "page.html", rater, str(stop_after)]
        command.append(json.dumps(store or {}))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_every_question_is_asked_once_and_the_file_can_be_read(browse, tmp_path):
    seen = browse(sample(), rater='Anna "A", B')
    assert seen["finished"]
    assert sorted(entry["clips"][0] for entry in seen["log"]) == [
        f"clips/{n:08x}-0.wav" for n in range(6)
    ]
    assert [entry["count"] for entry in seen["log"]] == [f"Question {n} of 6" for n in range(1, 7)]
    assert seen["file"] == "some-test-Anna-A-B.csv"
    path = tmp_path / "saved.csv"
    path.write_text(seen["saved"], encoding="utf-8", newline="")
    key = {"some-test": {f"{n:08x}": ["original", "synthetic"][n % 2] for n in range(6)}}
    answers = read_answers([path], key)
    assert {a.rater for a in answers} == {'Anna "A", B'}
    given = {entry["clips"][0][6:14]: n for n, entry in enumerate(seen["log"])}
    assert all(a.answer == ["original", "synthetic"][given[a.item] % 2] for a in answers)
    assert len(answers) == 6


def test_labels_and_texts_are_shown_as_they_are(browse):
    seen = browse(sample())
    assert seen["log"][0]["labels"] == ["Recording", "Machine </script> & <b>"]
    assert seen["title"] == "Which?"


def test_answers_wait_until_everything_has_been_heard(browse):
    for entry in browse(sample(clips=2))["log"]:
        assert entry["before"] == [True, True]
        assert entry["half"] == [True, True]
        assert entry["after"] == [False, False]
        assert len(entry["clips"]) == 2


def test_raters_have_orders_of_their_own(browse):
    orders = [[e["clips"][0] for e in browse(sample(), rater=r)["log"]] for r in ("anna", "bob")]
    again = [e["clips"][0] for e in browse(sample(), rater="anna")["log"]]
    assert orders[0] != orders[1]
    assert again == orders[0]
    assert orders[0] != sorted(orders[0])


def test_a_rater_can_go_on_later_and_another_begins_anew(browse):
    first = browse(sample(), stop_after=4)
    assert not first["finished"]
    rest = browse(sample(), store=first["store"])
    assert rest["finished"]
    assert len(rest["log"]) == 2
    heard = {e["clips"][0] for e in first["log"]} | {e["clips"][0] for e in rest["log"]}
    assert len(heard) == 6
    assert len(browse(sample(), rater="bob", store=first["store"])["log"]) == 6


def test_the_page_needs_nothing_from_elsewhere():
    text = page(sample())
    assert "://" not in text
    assert text.count("</script>") == 1
