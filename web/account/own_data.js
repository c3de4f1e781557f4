// The card by which people take their data with them, or have all of it erased.

import { api } from "../api.js";
import { announce, ask, fill, h } from "../dom.js";
import { formatBytes, t } from "../i18n.js";
import { problemNotice } from "../notices.js";
import { receiptInWords } from "../result/words.js";
import { forgetUploads } from "../upload.js";

/** So long an address of a file is kept for the browser to save it, in ms. */
const SAVING_MS = 60_000;

/** The card. */
export function ownDataCard(signal) {
  return h("section", { class: "card" },
    h("h2", {}, t("account.own_data")),
    h("p", {}, t("account.export_what")),
    exporting(signal),
    h("p", {}, t("account.erase_what")),
    erasing(signal));
}

function exporting(signal) {
  const told = h("div");
  const button = h("button", { type: "button", id: "export", onclick: () => save() }, t("account.export"));
  const save = async () => {
    button.disabled = true;
    try {
      const progress = fill(told, h("p", {}, t("account.export_preparing"))).firstElementChild;
      const response = await api.exportAll(signal);
      const bytes = await counted(response, (size) => {
        progress.textContent = t("account.export_received", { size: formatBytes(size) });
      });
      offer(await bytes.blob(), nameOf(response));
      progress.textContent = t("account.exported", { name: nameOf(response) });
      announce(progress.textContent);
    } catch (error) {
      if (!signal.aborted) fill(told, problemNotice(error, save));
    } finally {
      button.disabled = false;
    }
  };
  return h("div", { class: "account-deed" }, button, told);
}

/** The same answer, whose size so far is told while it comes. It goes to the browser's disk, not into this page. */
async function counted(response, onSize) {
  let size = 0;
  const count = new TransformStream({
    transform(chunk, controller) {
      size += chunk.byteLength;
      onSize(size);
      controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(count), { headers: { "Content-Type": "application/zip" } });
}

function nameOf(response) {
  const told = /filename="([\w.-]+)"/.exec(response.headers.get("Content-Disposition") ?? "");
  const day = new Date().toISOString().slice(0, 10);
  return (told?.[1] ?? "swimcoach-export.zip").replace(/(?=\.zip$)/, `-${day}`);
}

function offer(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), SAVING_MS);
}

function erasing(signal) {
  const told = h("div");
  const button = h("button", { type: "button", id: "erase", class: "danger", onclick: () => begin() }, t("account.erase"));
  const begin = async () => {
    // Two questions, since nothing brings this back.
    for (const step of ["first", "last"]) {
      const isSure = await ask({
        title: t(`account.erase_${step}`), body: [h("p", {}, t(`account.erase_${step}_what`))],
        yes: t(`account.erase_${step}_yes`), no: t("common.cancel"), danger: true,
      });
      if (!isSure) return;
    }
    await erase();
  };
  const erase = async () => {
    button.disabled = true;
    fill(told, h("p", { "aria-busy": "true" }, t("account.erasing")));
    try {
      const receipt = await api.eraseAll();
      const isForgotten = await forgetUploads().then(() => true, (error) => console.error(error));
      if (!signal.aborted) tellReceipt(told, receipt, isForgotten);
    } catch (error) {
      if (!signal.aborted) fill(told, problemNotice(error, erase));
    } finally {
      button.disabled = false;
    }
  };
  return h("div", { class: "account-deed" }, button, told);
}

function tellReceipt(told, receipt, isForgotten) {
  const words = receiptInWords(receipt);
  fill(told,
    h("p", { class: "notice", id: "receipt", tabindex: -1 }, words),
    !isForgotten && h("p", { class: "notice error" }, t("account.not_forgotten")));
  told.firstElementChild.focus();
  announce(words);
}
