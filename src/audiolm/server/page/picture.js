// A track as a picture: waveform above, spectrogram below, what was made in another colour.
//
// What is heard now, and what is selected, lie above the canvas as elements of their own, so that
// the canvas is drawn only when there is more to draw.

import { SAMPLE_RATE } from "./sound.js";
import { Spectrogram } from "./spectrogram.js";

const SHARE = 0.44; // of the height that the waveform has

const pictures = new Set();
const again = () => pictures.forEach((picture) => picture.redraw());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  pictures.forEach((picture) => picture.forget());
  again();
});

export class Picture {
  /**
   * @param {HTMLElement} frame gets the canvas
   * @param {Track} track
   * @param {Object} options `rate` of its samples; `onSeek(sample)`; `onSelect(from, to)` in samples
   */
  constructor(frame, track, { rate = SAMPLE_RATE, onSeek, onSelect } = {}) {
    this.frame = frame;
    this.rate = rate;
    this.onSelect = onSelect;
    this.canvas = element("canvas", "picture-canvas");
    this.canvas.setAttribute("role", "img");
    this.region = element("div", "picture-region");
    this.cursor = element("div", "picture-cursor");
    frame.replaceChildren(this.canvas, this.region, this.cursor);
    this.spectrogram = new Spectrogram();
    this.show(track);
    this.#listen(onSeek);
    this.observer = new ResizeObserver(() => this.redraw());
    this.observer.observe(frame);
    pictures.add(this);
  }

  /** Another track in the same place. */
  show(track, { expected = track.length, made = [] } = {}) {
    this.track = track;
    this.expected = expected;
    this.made = made; // [from, to] in samples
    this.spectrogram.clear();
    this.forget();
    this.select(null);
    this.redraw();
  }

  /** What is drawn already is drawn again: its colours have changed. */
  forget() {
    this.drawn = 0;
    this.layer = null;
  }

  remove() {
    this.observer.disconnect();
    pictures.delete(this);
  }

  /** Samples from the left edge to the right one. */
  get length() {
    return Math.max(this.expected, this.track.length, 1);
  }

  /** Where it is heard, in samples; null for nowhere. */
  point(sample) {
    this.cursor.hidden = sample === null;
    if (sample !== null) this.cursor.style.left = `${(100 * sample) / this.length}%`;
  }

  /** Mark [from, to] in samples, or nothing. */
  select(span) {
    this.region.hidden = !span;
    if (!span) return;
    this.region.style.left = `${(100 * span[0]) / this.length}%`;
    this.region.style.width = `${(100 * (span[1] - span[0])) / this.length}%`;
  }

