// The timeline: pictures of the whole clip, and a window on it that is moved and stretched by pointer or keys.

import { h } from "../dom.js";
import { formatSeconds, t } from "../i18n.js";
import { fitWindow, WINDOW_MS } from "./cycle.js";

/** A second is never narrower, so that the window of a long clip can be held; the timeline then scrolls. */
const LEAST_PX_PER_SECOND = 48;
/** Browsers do not paint much wider than this. */
const MOST_PX = 14000;
const HEIGHT_PX = 72;
const ARROW_MS = 100;
const PAGE_MS = 1000;

/** The timeline of a clip; `element` is to be shown. */
export class Timeline {
  #durationMs;
  #thumbs = [];
  #window = null;
  #onMove;
  #onRest;

  /**
   * @param {object} options
   * @param {number} options.durationMs of the clip
   * @param {(ms: number) => void} options.onMove while the window changes, with the moment that changes
   * @param {() => void} options.onRest when it has changed
   */
  constructor({ durationMs, onMove, onRest }) {
    this.#durationMs = durationMs;
    this.#onMove = onMove;
    this.#onRest = onRest;
    this.pictures = h("canvas", { class: "timeline-pictures", "aria-hidden": "true" });
    this.playhead = h("div", { class: "timeline-playhead", hidden: true });
    this.window = slider("timeline-window", t("clip.window_start"));
    this.length = slider("timeline-grip end", t("clip.window_length"));
    this.begin = h("div", { class: "timeline-grip begin", "aria-hidden": "true" });
    this.track = h("div", { class: "timeline-track" },
      this.pictures, h("div", { class: "timeline-shade before" }), h("div", { class: "timeline-shade behind" }),
      this.window, this.begin, this.length, this.playhead);
    this.element = h("div", { class: "timeline", role: "group", "aria-label": t("clip.timeline") }, this.track);
    const px = Math.min(MOST_PX, (durationMs / 1000) * LEAST_PX_PER_SECOND);
    this.track.style.setProperty("--least", `${Math.round(px)}px`);
    this.#listen();
  }

  /** The part that is chosen; null before there is one. */
  get chosen() {
    return this.#window;
  }

  /** Adds a picture of a moment; they come in the order of time. */
  addThumb(thumb) {
    this.#thumbs.push(thumb);
    this.#paint();
  }

  /** Lets the window be changed, and shows this one. */
  choose(window) {
    this.track.classList.add("ready");
    this.#set(window);
    this.#reveal("center");
  }

