// The page: a recording, what shall happen to it, and the takes that came of it.

import { Refused, request, token } from "./api.js";
import { output } from "./player.js";
import { Recorder, whyNoMicrophone } from "./recorder.js";
import { decode, peak, resampled, SAMPLE_RATE, Track } from "./sound.js";
import { Playable, Take } from "./take.js";
import * as verbs from "./verbs.js";

const $ = (id) => document.getElementById(id);
const state = { models: [], model: null, limits: null, samples: null, selection: null };

/* What is said to the user */

/** Said to those who hear the page. */
function say(words) {
  $("status").textContent = words;
}

/** Shown to all, until it is closed or something goes well. */
function complain(words) {
  $("problem-words").textContent = words;
  $("problem").hidden = false;
}

function calm() {
  $("problem").hidden = true;
}

/* The recording */

const LARGEST_FILE = 1e9; // bytes: this browser decodes all of it in memory, though only its end is sent

const recordingView = new Playable($("recording"), new Track(), { onSelect: select });

function setRecording(samples, words) {
  if (recorder) endRecording(false);
  calm();
  const most = Math.floor(state.limits.seconds * SAMPLE_RATE);
  const cut = samples.length > most;
  state.samples = cut ? samples.slice(-most) : samples;
  showRecording();
  const length = (state.samples.length / SAMPLE_RATE).toFixed(1);
  if (peak(samples) < 1e-3) complain("There is only silence in it.");
  else if (cut) complain(`It is long: its last ${length} s are taken.`);
  say(`${words}, ${length} seconds.`);
}

function showRecording() {
  recordingView.show(state.samples ? Track.of(state.samples) : new Track());
  $("drop-hint").hidden = state.samples !== null;
  $("transport").hidden = state.samples === null;
  select(null);
}

let loads = 0;

/** Make what is coming the recording, unless another was asked for meanwhile. */
async function load(coming, words) {
  loads += 1;
  const mine = loads;
  try {
    const samples = await coming;
    if (mine === loads) setRecording(samples, words);
  } catch (error) {
    complain(error.message);
  }
}

function openFile(file) {
  if (!file || !state.limits) return;
  if (file.size > LARGEST_FILE) complain(`${file.name}: is larger than ${LARGEST_FILE / 1e9} GB; take a part of it.`);
  else load(decode(file), file.name);
}

function takeExample() {
  const source = state.model.prompt ?? state.models.find((model) => model.prompt).prompt;
  const coming = request(source).then((answer) => answer.blob());
  load(coming.then(decode), "The example");
}

let recorder = null; // while the microphone is on

async function record() {
  if (recorder) {
    endRecording(true);
    return;
  }
  const live = new Track();
  const fresh = new Recorder((piece) => {
    live.push(piece);
    recordingView.picture.redraw();
    const length = live.length / fresh.rate;
    $("record-time").textContent = `${length.toFixed(1)} s`;
    if (length >= state.limits.seconds) endRecording(true);
  });
  $("record").disabled = true; // until the browser, or its user, has lent the microphone
  try {
    await fresh.start();
  } catch (error) {
    complain(`The microphone: ${error.message}`);
    return;
  } finally {
    $("record").disabled = false;
    if (document.activeElement === document.body) $("record").focus(); // it lost it meanwhile
  }
  fresh.live = live;
  recorder = fresh;
  calm();
  $("record").classList.add("on");
  $("record-label").textContent = "Stop";
  $("drop-hint").hidden = true;
  $("transport").hidden = true;
  recordingView.picture.rate = fresh.rate;
  recordingView.show(live, { expected: 4 * fresh.rate });
  say("Recording.");
  refresh();
}

/** The microphone off; where `keep`, what it heard becomes the recording, else nothing does. */
function endRecording(keep) {
  const { live, rate } = recorder;
  recorder.stop();
  recorder = null;
  $("record").classList.remove("on");
  $("record-label").textContent = "Record";
  $("record-time").textContent = "";
  recordingView.picture.rate = SAMPLE_RATE;
  showRecording(); // the one before, until the new one is at hand
  if (keep && live.length) load(resampled(live.all, rate), "Recorded");
}

/* What is selected of it */

/** From one sample to another, or nothing: null. What is selected is there to be said anew. */
function select(from, to) {
  state.selection = from === null ? null : [from, to];
  recordingView.picture.select(state.selection);
  $("from").value = ((from ?? 0) / SAMPLE_RATE).toFixed(2);
  $("to").value = ((to ?? 0) / SAMPLE_RATE).toFixed(2);
  const lacks = state.model?.lacking.edit;
  if (state.selection && !lacks) document.querySelector("[name=verb][value=edit]").checked = true;
  refresh();
}

function typedSelection() {
  const [from, to] = [$("from"), $("to")].map((field) => Number(field.value) * SAMPLE_RATE);
  state.selection = to > from ? [from, to] : null;
  recordingView.picture.select(state.selection);
  refresh();
}

/* What shall happen */

