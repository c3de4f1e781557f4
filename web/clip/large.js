// One frame seen large, with the ones beside it a key or a touch away.

import { h } from "../dom.js";
import { t } from "../i18n.js";

/**
 * Shows a frame large, in a dialog.
 *
 * @param {{frame: {blob: Blob, width: number, height: number}, name: string, isOut: boolean}[]} items
 * @param {number} first which is shown
 * @param {object} options
 * @param {AbortSignal} options.signal closes it
 * @param {((i: number) => void)|null} options.onToggle leaves one out or puts it back; null where that cannot be done
 */
export function showLarge(items, first, { signal, onToggle }) {
  let at = first;
  let url = null;
  const picture = h("img", {});
  const name = h("p", { role: "status" });
  const button = (text, act, attributes = {}) => h("button", { type: "button", onclick: act, ...attributes }, text);
  const before = button("‹", () => go(-1), { "aria-label": t("clip.frame_before"), class: "large-step" });
  const next = button("›", () => go(1), { "aria-label": t("clip.frame_next"), class: "large-step" });
  const toggle = button("", () => {
    onToggle(at);
    show();
  }, { hidden: !onToggle });
  const close = button(t("common.close"), () => dialog.close(), { autofocus: true });
  const dialog = h("dialog", { class: "large", "aria-label": t("clip.strip") },
    picture, name, h("div", { class: "actions" }, before, next, toggle, close));

  const show = () => {
    const item = items[at];
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(item.frame.blob);
    Object.assign(picture, { src: url, alt: item.name, width: item.frame.width, height: item.frame.height });
    name.textContent = item.isOut ? t("clip.is_out", { name: item.name }) : item.name;
    toggle.textContent = t(item.isOut ? "clip.put_back_short" : "clip.leave_out_short");
    // Not `disabled`, which would lose the focus at the ends.
    before.setAttribute("aria-disabled", at === 0);
    next.setAttribute("aria-disabled", at === items.length - 1);
  };
  const go = (step) => {
    at = Math.min(Math.max(at + step, 0), items.length - 1);
    show();
  };
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    go(step);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  const leave = () => dialog.close();
  signal.addEventListener("abort", leave, { once: true });
  dialog.addEventListener("close", () => {
    signal.removeEventListener("abort", leave);
    URL.revokeObjectURL(url);
    dialog.remove();
  });
  show();
  document.body.append(dialog);
  dialog.showModal();
}