  /** Shows where the preview is. */
  tellTime(ms) {
    this.playhead.hidden = false;
    this.track.style.setProperty("--time", ms / this.#durationMs);
  }

  /** Whether it can be changed. */
  set locked(isLocked) {
    this.track.inert = isLocked;
  }

  #set(window) {
    const { startMs, lengthMs } = this.#window = fitWindow(window, this.#durationMs);
    this.track.style.setProperty("--start", startMs / this.#durationMs);
    this.track.style.setProperty("--length", lengthMs / this.#durationMs);
    const from = formatSeconds(startMs);
    const to = formatSeconds(startMs + lengthMs);
    say(this.window, startMs, 0, this.#durationMs - lengthMs, t("clip.from_to", { from, to }));
    const most = Math.min(WINDOW_MS.most, this.#durationMs);
    say(this.length, lengthMs, Math.min(WINDOW_MS.least, most), most, formatSeconds(lengthMs));
  }

  #listen() {
    const { track } = this;
    new ResizeObserver(() => this.#paint()).observe(track);
    const start = () => this.#window.startMs;
    this.#drag(this.window, ({ startMs, lengthMs }, ms) => ({ startMs: startMs + ms, lengthMs }), start);
    this.#drag(this.begin, ({ startMs, lengthMs }, ms) => this.#begun(startMs + ms, startMs + lengthMs), start);
    this.#drag(this.length, ({ startMs, lengthMs }, ms) => this.#stretched(startMs, lengthMs + ms), () => this.#end());
    this.window.addEventListener("keydown", (event) => this.#moveByKey(event));
    this.length.addEventListener("keydown", (event) => this.#stretchByKey(event));
    track.addEventListener("click", (event) => this.#goTo(event));
  }

  #end() {
    return this.#window.startMs + this.#window.lengthMs;
  }

  /** A window whose end moves: it stays in the clip, and its start stays where it is. */
  #stretched(startMs, lengthMs) {
    return { startMs, lengthMs: Math.min(lengthMs, this.#durationMs - startMs) };
  }

  /** A window whose start moves and whose end stays where it is. */
  #begun(startMs, endMs) {
    const { lengthMs } = fitWindow({ startMs, lengthMs: endMs - Math.max(0, startMs) }, this.#durationMs);
    return { startMs: endMs - lengthMs, lengthMs };
  }

  /** Lets a part be dragged. `change` makes the new window of that at the drag's beginning and the way in ms. */
  #drag(grip, change, moment) {
    let from = null;
    grip.addEventListener("pointerdown", (event) => {
      if (!this.#window || event.button !== 0) return;
      grip.setPointerCapture(event.pointerId);
      from = { x: event.clientX, window: this.#window };
    });
    grip.addEventListener("pointermove", (event) => {
      if (!from) return;
      const ms = ((event.clientX - from.x) / this.track.clientWidth) * this.#durationMs;
      this.#set(change(from.window, ms));
      this.#onMove(moment());
    });
    const drop = () => {
      if (from && from.window !== this.#window) this.#onRest();
      from = null;
    };
    grip.addEventListener("pointerup", drop);
    grip.addEventListener("pointercancel", drop);
  }

  #goTo(event) {
    if (!this.#window || event.target !== this.pictures) return;
    const { left, width } = this.track.getBoundingClientRect();
    const ms = ((event.clientX - left) / width) * this.#durationMs;
    this.#change({ ...this.#window, startMs: ms - this.#window.lengthMs / 2 });
  }

  #moveByKey(event) {
    const { startMs, lengthMs } = this.#window ?? {};
    const to = keyTarget(event, startMs, 0, this.#durationMs);
    if (to !== null) this.#change({ startMs: to, lengthMs });
  }

  #stretchByKey(event) {
    const { startMs, lengthMs } = this.#window ?? {};
    const to = keyTarget(event, lengthMs, WINDOW_MS.least, WINDOW_MS.most);
    if (to !== null) this.#change(this.#stretched(startMs, to), () => this.#end());
  }

  #change(window, moment = () => this.#window.startMs) {
    this.#set(window);
    this.#reveal("nearest");
    this.#onMove(moment());
    this.#onRest();
  }

  #reveal(inline) {
    this.window.scrollIntoView({ inline, block: "nearest", behavior: "instant" });
  }

  /** Paints as many pictures side by side as have room, each the nearest to its place. */
  #paint() {
    const width = this.track.clientWidth;
    if (width === 0 || this.#thumbs.length === 0) return;
    const density = Math.min(devicePixelRatio, MOST_PX / width);
    const { pictures } = this;
    pictures.width = Math.round(width * density);
    pictures.height = Math.round(HEIGHT_PX * density);
    const context = pictures.getContext("2d");
    const [{ canvas }] = this.#thumbs;
    const count = Math.max(1, Math.round(width / Math.max(28, (HEIGHT_PX * canvas.width) / canvas.height)));
    const slot = pictures.width / count;
    const known = this.#thumbs.at(-1).ms;
    for (let i = 0; i < count; i++) {
      const ms = ((i + 0.5) * this.#durationMs) / count;
      if (i > 0 && ms > known + this.#durationMs / count) break;
      cover(context, nearest(this.#thumbs, ms).canvas, i * slot, slot, pictures.height);
    }
  }
}

function slider(name, label) {
  return h("div", { class: name, role: "slider", tabindex: "0", "aria-label": label });
}

/** Tells a slider's value in seconds. */
function say(element, ms, least, most, text) {
  const seconds = (value) => (value / 1000).toFixed(2);
  element.setAttribute("aria-valuemin", seconds(least));
  element.setAttribute("aria-valuemax", seconds(most));
  element.setAttribute("aria-valuenow", seconds(ms));
  element.setAttribute("aria-valuetext", text);
}

/** Where a key moves a value to, or null where it is none of a slider's keys. */
function keyTarget(event, value, least, most) {
  if (value === undefined) return null;
  const page = event.shiftKey ? PAGE_MS : ARROW_MS;
  const targets = {
    ArrowLeft: value - page, ArrowDown: value - page, ArrowRight: value + page, ArrowUp: value + page,
    PageDown: value - PAGE_MS, PageUp: value + PAGE_MS, Home: least, End: most,
  };
  if (!(event.key in targets)) return null;
  event.preventDefault();
  return targets[event.key];
}

function nearest(thumbs, ms) {
  return thumbs.reduce((best, it) => (Math.abs(it.ms - ms) < Math.abs(best.ms - ms) ? it : best));
}

/** Draws the middle of a picture so that it fills a place. */
function cover(context, picture, x, width, height) {
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, tall] = [width / scale, height / scale];
  context.drawImage(picture, (picture.width - w) / 2, (picture.height - tall) / 2, w, tall, x, 0, width, height);
}
