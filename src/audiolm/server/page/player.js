// Plays a track while it grows: each piece begins where the one before it ends.
//
// Pieces are put on the clock of the sound card ahead of time, from a cushion of what has come. When
// the cushion is used up before more has come, playing waits until there is one again.

import { SAMPLE_RATE } from "./sound.js";

const CUSHION = 0.6; // seconds that must have come before playing begins
const AHEAD = 0.05; // seconds between asking for a piece and hearing it

let context = null;
let current = null; // the one player that is heard

/**
 * The output. It must first be asked for while a press is handled: browsers let no page speak
 * unbidden, and sound that is made comes seconds after the press.
 */
export function output() {
  // At the rate of the sound, pieces join to the sample.
  context ??= new AudioContext({ sampleRate: SAMPLE_RATE });
  if (context.state === "suspended") context.resume();
  return context;
}

export class Player {
  /**
   * @param {Track} track
   * @param {() => void} onChange it plays, waits or has stopped
   */
  constructor(track, onChange = () => {}) {
    this.track = track;
    this.onChange = onChange;
    this.state = "stopped"; // or "waiting", "playing"
    this.heard = 0; // samples given to the sound card since the beginning
    this.rest = 0; // where it stopped
    this.pieces = []; // {node, at, from, length}
  }

  /** Play from a sample on. */
  play(from = this.position) {
    if (current && current !== this) current.stop();
    current = this;
    this.#silence();
    output();
    this.next = this.track.done && from >= this.track.length ? 0 : Math.max(0, Math.floor(from));
    this.rest = this.next;
    this.state = "waiting";
    this.feed();
    this.onChange();
  }

  /** Be silent, and stay where it is. */
  stop() {
    if (this.state === "stopped") return;
    this.rest = this.position;
    this.#silence();
    this.state = "stopped";
    this.onChange();
  }

  /** Go to a sample; playing goes on there. */
  seek(sample) {
    if (this.state === "stopped") this.rest = sample;
    else this.play(sample);
  }

  /** Another track in its place, heard from the same sample on. */
  replace(track) {
    const at = this.position;
    const plays = this.state !== "stopped";
    if (plays) this.stop();
    this.track = track;
    this.rest = Math.min(at, track.length);
    if (plays) this.play(this.rest);
  }

  /** More of the track has come, or all of it. */
  feed() {
    if (this.state === "stopped") return;
    const { track } = this;
    const available = track.length - this.next;
    if (this.state === "playing" && this.at < context.currentTime) {
      this.state = "waiting"; // used up
      this.onChange();
    }
    if (this.state === "waiting") {
      if (!available || (!track.done && available < CUSHION * SAMPLE_RATE)) return;
      this.at = context.currentTime + AHEAD;
      this.state = "playing";
      this.onChange();
    }
    if (!available) return;
    const buffer = new AudioBuffer({ length: available, sampleRate: SAMPLE_RATE });
    buffer.copyToChannel(track.samples.subarray(this.next, track.length), 0);
    const node = new AudioBufferSourceNode(context, { buffer });
    node.connect(context.destination);
    node.start(this.at);
    this.pieces.push({ node, at: this.at, from: this.next, length: available });
    this.next += available;
    this.heard += available;
    this.at += available / SAMPLE_RATE;
  }

  /** To be called with every picture: notices the end, and a cushion that is used up. */
  tick() {
    if (this.state !== "playing" || context.currentTime < this.at) return;
    if (this.track.done && this.next >= this.track.length) {
      this.stop();
      this.rest = this.track.length;
      this.onChange();
    } else this.feed();
  }

  /** The sample that is heard now. */
  get position() {
    if (this.state === "stopped") return this.rest;
    const now = context.currentTime;
    let position = this.rest;
    for (const piece of this.pieces) {
      if (piece.at > now) break;
      position = piece.from + Math.min((now - piece.at) * SAMPLE_RATE, piece.length);
    }
    return position;
  }

  #silence() {
    for (const { node } of this.pieces) {
      node.stop();
      node.disconnect();
    }
    this.pieces = [];
  }
}
