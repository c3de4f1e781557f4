// The frame viewer: steps through the frames of a session, says what is seen in each for the claim at hand, and holds
// one frame beside another. On a wide screen it stays beside the findings, on a phone it opens as a dialog.

import { api } from "../api.js";
import { announce, fill, h } from "../dom.js";
import { t } from "../i18n.js";
import { load } from "./picture.js";
import { SPOKEN, frameAndTime, frameLink } from "./words.js";

const SWIPE_PX = 40;
const WIDE = matchMedia("(min-width: 64rem)");

/**
 * A claim about frames, as the viewer knows it.
 *
 * @typedef {object} Claim
 * @property {string} title
 * @property {Map<number, string>} seen what is seen in which frame; empty where nothing was said
 * @property {HTMLElement} [element] where the page tells it
 */

/** Shows the frames of one session. */
export class FrameViewer {
  #session;
  #frames;
  #signal;
  #claims = [];
  #claim = null;
  #at = 0;
  #held = null;
  #opener = null;
  #parts;

  /**
   * @param {object} session
   * @param {AbortSignal} signal of the view
   * @param {object} [options]
   * @param {string} [options.id] of the viewer's element
   * @param {boolean} [options.beside] whether it stays beside the findings where there is room
   */
  constructor(session, signal, { id = "viewer", beside = true } = {}) {
    this.#session = session;
    this.#frames = session.frames;
    this.#signal = signal;
    this.#parts = this.#build(id);
    /** Where it stays on a wide screen; to be put into the page. */
    this.aside = h("div", { class: "viewer-aside no-print" });
    this.beside = beside;
    document.addEventListener("keydown", (event) => this.#onKey(event), { signal });
    WIDE.addEventListener("change", () => this.#place(), { signal });
    signal.addEventListener("abort", () => this.#parts.dialog.remove(), { once: true });
    this.#place();
    if (beside && WIDE.matches) this.#paint();
  }

  /** The numbers of the frames. */
  get numbers() {
    return new Set(this.#frames.map((it) => it.number));
  }

  /** Has the viewer name these claims with the frames that they cite. */
  cite(claims) {
    this.#claims = claims;
    if (this.#isSeen()) this.#paint();
  }

  /** Makes a claim the one at hand and shows a frame, by default the first that the claim cites. */
  prepare(claim, number = claim?.seen.keys().next().value) {
    this.#claim = claim ?? null;
    const at = this.#frames.findIndex((it) => it.number === number);
    if (at >= 0) this.#at = at;
    if (this.#isSeen()) this.#paint();
  }

  /** Shows a frame, for a claim where there is one, and opens where it is not beside the findings. */
  show(number, claim = null) {
    this.prepare(claim, number);
    if (!this.#isSeen()) this.#open();
    this.#paint();
    this.#tell();
  }

  #isSeen() {
    return this.#parts.dialog.open || (this.beside && WIDE.matches);
  }

  #build(id) {
    const button = (name, action, attributes = {}) =>
      h("button", { type: "button", onclick: action, ...attributes }, name);
    const step = (sign, label, by) =>
      button(h("span", { "aria-hidden": "true" }, sign), () => this.#step(by), { class: "step", "aria-label": label });
    const parts = {
      larger: button(t("result.larger"), () => this.#open(), { class: "plain larger" }),
      close: button(t("common.close"), () => parts.dialog.close(), { class: "close" }),
      pictures: h("div", { class: "viewer-pictures" }),
      held: picture("viewer-held"),
      shown: picture("viewer-shown"),
      range: h("input", {
        type: "range", min: 1, max: this.#frames.length, "aria-label": t("result.frame_slider"),
        oninput: () => this.#go(Number(parts.range.value) - 1),
      }),
      hold: button(t("result.hold"), () => this.#toggleHold(), { class: "hold" }),
      said: h("div", { class: "viewer-said" }),
    };
    parts.pictures.append(parts.held.figure, parts.shown.figure);
    parts.held.figure.hidden = true;
    const title = `${id}-title`;
    parts.panel = h("section", { id, class: "viewer", "aria-labelledby": title },
      h("div", { class: "viewer-head" }, h("h2", { id: title }, t("result.viewer")), parts.larger, parts.close),
      parts.pictures,
      h("div", { class: "viewer-controls" },
        step("‹", t("result.previous"), -1), parts.range, step("›", t("result.next"), 1)),
      parts.said,
      h("div", { class: "viewer-more" }, parts.hold));
    parts.dialog = h("dialog", {
      class: "viewer-dialog no-print", "aria-labelledby": title, onclose: () => this.#closed(),
      onclick: (event) => event.target === parts.dialog && parts.dialog.close(),
    });
    document.body.append(parts.dialog);
    onSwipe(parts.pictures, (by) => this.#step(by));
    return parts;
  }

  #place() {
    const { dialog, panel } = this.#parts;
    const isBeside = this.beside && WIDE.matches && !dialog.open;
    const home = isBeside ? this.aside : dialog;
    if (panel.parentElement !== home) home.append(panel);
    if (isBeside) this.#paint();
  }

  #open() {
    const { dialog, panel, close } = this.#parts;
    if (dialog.open) return;
    this.#opener = document.activeElement;
    dialog.append(panel);
    dialog.showModal();
    close.focus();
    this.#paint();
  }

  #closed() {
    this.#place();
    this.#opener?.focus();
    this.#opener = null;
  }

  #go(at) {
    const to = Math.min(Math.max(at, 0), this.#frames.length - 1);
    if (to === this.#at) return;
    this.#at = to;
    this.#paint();
    this.#tell();
  }

  #step(by) {
    this.#go(this.#at + by);
  }

  #toggleHold() {
    this.#held = this.#held === null ? this.#at : null;
    // Beside the held frame another is wanted; the one after it is as good as any.
    if (this.#held !== null) this.#step(this.#at + 1 < this.#frames.length ? 1 : -1);
    this.#paint();
  }

  #onKey(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const { dialog, panel } = this.#parts;
    if (!this.#isSeen() || (!dialog.open && document.querySelector("dialog[open]"))) return;
    // Fields and sliders have a use of their own for these keys.
    if (event.target.closest?.("input, textarea, select")) return;
    const isWithin = panel.contains(event.target);
    const go = {
      ArrowLeft: () => this.#step(-1),
      ArrowRight: () => this.#step(1),
      Home: isWithin && (() => this.#go(0)),
      End: isWithin && (() => this.#go(this.#frames.length - 1)),
      Escape: !dialog.open && this.#held !== null && (() => this.#toggleHold()),
    }[event.key];
    if (!go) return;
    event.preventDefault();
    go();
  }

  #tell() {
    const frame = this.#frames[this.#at];
    const seen = this.#claim?.seen.get(frame.number);
    announce([frameAndTime(frame), seen].filter(Boolean).join(": "));
  }

  #paint() {
    const { shown, held, range, hold, pictures, said } = this.#parts;
    const frame = this.#frames[this.#at];
    if (!frame) return;
    const isHeld = this.#held !== null;
    this.#put(shown, frame, frameAndTime(frame, this.#frames.at(-1).number));
    if (isHeld) {
      const other = this.#frames[this.#held];
      this.#put(held, other, t("result.held", { place: frameAndTime(other) }));
    }
    held.figure.hidden = !isHeld;
    pictures.classList.toggle("two", isHeld);
    hold.textContent = t(isHeld ? "result.let_go" : "result.hold");
    range.value = this.#at + 1;
    range.setAttribute("aria-valuetext", frameAndTime(frame));
    this.#say(frame);
    this.#markEvidence(frame.number);
    this.#fetchNeighbours();
  }

  #put({ image, caption }, frame, words) {
    caption.textContent = words;
    if (image.dataset.number === String(frame.number) && image.src) return;
    image.width = frame.width;
    image.height = frame.height;
    image.alt = t("result.frame", { number: frame.number });
    load(image, this.#session.session_id, frame.number, this.#signal);
  }

  /** Writes what is said about the frame, with the focus on the button that had it or on the one that stays. */
  #say(frame) {
    const { said, hold } = this.#parts;
    const focused = said.contains(document.activeElement) ? nameOf(document.activeElement) : null;
    fill(said, this.#aboutClaim(frame), this.#aboutFrame(frame));
    if (focused === null) return;
    const again = [...said.querySelectorAll("button")].find((it) => nameOf(it) === focused);
    (again ?? hold).focus({ preventScroll: true });
  }

  /** What is seen in the frame for the claim at hand, and where else that is to be seen. */
  #aboutClaim(frame) {
    const claim = this.#claim;
    if (!claim) return null;
    const seen = claim.seen.get(frame.number);
    const cited = [...claim.seen.keys()];
    const unsaid = claim.seen.has(frame.number) ? "result.cited_here" : "result.not_cited";
    return h("div", { class: "viewer-claim" },
      h("h3", {}, claim.title),
      seen ? h("p", { class: "viewer-seen", lang: SPOKEN }, seen) : h("p", { class: "viewer-seen small" }, t(unsaid)),
      cited.length > 1 && h("ul", { class: "viewer-cited" }, cited.map((number) =>
        h("li", {}, frameLink(number, this, claim, number === frame.number)))));
  }

  /** The other claims that cite the frame. */
  #aboutFrame(frame) {
    const others = this.#claims.filter((it) => it !== this.#claim && it.seen.has(frame.number));
    if (others.length === 0) return null;
    return h("div", { class: "viewer-others" },
      h("h3", { class: "small" }, t("result.also_here")),
      h("ul", {}, others.map((claim) => h("li", {},
        h("button", { type: "button", class: "plain", onclick: () => this.#switch(claim, frame) }, claim.title)))));
  }

  #switch(claim, frame) {
    this.prepare(claim, frame.number);
    this.#tell();
    if (!this.#parts.dialog.open) claim.element?.scrollIntoView({ block: "nearest" });
  }

  /** Marks the buttons of the frame that is shown, so that eyes find their way back. */
  #markEvidence(number) {
    const claim = this.#claim;
    for (const it of document.querySelectorAll(".evidence[aria-current]")) it.removeAttribute("aria-current");
    for (const button of claim?.element?.querySelectorAll(`.evidence[data-frame="${number}"]`) ?? []) {
      button.setAttribute("aria-current", "true");
    }
  }

  /** So that the next step shows its frame at once. */
  #fetchNeighbours() {
    for (const by of [1, -1]) {
      const next = this.#frames[this.#at + by];
      if (next) api.frameImage(this.#session.session_id, next.number, this.#signal).catch(() => undefined);
    }
  }
}

function nameOf(button) {
  return button.getAttribute("aria-label") ?? button.textContent;
}

function picture(name) {
  const image = h("img", { class: "frame", alt: "" });
  const caption = h("figcaption", {});
  return { image, caption, figure: h("figure", { class: name }, image, caption) };
}

/** Calls `step(1)` for a swipe to the left and `step(-1)` for one to the right. */
function onSwipe(element, step) {
  let from = null;
  element.addEventListener("pointerdown", (event) => {
    from = event.pointerType === "touch" && event.isPrimary ? event : null;
  });
  element.addEventListener("pointerup", (event) => {
    if (!from || event.pointerId !== from.pointerId) return;
    const [x, y] = [event.clientX - from.clientX, event.clientY - from.clientY];
    from = null;
    if (Math.abs(x) >= SWIPE_PX && Math.abs(x) > 2 * Math.abs(y)) step(x < 0 ? 1 : -1);
  });
  element.addEventListener("pointercancel", () => { from = null; });
}
