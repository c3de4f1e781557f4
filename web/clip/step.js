// What the steps on the way from clip to upload have in common: how one is shown, and how its end is waited for.

import { fill, h } from "../dom.js";

/** Shows a step in the place of the one before, and has a screen reader begin at its heading. */
export function showStep(main, title, ...content) {
  const heading = h("h1", { tabindex: "-1" }, title);
  fill(main, heading, ...content);
  scrollTo({ top: 0, behavior: "instant" });
  heading.focus({ preventScroll: true });
}

/**
 * What a person decides in a step.
 *
 * @param {AbortSignal} signal of the view; when it is left, the promise is rejected
 * @returns {{promise: Promise, resolve: Function, reject: Function}}
 */
export function decision(signal) {
  const decided = Promise.withResolvers();
  signal.addEventListener("abort", () => decided.reject(signal.reason), { once: true });
  return decided;
}

/** A bar that fills, with words beside it. `tell(share, text)` takes a share from 0 to 1. */
export function progressLine(label) {
  const bar = h("progress", { max: "1", value: 0, "aria-label": label });
  const words = h("p", { class: "small" }, label);
  const element = h("div", { class: "progress-line" }, words, bar);
  const tell = (share, text) => {
    bar.value = share;
    if (text && words.textContent !== text) words.textContent = text;
  };
  return { element, tell };
}

/** A signal that ends with another one or by `stop()`. */
export function stoppable(signal) {
  const own = new AbortController();
  return { signal: AbortSignal.any([signal, own.signal]), stop: () => own.abort() };
}
