// How loud each frequency is, column by column; columns that are there are not computed again.

import { SAMPLE_RATE } from "./sound.js";

const WINDOW = 512; // 32 ms
const HOP = 160; // 10 ms
const ROWS = 80;
const FLOOR = -78; // dB below full scale that are drawn as nothing
const CEILING = -18;

const hann = Float32Array.from({ length: WINDOW }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / WINDOW));
const cosines = Float32Array.from({ length: WINDOW / 2 }, (_, i) => Math.cos((2 * Math.PI * i) / WINDOW));
const sines = Float32Array.from({ length: WINDOW / 2 }, (_, i) => -Math.sin((2 * Math.PI * i) / WINDOW));

// Rows are as far apart as we hear them: mel. Row 0 is the top.
const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700);
const hertz = (m) => 700 * (10 ** (m / 2595) - 1);
const edges = Array.from({ length: ROWS + 1 }, (_, row) => {
  const at = hertz(mel(60) + ((mel(SAMPLE_RATE / 2) - mel(60)) * (ROWS - row)) / ROWS);
  return (at * WINDOW) / SAMPLE_RATE;
});

export class Spectrogram {
  constructor() {
    this.clear();
  }

  clear() {
    this.columns = []; // Uint8Array(ROWS) each, 0 to 255
  }

  /** Compute what has come; the last window must be there whole, unless the track is done. */
  update(track) {
    const until = track.done ? track.length : track.length - WINDOW / 2;
    while (this.columns.length * HOP < until) {
      this.columns.push(column(track, this.columns.length * HOP));
    }
  }

  static rows = ROWS;

  static hop = HOP;
}

const real = new Float32Array(WINDOW);
const imaginary = new Float32Array(WINDOW);

function column(track, centre) {
  for (let i = 0; i < WINDOW; i += 1) {
    const at = centre - WINDOW / 2 + i;
    real[i] = at >= 0 && at < track.length ? track.samples[at] * hann[i] : 0;
    imaginary[i] = 0;
  }
  transform();
  const loudness = new Uint8Array(ROWS);
  for (let row = 0; row < ROWS; row += 1) {
    const low = Math.floor(edges[row + 1]);
    const high = Math.max(low + 1, Math.ceil(edges[row]));
    let power = 0;
    for (let bin = low; bin < high; bin += 1) power = Math.max(power, real[bin] ** 2 + imaginary[bin] ** 2);
    const decibels = 10 * Math.log10(power + 1e-12) - 20 * Math.log10(WINDOW / 4);
    loudness[row] = Math.max(0, Math.min(255, (255 * (decibels - FLOOR)) / (CEILING - FLOOR)));
  }
  return loudness;
}

/** The fast Fourier transform of `real` and `imaginary`, in place. */
function transform() {
  for (let i = 1, j = 0; i < WINDOW; i += 1) {
    let bit = WINDOW >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let size = 2; size <= WINDOW; size *= 2) {
    const step = WINDOW / size;
    for (let start = 0; start < WINDOW; start += size) {
      for (let k = 0; k < size / 2; k += 1) {
        const a = start + k;
        const b = a + size / 2;
        const c = cosines[k * step];
        const s = sines[k * step];
        const re = real[b] * c - imaginary[b] * s;
        const im = real[b] * s + imaginary[b] * c;
        real[b] = real[a] - re;
        imaginary[b] = imaginary[a] - im;
        real[a] += re;
        imaginary[a] += im;
      }
    }
  }
}
