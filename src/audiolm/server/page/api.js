// Requests to the server that this page came from, and to no other.

const ATTEMPTS = 9; // before a busy server is given up

/** What the server refused: its one line, and its status. */
export class Refused extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** The token, where one is asked for; kept until the tab is closed. */
export const token = {
  get: () => sessionStorage.getItem("audiolm-token") ?? "",
  set: (value) => sessionStorage.setItem("audiolm-token", value),
};

/** One request; raises `Refused` unless it is answered. */
export async function request(path, options = {}) {
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer; is it still running?");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  const retryAfter = Number(answer.headers.get("Retry-After")) || 0;
  throw new Refused(answer.status, body.error ?? `the server says ${answer.status}`, retryAfter);
}

/**
 * Post a recording to a verb. Where the server is busy, wait as it says and ask again.
 * @param {string} verb e.g. "continuations"
 * @param {Blob} recording
 * @param {Object} fields of the form; those that are null or "" are left out
 * @param {AbortSignal} signal
 * @param {(seconds: number) => void} onBusy is told how long is waited
 */
export async function post(verb, recording, fields, signal, onBusy) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined && value !== "") form.append(name, String(value));
  }
  form.append(verb === "continuations" ? "prompt" : "audio", recording, "recording.wav");
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await request(`/v1/${verb}`, { method: "POST", body: form, signal });
    } catch (error) {
      if (error.status !== 503 || attempt === ATTEMPTS) throw error;
      onBusy(error.retryAfter || 2);
      await pause((error.retryAfter || 2) * 1000, signal);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}

/**
 * The sound of an answer in WAV, as it comes.
 * @param {Response} answer
 * @param {(samples: Float32Array) => void} onSamples
 * @returns {Promise<Blob>} the same as a file, its sizes put right: all else that the server put
 *   before the sound stays in it
 */
export async function readWav(answer, onSamples) {
  const reader = answer.body.getReader();
  const sound = [];
  let header = null;
  let rest = new Uint8Array(0);
  for (;;) {
    const { done, value } = await next(reader);
    if (done) break;
    rest = joined(rest, value);
    if (!header) {
      const start = soundStart(rest);
      if (start === null) continue;
      header = rest.slice(0, start);
      rest = rest.slice(start);
    }
    const whole = rest.length - (rest.length % 2);
    if (whole) {
      const piece = rest.slice(0, whole);
      rest = rest.slice(whole);
      sound.push(piece);
      onSamples(fromPcm(piece));
    }
  }
  if (!header) throw new Refused(0, "The answer holds no sound.");
  const bytes = sound.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(header.buffer);
  view.setUint32(4, header.length - 8 + bytes, true);
  view.setUint32(header.length - 4, bytes, true);
  return new Blob([header, ...sound], { type: "audio/wav" });
}

/** The next piece of an answer. */
async function next(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The connection ended before all of it had come.");
  }
}

/** Where the sound of a WAV begins; null where that has not come yet. */
function soundStart(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 12; // after RIFF, its size, and WAVE
  while (at + 8 <= bytes.length) {
    const name = String.fromCharCode(...bytes.subarray(at, at + 4));
    if (name === "data") return at + 8;
    const size = view.getUint32(at + 4, true);
    at += 8 + size + (size % 2);
  }
  return null;
}

function joined(a, b) {
  if (!a.length) return b;
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function fromPcm(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const samples = new Float32Array(bytes.length / 2);
  for (let i = 0; i < samples.length; i += 1) samples[i] = view.getInt16(2 * i, true) / 32768;
  return samples;
}
