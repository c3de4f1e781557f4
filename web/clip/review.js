// The third step: the frames as they will be sent, the few words with them, and the upload.

import { announce, fill, h } from "../dom.js";
import { t } from "../i18n.js";
import { startUpload } from "../upload.js";
import { send } from "./send.js";
import { decision, showStep } from "./step.js";
import { Strip } from "./strip.js";
import { Terms } from "./terms.js";

/**
 * Shows the frames, asks the few words, and uploads.
 *
 * @param {Element} main where it is shown
 * @param {{frames: import("./frames.js").Frame[], leftOut: string[]}} made `leftOut` names files that cannot be sent
 * @param {{config: object, signal: AbortSignal}} options
 * @returns {Promise<string|null>} the id of the session; null where another clip is wanted
 */
export async function review(main, { frames, leftOut }, { config, signal }) {
  const { promise: left, resolve: leave } = decision(signal);
  const terms = new Terms(config);
  const upload = h("button", { type: "button", class: "primary", id: "upload" }, t("clip.upload"));
  const other = h("button", { type: "button", class: "plain", onclick: () => leave(null) }, t("clip.another"));
  const strip = new Strip(frames, { signal, onChange: () => { upload.disabled = strip.kept.length === 0; } });
  const form = h("div", {}, terms.element, h("div", { class: "actions clip-upload" }, upload, other));
  const sending = h("div", {});
  showStep(main, t("clip.review_title"), ...notices(frames, leftOut), strip.element, form, sending);
  announce(strip.count.textContent);
  for (;;) {
    const clicked = new Promise((resolve) => upload.addEventListener("click", () => resolve(true), { once: true }));
    if (!(await Promise.race([left, clicked]))) return null;
    const said = terms.read();
    if (!said) continue;
    form.hidden = strip.locked = true;
    const begin = (options) => startUpload({ frames: numbered(strip.kept), terms: said }, options);
    const id = await send(sending, begin, { signal, onSent: (n) => strip.markSent(n) });
    if (id) return id;
    fill(sending);
    strip.markSent(0);
    form.hidden = strip.locked = false;
    upload.focus();
    announce(t("clip.cancelled"));
  }
}

function notices(frames, leftOut) {
  const hasTimes = frames.every((it) => it.timestamp_ms !== null);
  return [
    !hasTimes && h("p", { class: "small" }, t("clip.no_times")),
    leftOut.length > 0 && h("p", { class: "notice warning" },
      t("clip.left_out", { n: leftOut.length, names: leftOut.join(", ") })),
  ].filter(Boolean);
}

/** The frames as they are sent, numbered from 1. */
function numbered(frames) {
  return frames.map(({ blob, timestamp_ms, width, height }, i) => (
    { number: i + 1, blob, timestamp_ms, width, height }
  ));
}
