// Sends frames and tells how far it is. It can be cancelled, and tried again where it broke off.

import { announce, fill, h } from "../dom.js";
import { formatBytes, t } from "../i18n.js";
import { problemNotice } from "../notices.js";
import { discardUpload, interruptedUpload, resumeUpload } from "../upload.js";
import { decision, progressLine, stoppable } from "./step.js";

/**
 * Sends, and shows in `place` how far it is.
 *
 * @param {Element} place
 * @param {(options: {signal: AbortSignal, onProgress: Function}) => Promise<string>} begin such as `resumeUpload`
 * @param {object} options
 * @param {AbortSignal} options.signal of the view; what was sent by then is there to be resumed
 * @param {(sent: number) => void} [options.onSent] as frames arrive
 * @returns {Promise<string|null>} the id of the session; null where it was cancelled, and what was sent is being removed
 */
export async function send(place, begin, { signal, onSent }) {
  const own = stoppable(signal);
  let isCancelled = false;
  const cancel = h("button", {
    type: "button",
    id: "cancel-upload",
    onclick: () => {
      isCancelled = true;
      own.stop();
    },
  }, t("common.cancel"));
  const progress = progressLine(t("clip.sending"));
  const trouble = h("div", {});
  fill(place, h("section", { class: "card", "aria-label": t("clip.sending") }, trouble, progress.element, cancel));
  cancel.focus({ preventScroll: true });
  progress.element.scrollIntoView({ block: "nearest" });
  const onProgress = (it) => {
    onSent?.(it.sent);
    progress.tell(it.total ? it.sent / it.total : 0, wordsOf(it));
  };

  for (let work = begin; ;) {
    try {
      return await work({ signal: own.signal, onProgress });
    } catch (error) {
      if (signal.aborted) throw error;
      if (!isCancelled) await wishToRepeat(error).catch(() => {});
      if (signal.aborted) throw signal.reason;
      if (isCancelled) break;
      work = (await interruptedUpload()) ? resumeUpload : begin;
    }
  }
  // It is noted that nothing of it is wanted, so the removal may take its time, or be done by the next page.
  discardUpload().catch(console.warn);
  return null;

  async function wishToRepeat(error) {
    const { promise, resolve } = decision(own.signal);
    fill(trouble, problemNotice(error, resolve));
    progress.element.hidden = true;
    await promise;
    fill(trouble);
    progress.element.hidden = false;
  }
}

let wasWaiting = false;

/** How far it is, in words. A screen reader is told only when the connection is lost, and when it is back. */
function wordsOf({ sent, total, bytesTotal, waiting }) {
  const size = formatBytes(bytesTotal);
  const words = waiting ? t("clip.waiting", { sent, total }) : t("clip.sent", { sent, total, size });
  if (waiting !== wasWaiting) announce(words);
  wasWaiting = waiting;
  return words;
}
