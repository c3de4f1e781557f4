// What went wrong, in words, with what to do about it.

import { h } from "./dom.js";
import { t } from "./i18n.js";

/**
 * A notice of what went wrong.
 *
 * @param {Error} error a `Problem` of the service, which says what to do in its `detail`, or anything else
 * @param {() => void} [again] what a button to try again does
 */
export function problemNotice(error, again) {
  const isOffline = error instanceof TypeError && !navigator.onLine;
  const text = isOffline ? t("common.offline") : error.detail ?? (error instanceof TypeError ? t("common.unreachable") : String(error.message ?? error));
  if (!error.detail) console.error(error);
  return h("div", { class: "notice error", role: "alert" },
    h("p", {}, text),
    error.requestId && h("p", { class: "small" }, t("common.request_id", { id: error.requestId })),
    error.status === 401 && h("p", {}, h("a", { href: "#/account" }, t("common.sign_in"))),
    again && h("button", { type: "button", onclick: again }, t("common.try_again")));
}