  /** Draw with the next picture of the screen. */
  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#draw();
    });
  }

  #draw() {
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(this.frame.clientWidth * scale);
    const height = Math.round(this.frame.clientHeight * scale);
    if (!width || !height) return;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    const colours = coloursOf(this.frame);
    const labels = Math.round(16 * scale);
    const middle = Math.round((height - labels) * SHARE);
    this.#drawSpectrogram(pen, colours, width, middle, height - labels);
    this.#drawWaveform(pen, colours, width, middle);
    this.#drawTimes(pen, colours, width, height, scale);
    const made = this.made.map(([a, b]) => `${said(a, this.rate)} to ${said(b, this.rate)} s made`);
    const heard = this.track.length ? `${said(this.track.length, this.rate)} s` : "nothing yet";
    this.canvas.setAttribute("aria-label", ["Waveform and spectrogram", heard, ...made].join(", "));
  }

  #drawWaveform(pen, colours, width, height) {
    const { samples, length } = this.track;
    const each = this.length / width;
    const half = height / 2 - 2;
    for (let x = 0; x < width; x += 1) {
      const from = Math.floor(x * each);
      if (from >= length) break;
      const to = Math.min(length, Math.max(from + 1, Math.floor((x + 1) * each)));
      let low = 0;
      let high = 0;
      for (let i = from; i < to; i += 1) {
        if (samples[i] < low) low = samples[i];
        else if (samples[i] > high) high = samples[i];
      }
      pen.fillStyle = this.#isMade(from) ? colours.made : colours.recorded;
      // Quiet sound is drawn larger than it is: the root of the amplitude.
      const up = Math.sqrt(Math.min(1, high)) * half;
      const down = Math.sqrt(Math.min(1, -low)) * half;
      pen.fillRect(x, height / 2 - up, 1, Math.max(1, up + down));
    }
  }

  #drawSpectrogram(pen, colours, width, top, bottom) {
    if (this.rate !== SAMPLE_RATE) return; // while recording
    this.spectrogram.update(this.track);
    const { columns } = this.spectrogram;
    const all = Math.ceil(this.length / Spectrogram.hop);
    if (!this.layer || this.layer.width !== all) {
      this.layer = new OffscreenCanvas(all, Spectrogram.rows);
      this.drawn = 0;
    }
    const layer = this.layer.getContext("2d");
    if (this.drawn < columns.length) {
      const fresh = columns.length - this.drawn;
      const image = layer.createImageData(fresh, Spectrogram.rows);
      for (let x = 0; x < fresh; x += 1) {
        const column = columns[this.drawn + x];
        const made = this.#isMade((this.drawn + x) * Spectrogram.hop);
        const [red, green, blue] = made ? colours.madeRgb : colours.recordedRgb;
        for (let y = 0; y < Spectrogram.rows; y += 1) {
          image.data.set([red, green, blue, column[y]], 4 * (y * fresh + x));
        }
      }
      layer.putImageData(image, this.drawn, 0);
      this.drawn = columns.length;
    }
    pen.drawImage(this.layer, 0, top, width, bottom - top);
  }

  #drawTimes(pen, colours, width, height, scale) {
    const whole = this.length / this.rate;
    const step = [0.5, 1, 2, 5, 10, 20, 60, 300].find((s) => (s / whole) * width > 56 * scale) ?? 600;
    pen.fillStyle = colours.faint;
    pen.font = `${11 * scale}px ${getComputedStyle(this.frame).fontFamily}`;
    pen.textBaseline = "bottom";
    for (let t = 0; t < whole; t += step) {
      const x = (t / whole) * width;
      pen.fillRect(x, height - 16 * scale, scale, 4 * scale);
      if (x + 24 * scale < width) pen.fillText(`${t}${t ? "" : " s"}`, x + 4 * scale, height);
    }
  }

  #isMade(sample) {
    return this.made.some(([from, to]) => sample >= from && sample < to);
  }

  /** A click goes there; a drag selects, where that is wanted. */
  #listen(onSeek) {
    let from = null;
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      return Math.round(share * this.length);
    };
    const span = (event) => [Math.min(from, at(event)), Math.max(from, at(event))];
    const isDrag = ([a, b]) => (b - a) / this.length > 0.01;
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      from = at(event);
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (from !== null && this.onSelect && isDrag(span(event))) this.select(span(event));
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const chosen = span(event);
      from = null;
      if (this.onSelect && isDrag(chosen)) this.onSelect(...chosen);
      else onSeek?.(chosen[0]);
    });
    this.canvas.addEventListener("pointercancel", () => {
      from = null;
    });
  }
}

/** Seconds with one digit. */
const said = (samples, rate) => (samples / rate).toFixed(1);

function element(name, kind) {
  const made = document.createElement(name);
  made.className = kind;
  return made;
}

function coloursOf(frame) {
  const style = getComputedStyle(frame);
  const value = (name) => style.getPropertyValue(name).trim();
  const rgb = (name) => value(name).match(/[0-9a-f]{2}/gi).map((pair) => parseInt(pair, 16));
  return {
    recorded: value("--recorded"),
    made: value("--made"),
    faint: value("--faint"),
    recordedRgb: rgb("--recorded"),
    madeRgb: rgb("--made"),
  };
}