const WORDS = {
  continuation: "Continue",
  resynthesis: "Say it in another voice",
  edit: "Say the selection anew",
  reconstruction: "Send it through the codec",
  detection: "Ask whether it was made",
};

const verb = () => new FormData($("form")).get("verb");

/** Why the button cannot be pressed; null where it can. */
function whyNot() {
  const { model, samples } = state;
  if (!model) return "The server has not answered yet.";
  const parallel = $("acoustic").value === "parallel" && ["continuation", "resynthesis"].includes(verb());
  const lacks = [verb(), ...(parallel ? ["parallel"] : [])];
  if (verb() === "continuation" && $("system").value) lacks.push("acoustic_only");
  if (verb() === "continuation" && $("system").value === "acoustic-only") lacks.shift();
  const lacking = lacks.map((what) => model.lacking[what]).find(Boolean);
  if (lacking) return `${lacking[0].toUpperCase()}${lacking.slice(1)}.`;
  if (recorder) return "Stop the microphone first.";
  if (!samples) return "Give it a recording first.";
  if (verb() === "continuation" && samples.length < SAMPLE_RATE / 2) return "Half a second is the least to continue.";
  if (verb() === "edit" && !state.selection) return "Select what shall be said anew.";
  return null;
}

/** Show what goes with the verb, and whether it can be done. */
function refresh() {
  for (const part of document.querySelectorAll("[data-for]")) {
    part.hidden = !part.dataset.for.split(" ").includes(verb());
  }
  const reason = whyNot() ?? "";
  $("go").disabled = reason !== "";
  $("go").textContent = WORDS[verb()];
  if ($("why").textContent !== reason) $("why").textContent = reason; // told to those who hear it
  $("seconds-said").textContent = `${Number($("seconds").value)} s`;
  $("seconds").setAttribute("aria-valuetext", `${Number($("seconds").value)} seconds`);
  for (const input of document.querySelectorAll("[name=verb]")) {
    input.parentElement.classList.toggle("lacking", Boolean(state.model?.lacking[input.value]));
  }
  if (!state.model) return;
  $("acoustic").options[0].text = `as usual: ${WAYS[usualWay()]}`;
  document.querySelectorAll(".heat").forEach((field, i) => {
    field.placeholder = ownTemperatures()[i];
  });
}

const WAYS = { autoregressive: "one after the other", parallel: "all at once" };

/** How codes are made unless the user says: one continuation so that it is heard while it is made. */
function usualWay() {
  const alone = verb() === "continuation" && Number($("best-of").value) <= 1;
  return alone ? "autoregressive" : state.model.acoustic;
}

const ownTemperatures = () => state.model.temperatures[$("acoustic").value || usualWay()];

function drawnFields() {
  const heats = [...document.querySelectorAll(".heat")].map((field) => field.value);
  const own = ownTemperatures();
  const asked = heats.some((value) => value !== "");
  const baseline = verb() === "continuation" && $("system").value;
  return {
    model: state.model.name,
    temperature: asked ? heats.map((value, i) => (value === "" ? own[i] : value)).join(",") : null,
    best_of: Number($("best-of").value) > 1 ? $("best-of").value : null,
    acoustic: baseline ? null : $("acoustic").value,
    guidance: state.model.lacking.guidance ? null : $("guidance").value,
  };
}

/** The seed of the next take. */
function nextSeed() {
  const seed = Math.max(0, Math.floor(Number($("seed").value) || 0));
  if ($("next-seed").checked) $("seed").value = seed + 1;
  return seed;
}

/** The takes that a press of the button makes: each a card and what fills it. */
function planned() {
  const { samples, model } = state;
  const plan = [];
  if (verb() === "continuation") {
    const systems = { "": [null], both: [null, "acoustic-only"] }[$("system").value] ?? ["acoustic-only"];
    const seconds = Number($("seconds").value);
    const shared = { ...drawnFields(), seconds, prompt_seconds: $("prompt-seconds").value };
    for (let count = Number($("takes-count").value); count > 0; count -= 1) {
      const seed = nextSeed();
      for (const baseline of systems) {
        const fields = { ...shared, seed, baseline };
        plan.push({
          title: baseline ? "Acoustic-only" : "Continuation",
          detail: `${model.name}, seed ${seed}`,
          file: `audiolm-${baseline ?? "continuation"}-${seed}.wav`,
          fill: (take, play) => verbs.continuation(take, samples, fields, play),
        });
      }
    }
  } else if (verb() === "resynthesis") {
    const fields = { ...drawnFields(), seed: nextSeed() };
    plan.push({
      title: "Another voice",
      detail: `${model.name}, seed ${fields.seed}`,
      file: `audiolm-resynthesis-${fields.seed}.wav`,
      fill: (take, play) => verbs.resynthesis(take, samples, fields, play),
    });
  } else if (verb() === "edit") {
    const [start, end] = state.selection.map((sample) => sample / SAMPLE_RATE);
    const fields = {
      model: model.name,
      seed: nextSeed(),
      start,
      end,
      seconds: $("edit-seconds").value,
      keep_content: $("keep-content").checked,
    };
    plan.push({
      title: "Said anew",
      detail: `${start.toFixed(2)} to ${end.toFixed(2)} s, seed ${fields.seed}`,
      file: `audiolm-edit-${fields.seed}.wav`,
      fill: (take, play) => verbs.edit(take, samples, fields, play),
    });
  } else if (verb() === "reconstruction") {
    plan.push({
      title: "Codec",
      detail: model.name,
      file: "audiolm-codec.wav",
      fill: (take) => verbs.reconstruction(take, samples, model),
    });
  } else {
    plan.push({
      title: "Made or real?",
      detail: `${(samples.length / SAMPLE_RATE).toFixed(1)} s`,
      file: "",
      fill: (take) => verbs.detection(take, samples, model),
    });
  }
  return plan;
}

