"""The page on which raters listen: one HTML file beside the clips, without a server or network.

It takes the clips in an order of the rater's own, lets a question be answered once everything in it
has been heard to the end, remembers the answers in the browser, and saves them as a CSV with the
columns test, rater, item, answer.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Question:
    """One thing that a rater is asked."""

    item: str
    """What stands in the answer; says nothing about what it is."""
    clips: list[str]
    """Files beside the page: one, or two that are compared."""


@dataclass(frozen=True)
class ListeningTest:
    """One listening test."""

    name: str
    """Which test an answer belongs to."""
    title: str
    instructions: str
    answers: dict[str, str]
    """What is saved, and what stands on its button."""
    questions: Sequence[Question]


def page(test: ListeningTest) -> str:
    """The HTML of a test."""
    content = json.dumps(asdict(test)).replace("<", "\\u003c")
    return _PAGE.replace("$TEST$", content)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Listening test</title>
<style>
body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto;
  padding: 0 1rem; }
button, input { font: inherit; padding: .5rem 1rem; margin: .3rem .3rem .3rem 0; }
audio { width: 100%; margin: .5rem 0; }
progress { width: 100%; }
.note { color: #555; }
</style>
</head>
<body>
<h1 id="title"></h1>
<p id="instructions"></p>
<form id="start">
  <label>Your name or number <input id="rater" required maxlength="40"></label>
  <button>Begin</button>
  <p class="note">Use headphones in a quiet room. You can close this page and go on later
  on the same computer under the same name.</p>
</form>
<section id="trial" hidden>
  <progress id="done" value="0"></progress>
  <p id="count"></p>
  <div id="clips"></div>
  <div id="answers"></div>
  <p class="note" id="hint">Listen to the end, then answer. An answer cannot be taken back.</p>
</section>
<section id="end" hidden>
  <p>Thank you, that was all. Save the file and send it back.</p>
  <button id="save">Save answers</button>
</section>
<script>
"use strict";
const test = $TEST$;
const at = id => document.getElementById(id);
at("title").textContent = document.title = test.title;
at("instructions").textContent = test.instructions;
let rater = "", given = {}, order = [];

// A shuffle that depends on the rater's name alone, so that going on later keeps the order.
function shuffled(items, name) {
  let state = 2166136261;
  const random = text => {
    for (const letter of text) state = Math.imul(state ^ letter.codePointAt(0), 16777619) >>> 0;
    return state / 4294967296;
  };
  return items.map(item => [random(name + item.item), item])
    .sort((a, b) => a[0] - b[0]).map(pair => pair[1]);
}

const place = () => "listening " + test.name + " " + test.questions.length + " " +
  test.questions[0].item + " " + rater;

function next() {
  const left = order.filter(question => !(question.item in given));
  at("done").max = order.length;
  at("done").value = order.length - left.length;
  at("trial").hidden = left.length === 0;
  at("end").hidden = left.length > 0;
  if (left.length) ask(left[0]);
}

function ask(question) {
  at("count").textContent = "Question " + (at("done").value + 1) + " of " + order.length;
  at("clips").replaceChildren();
  at("answers").replaceChildren();
  const unheard = new Set(question.clips);
  question.clips.forEach((clip, number) => {
    if (question.clips.length > 1) {
      const heading = document.createElement("p");
      heading.textContent = "AB"[number];
      at("clips").append(heading);
    }
    const player = document.createElement("audio");
    player.controls = true;
    player.preload = "auto";
    player.src = clip;
    player.onended = () => {
      unheard.delete(clip);
      if (unheard.size === 0) for (const button of at("answers").children) button.disabled = false;
    };
    player.onplay = () => {
      for (const other of at("clips").querySelectorAll("audio")) {
        if (other !== player) other.pause();
      }
    };
    player.onerror = () => {
      at("hint").textContent = clip + " cannot be played: is the folder whole?";
    };
    at("clips").append(player);
  });
  for (const [answer, label] of Object.entries(test.answers)) {
    const button = document.createElement("button");
    button.textContent = label;
    button.disabled = true;
    button.onclick = () => {
      given[question.item] = answer;
      localStorage.setItem(place(), JSON.stringify(given));
      next();
    };
    at("answers").append(button);
  }
}

at("start").onsubmit = event => {
  event.preventDefault();
  rater = at("rater").value.trim();
  if (!rater) return;
  given = JSON.parse(localStorage.getItem(place()) || "{}");
  order = shuffled(test.questions, rater);
  at("start").hidden = true;
  next();
};

at("save").onclick = () => {
  const quoted = text => '"' + text.replaceAll('"', '""') + '"';
  const rows = order.map(question =>
    [test.name, rater, question.item, given[question.item]].map(quoted).join(","));
  const csv = ["test,rater,item,answer", ...rows].join("\\r\\n") + "\\r\\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv], { type: "text/csv" }));
  link.download = test.name + "-" + rater.replace(/[^A-Za-z0-9]+/g, "-") + ".csv";
  link.click();
};
</script>
</body>
</html>
"""
