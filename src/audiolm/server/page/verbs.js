// The five verbs: each asks the server and shows what comes as a take.

import { post, readWav } from "./api.js";
import { Take } from "./take.js";
import { SAMPLE_RATE, Track, wavOf } from "./sound.js";

const LEAD_IN = 1; // seconds that are heard before what is made

/** Ask the server, and say on the take what is waited for. */
function ask(take, verb, samples, fields) {
  take.making(true);
  take.state("Waiting for its turn …");
  const onBusy = (seconds) => take.state(`The server is busy; asking again in ${seconds} s …`);
  return post(verb, wavOf(samples), fields, take.abort.signal, onBusy);
}

/**
 * Ask for sound and show it while it comes.
 * @param {Take} take
 * @param {string} verb
 * @param {Float32Array} samples of the recording
 * @param {Object} fields
 * @param {Object} how `expected` samples; `made(prompt, length)`: what of it is made; `play`: hear it
 *   at once, from a second before that which is made
 */
async function stream(take, verb, samples, fields, { expected, made, play }) {
  const started = performance.now();
  const answer = await ask(take, verb, samples, fields);
  const prompt = Number(answer.headers.get("X-Prompt-Samples")) || 0;
  const track = new Track(expected + prompt);
  const whole = () => Math.max(track.length, track.done ? 0 : expected + prompt);
  take.playable.show(track, { expected: expected + prompt, made: made(prompt, whole()) });
  let heardFirst = false;
  const file = await readWav(answer, (piece) => {
    track.push(piece);
    if (!heardFirst && track.length > prompt) {
      heardFirst = true;
      const waited = ((performance.now() - started) / 1000).toFixed(1);
      take.state(`The first sound came after ${waited} s.`);
      take.root.dataset.firstSound = waited;
      if (play) take.playable.player.play(Math.max(0, made(prompt, whole())[0][0] - LEAD_IN * SAMPLE_RATE));
    }
    take.playable.grow();
  });
  track.done = true;
  take.playable.picture.expected = track.length;
  take.playable.picture.made = made(prompt, track.length);
  take.playable.picture.forget();
  take.playable.grow();
  take.finish(file);
  take.root.dataset.done = "true";
  return track;
}

export const continuation = (take, samples, fields, play) =>
  stream(take, "continuations", samples, fields, {
    expected: Math.round(fields.seconds * SAMPLE_RATE),
    made: (prompt, length) => [[prompt, length]],
    play,
  });

export const resynthesis = (take, samples, fields, play) =>
  stream(take, "resyntheses", samples, fields, {
    expected: samples.length,
    made: (prompt, length) => [[0, length]],
    play,
  });

export function edit(take, samples, fields, play) {
  const old = fields.end - fields.start;
  const inside = fields.seconds ? Number(fields.seconds) : old;
  const at = fields.start * SAMPLE_RATE;
  return stream(take, "edits", samples, fields, {
    expected: Math.round(samples.length + (inside - old) * SAMPLE_RATE),
    made: () => [[at, at + inside * SAMPLE_RATE]],
    play,
  });
}

/**
 * The codec's rendering with a slider: each level is asked for once, and heard from the same place.
 */
export async function reconstruction(take, samples, model) {
  // By number of levels, promises of {track, file}: what is on its way is not asked for again.
  const renderings = new Map([["original", Promise.resolve({ track: Track.of(samples), file: null })]]);
  const slider = take.part("level");
  const said = take.part("levels-said");
  const rate = (levels) => `${(levels * model.level_kbps).toFixed(1)} kbit/s`;
  slider.max = model.levels;
  slider.value = model.levels;
  take.part("levels").hidden = false;

  const buttons = new Map();
  const choices = [["original", "Original"]];
  for (const levels of new Set([Math.min(3, model.levels), model.levels])) choices.push([levels, rate(levels)]);
  for (const [key, words] of choices) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = words;
    button.addEventListener("click", () => guarded(key));
    take.part("presets").append(button);
    buttons.set(key, button);
  }
  let wanted = null;

  async function rendered(levels) {
    const answer = await ask(take, "reconstructions", samples, { levels, model: model.name });
    const track = new Track(samples.length);
    const file = await readWav(answer, (piece) => track.push(piece));
    track.done = true;
    return { track, file };
  }

  function tell(levels) {
    said.textContent = levels ? `${levels} of ${model.levels} levels: ${rate(levels)}` : "The original";
    slider.setAttribute("aria-valuetext", said.textContent);
  }

  async function choose(key, play = false) {
    wanted = key;
    const levels = key === "original" ? null : Number(key);
    if (levels) slider.value = levels;
    tell(levels);
    for (const [name, button] of buttons) button.setAttribute("aria-pressed", String(name === key));
    if (!renderings.has(key)) {
      renderings.set(key, rendered(levels));
      renderings.get(key).catch(() => renderings.delete(key)); // to be asked for again
    }
    const { track, file } = await renderings.get(key);
    if (wanted !== key) return; // the slider has gone on
    const { player, picture } = take.playable;
    player.replace(track);
    const at = player.position;
    picture.show(track, { made: levels ? [[0, track.length]] : [] });
    picture.point(at);
    if (play) player.play(0);
    take.fileName = `audiolm-codec-${levels ?? 0}-levels.wav`;
    take.finish(file);
    if (!file) take.part("download").hidden = true;
    take.root.dataset.samples = track.length;
    take.root.dataset.done = "true";
  }

  const guarded = (key) => choose(key).catch((error) => take.abort.signal.aborted || take.fail(error.message));
  slider.addEventListener("change", () => guarded(Number(slider.value)));
  slider.addEventListener("input", () => tell(Number(slider.value)));
  await choose(model.levels, true);
}

/** Whether a recording was made: words, and a strip that shows where. */
export async function detection(take, samples, model) {
  take.playable.show(Track.of(samples));
  const answer = await ask(take, "detections", samples, { model: model.name });
  const found = await answer.json();
  take.finish(null);
  const verdict = take.part("verdict");
  verdict.textContent = wordsOf(found);
  verdict.hidden = false;
  take.state(found.note ?? "");
  const strip = take.part("strip");
  strip.hidden = !found.timeline.length;
  strip.setAttribute("aria-label", whereMade(found.timeline));
  for (const { start, end, probability } of found.timeline) {
    const bar = document.createElement("i");
    bar.style.flexGrow = end - start;
    bar.style.opacity = probability ?? 0; // of silence nothing is known
    strip.append(bar);
  }
  take.root.dataset.done = "true";
  return verdict.textContent;
}

/** A timeline in words: neighbours that are made are one span. */
function whereMade(timeline) {
  const spans = [];
  for (const { start, end, made } of timeline) {
    if (!made) continue;
    if (spans.at(-1)?.end === start) spans.at(-1).end = end;
    else spans.push({ start, end });
  }
  const said = spans.map(({ start, end }) => `${start.toFixed(1)} to ${end.toFixed(1)} s`);
  return said.length ? `Made: ${said.join(", ")}` : "Made: nowhere";
}

/** A detection in words. */
function wordsOf({ verdict, probability, mark }) {
  const first = `${verdict[0].toUpperCase()}${verdict.slice(1)}`;
  const likely = probability === null ? "" : `: ${Math.round(100 * probability)} % likely`;
  return `${first}${likely}.${mark?.found ? " It bears the mark of this program." : ""}`;
}