/** Make takes one after the other; the first is heard while it is made. */
async function go(plan) {
  calm();
  output();
  recordingView.player.stop();
  const again = (item) => () => go([item]);
  const takes = plan.map((item) => {
    const actions = { onUse: use, onAgain: again(item) };
    const take = new Take(item.title, item.detail, item.file, actions);
    take.making(true);
    take.state("Waiting for its turn …");
    return take;
  });
  // In reading order: the first one first.
  for (const take of [...takes].reverse()) take.root.parentElement.prepend(take.root);
  takes[0].root.scrollIntoView({ block: "nearest" }); // on a phone it is below the button
  for (const [number, take] of takes.entries()) {
    const { title, fill } = plan[number];
    if (take.abort.signal.aborted) continue;
    say(`${title} is being made.`);
    try {
      const said = await fill(take, number === 0);
      say(typeof said === "string" ? said : `${title} is ready.`);
    } catch (error) {
      if (take.abort.signal.aborted) continue; // and says so
      take.fail(error.message);
      say(`${title}: ${error.message}`);
      if (error.status === 401) await askForToken();
    }
  }
}

async function use(samples) {
  await load(samples, "The take");
  $("recording").scrollIntoView({ block: "nearest" });
  $("play").focus();
}

/* Beginning */

async function askForToken() {
  const dialog = $("token-dialog");
  if (!dialog.open) dialog.showModal(); // several takes may ask for it at once
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  token.set($("token").value.trim());
}

/** The models, asking for a token until it is the right one. */
async function readModels() {
  for (;;) {
    try {
      return await (await request("/v1/models")).json();
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error;
      if (token.get()) complain(error.message);
      await askForToken();
    }
  }
}

function choose(model) {
  state.model = model;
  $("seconds").max = Math.min(60, state.limits.seconds);
  $("seconds").value = model.seconds;
  $("prompt-seconds").placeholder = model.prompt_seconds;
  const rate = (levels) => `${(levels * model.level_kbps).toFixed(1)} kbit/s`;
  $("codec-note").textContent = `${model.levels} levels, ${rate(1)} each: slide from ${rate(1)} to ${rate(model.levels)} while you listen.`;
  for (const option of $("system").options) option.disabled = Boolean(option.value && model.lacking.acoustic_only);
  $("acoustic").options[2].disabled = Boolean(model.lacking.parallel);
  $("guidance").disabled = Boolean(model.lacking.guidance);
  $("guidance").title = model.lacking.guidance ?? "";
  if ($("system").selectedOptions[0].disabled) $("system").value = "";
  if ($("acoustic").selectedOptions[0].disabled) $("acoustic").value = "";
  refresh();
}

async function begin() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  if (fragment.has("token")) {
    token.set(fragment.get("token"));
    history.replaceState(null, "", location.pathname); // nobody reads it over a shoulder
  }
  refresh();
  const { models, limits } = await readModels();
  Object.assign(state, { models, limits });
  for (const model of models) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "model", value: model.name });
    input.checked = model === models[0];
    input.addEventListener("change", () => choose(model));
    label.append(input, model.name);
    $("models").append(label);
  }
  choose(models[0]);
  $("choose").disabled = false;
  $("example").disabled = !models.some((model) => model.prompt);
  const noMicrophone = whyNoMicrophone();
  $("record").disabled = noMicrophone !== null;
  $("record").title = noMicrophone ?? "";
  if (noMicrophone) $("drop-hint").textContent += ` No recording here: ${noMicrophone}.`;
  document.body.dataset.ready = "true";
}

$("problem-close").addEventListener("click", calm);
$("record").addEventListener("click", record);
$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => {
  openFile($("file").files[0]);
  $("file").value = "";
});
$("example").addEventListener("click", takeExample);
$("form").addEventListener("input", refresh);
for (const id of ["from", "to"]) $(id).addEventListener("input", typedSelection);
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (whyNot() === null) go(planned());
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("recording").classList.toggle("dragged", kind === "dragover");
    if (kind === "drop") openFile(event.dataTransfer.files[0]);
  });
}

begin().catch((error) => complain(error.message));
