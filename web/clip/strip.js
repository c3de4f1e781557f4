// The strip of frames: what will be sent. Frames are left out and put back, and seen large.

import { announce, h } from "../dom.js";
import { formatBytes, formatSeconds, t } from "../i18n.js";
import { showLarge } from "./large.js";

/** The strip; `element` is to be shown. */
export class Strip {
  #items;
  #signal;
  #onChange;

  /**
   * @param {import("./frames.js").Frame[]} frames
   * @param {{signal: AbortSignal, onChange: () => void}} options
   */
  constructor(frames, { signal, onChange }) {
    this.#signal = signal;
    this.#onChange = onChange;
    this.#items = frames.map((frame, i) => this.#item(frame, i));
    this.count = h("p", { class: "small" });
    const elements = this.#items.map((it) => it.element);
    this.list = h("ul", { id: "strip", class: "strip", "aria-label": t("clip.strip") }, elements);
    this.element = h("div", { class: "clip-strip" }, this.list, this.count);
    this.#tell();
  }

  /** The frames that are not left out, in order. */
  get kept() {
    return this.#items.filter((it) => !it.isOut).map((it) => it.frame);
  }

  /** Whether frames can be left out. */
  set locked(isLocked) {
    this.element.classList.toggle("locked", isLocked);
    for (const it of this.#items) it.toggle.hidden = isLocked;
  }

  /** Marks the first `n` of the kept frames as sent, or none. */
  markSent(n) {
    const kept = this.#items.filter((it) => !it.isOut);
    for (const [i, { element }] of kept.entries()) element.classList.toggle("sent", i < n);
    // The newest stays in sight, without moving the page.
    this.list.scrollLeft = kept[Math.max(0, n - 2)].element.offsetLeft - this.list.offsetLeft;
  }

  #item(frame, i) {
    const name = nameOf(frame, i);
    const open = h("button", {
      type: "button", class: "strip-picture", "aria-label": name, "aria-haspopup": "dialog", onclick: () => this.#open(i),
    }, frame.thumb);
    const toggle = h("button", { type: "button", class: "strip-toggle", onclick: () => this.#toggle(i) });
    const caption = frame.timestamp_ms === null ? String(i + 1) : formatSeconds(frame.timestamp_ms);
    const element = h("li", {},
      open,
      toggle,
      h("span", { class: "small", "aria-hidden": "true" }, caption));
    const item = { frame, name, element, toggle, isOut: false };
    label(item);
    return item;
  }

  #toggle(i) {
    const item = this.#items[i];
    item.isOut = !item.isOut;
    item.element.classList.toggle("out", item.isOut);
    label(item);
    this.#tell();
    announce(this.count.textContent);
    this.#onChange();
  }

  #open(i) {
    const isLocked = this.element.classList.contains("locked");
    showLarge(this.#items, i, { signal: this.#signal, onToggle: isLocked ? null : (at) => this.#toggle(at) });
  }

  #tell() {
    const { kept } = this;
    const size = formatBytes(kept.reduce((sum, it) => sum + it.blob.size, 0));
    this.count.textContent = t("clip.count", { n: kept.length, size });
  }
}

/** The name of a frame for who does not see it. */
function nameOf({ timestamp_ms }, i) {
  if (timestamp_ms === null) return t("clip.picture_name", { number: i + 1 });
  return t("clip.frame_name", { number: i + 1, time: formatSeconds(timestamp_ms) });
}

function label({ toggle, isOut, name }) {
  toggle.textContent = isOut ? "↺" : "✕";
  toggle.setAttribute("aria-label", t(isOut ? "clip.put_back" : "clip.leave_out", { name }));
  toggle.title = t(isOut ? "clip.put_back_short" : "clip.leave_out_short");
}
