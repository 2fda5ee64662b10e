// One take: a card with its picture, its player, and what one can do with it.

import { Picture } from "./picture.js";
import { Player } from "./player.js";
import { SAMPLE_RATE, Track } from "./sound.js";

const template = document.getElementById("take-template");
const list = document.getElementById("takes");
const shown = new Set();

/** What the controls of a take do, by their class: of several takes each says which it is of. */
const CONTROLS = {
  play: "Play",
  seek: "Position",
  close: "Remove",
  stop: "Stop",
  download: "Download",
  use: "Work on this",
  again: "Try again",
};

/** Sound that can be played, with a picture, a button, a position and a time. */
export class Playable {
  constructor(root, track, options = {}) {
    this.root = root;
    this.button = root.querySelector(".play");
    this.seek = root.querySelector(".seek");
    this.time = root.querySelector(".time");
    this.player = new Player(track, () => this.#showState());
    this.picture = new Picture(root.querySelector(".picture"), track, {
      ...options,
      onSeek: (sample) => this.player.seek(sample),
    });
    this.button.setAttribute("aria-pressed", "false");
    this.button.addEventListener("click", () => {
      if (this.player.state === "stopped") this.player.play();
      else this.player.stop();
    });
    this.seek.addEventListener("input", () => this.player.seek(this.seek.value * SAMPLE_RATE));
    shown.add(this);
  }

  /** More of it has come, or all. */
  grow() {
    this.picture.redraw();
    this.player.feed();
    this.root.dataset.samples = this.track.length;
  }

  /** Another track: see `Picture.show`. */
  show(track, options) {
    this.player.stop();
    this.player.track = track;
    this.player.rest = 0;
    this.picture.show(track, options);
    this.told = null;
  }

  get track() {
    return this.player.track;
  }

  remove() {
    this.player.stop();
    this.picture.remove();
    shown.delete(this);
  }

  /** With every picture of the screen. */
  tick() {
    this.player.tick();
    const { position, track, state, heard } = this.player;
    const now = [position, track.length, this.picture.length, state, heard].join();
    if (now === this.told) return; // nothing has moved since the last picture
    this.told = now;
    this.picture.point(track.length && (position || state !== "stopped") ? position : null);
    const length = (this.picture.length / SAMPLE_RATE).toFixed(1);
    const said = `${(position / SAMPLE_RATE).toFixed(1)} of ${length} s`;
    if (this.time.textContent !== said) {
      this.time.textContent = said;
      this.seek.setAttribute("aria-valuetext", said);
    }
    this.seek.max = length;
    if (document.activeElement !== this.seek || state !== "stopped") {
      this.seek.value = position / SAMPLE_RATE;
    }
    this.root.dataset.heard = heard;
  }

  #showState() {
    this.button.setAttribute("aria-pressed", String(this.player.state !== "stopped"));
    this.root.dataset.player = this.player.state;
  }
}

function tickAll() {
  shown.forEach((playable) => playable.tick());
  requestAnimationFrame(tickAll);
}
requestAnimationFrame(tickAll);

export class Take {
  /**
   * @param {string} title
   * @param {string} detail what it was made with
   * @param {string} fileName under which it is downloaded
   * @param {{onUse: (samples: Float32Array) => void, onAgain: () => void}} actions
   */
  constructor(title, detail, fileName, { onUse, onAgain }) {
    this.root = template.content.firstElementChild.cloneNode(true);
    this.part = (name) => this.root.querySelector(`.${name}`);
    this.part("title").textContent = title;
    this.part("detail").textContent = detail;
    this.root.setAttribute("aria-label", `${title}, ${detail}`);
    for (const [name, does] of Object.entries(CONTROLS)) {
      this.part(name).setAttribute("aria-label", `${does}: ${title}, ${detail}`);
    }
    this.fileName = fileName;
    this.abort = new AbortController();
    this.playable = new Playable(this.root, new Track());
    this.abort.signal.addEventListener("abort", () => this.fail("Stopped."));
    this.part("stop").addEventListener("click", () => this.abort.abort());
    this.part("close").addEventListener("click", () => this.remove());
    this.part("use").addEventListener("click", () => onUse(this.playable.track.all.slice()));
    this.part("again").addEventListener("click", () => {
      this.remove();
      onAgain();
      list.firstElementChild.querySelector(".stop").focus();
    });
    list.prepend(this.root);
    document.getElementById("no-takes").hidden = true;
  }

  /** What is being done, in a few words. */
  state(words) {
    this.part("state").textContent = words;
  }

  making(is) {
    this.root.classList.toggle("making", is);
    this.part("stop").hidden = !is;
  }

  /** It is whole: `file` is what the server sent. */
  finish(file) {
    this.state("");
    this.root.classList.remove("failed");
    this.part("again").hidden = true;
    const link = this.part("download");
    if (!file) {
      this.#ended(this.part("play"));
      return;
    }
    if (link.href) URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(file);
    link.download = this.fileName;
    link.hidden = false;
    this.part("use").hidden = false;
    this.#ended(link);
  }

  fail(words) {
    this.state(words);
    this.root.classList.add("failed");
    this.part("again").hidden = false;
    this.#ended(this.part("again"));
  }

  /** The button Stop goes; where it has the keyboard, `next` gets it. */
  #ended(next) {
    const hadFocus = document.activeElement === this.part("stop");
    this.making(false);
    if (hadFocus) next.focus();
  }

  remove() {
    this.abort.abort();
    const hadFocus = this.root.contains(document.activeElement);
    const near = this.root.nextElementSibling ?? this.root.previousElementSibling;
    this.playable.remove();
    const link = this.part("download");
    if (link.href) URL.revokeObjectURL(link.href);
    this.root.remove();
    document.getElementById("no-takes").hidden = list.children.length > 0;
    if (hadFocus) (near?.querySelector(".close") ?? document.getElementById("takes-title")).focus();
  }
}
