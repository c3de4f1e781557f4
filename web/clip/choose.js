// The first step: a clip or pictures are chosen or dropped, or filmed here.

import { h } from "../dom.js";
import { formatDay, t } from "../i18n.js";
import { problemNotice } from "../notices.js";
import { film } from "./camera.js";
import { decision } from "./step.js";

const VIDEO_NAMES = /\.(mp4|m4v|mov|webm|mkv|avi|3gp|mpe?g|ogv|mts|m2ts)$/i;
const PICTURE_NAMES = /\.(jpe?g|png|webp|heic|heif|avif|gif|bmp|tiff?)$/i;

/**
 * @typedef {object} Chosen
 * @property {File} [clip]
 * @property {boolean} [isOneOfMore] whether other files were chosen with the clip, which are not taken
 * @property {File[]} [pictures] where there is no clip
 * @property {boolean} [resume] to go on with the upload that broke off
 */

/**
 * Fills `place` with the ways to give a clip.
 *
 * @param {Element} place
 * @param {object} options
 * @param {AbortSignal} options.signal of this step
 * @param {Error|null} options.trouble what was wrong with what was chosen before
 * @returns {Promise<Chosen>}
 */
export function choose(place, { signal, trouble }) {
  const { promise, resolve } = decision(signal);
  const notices = h("div", {}, trouble && problemNotice(trouble));
  const take = (files) => {
    const chosen = sort([...files]);
    if (chosen) resolve(chosen);
  };
  const camera = async () => {
    try {
      const clip = await film(signal);
      if (clip) resolve({ clip });
    } catch (error) {
      if (!signal.aborted) notices.replaceChildren(problemNotice(error));
    }
  };
  const input = h("input", {
    id: "clip-file", class: "hidden", type: "file", accept: "video/*,image/*", multiple: true,
    onchange: () => take(input.files),
  });
  const zone = h("div", { class: "card clip-drop" },
    input,
    h("label", { class: "button primary", for: "clip-file" }, t("clip.choose")),
    h("button", { type: "button", id: "film", onclick: camera }, t("clip.film")),
    h("p", { class: "small clip-drop-hint" }, t("clip.drop")),
    h("p", { class: "small" }, t("clip.stays_here")));
  place.append(notices, zone);
  takeDrops(zone, take, signal);
  return promise;
}

/** Has files that nobody takes dropped in vain: a browser would leave the page, and its frames, to show them. */
export function ignoreDrops(signal) {
  const ignore = (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  };
  document.addEventListener("dragover", ignore, { signal });
  document.addEventListener("drop", ignore, { signal });
}

/** Takes files wherever they are dropped. */
function takeDrops(zone, take, signal) {
  const on = (name, act) => document.addEventListener(name, act, { signal });
  const mark = (isOver) => zone.classList.toggle("over", isOver);
  on("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    mark(true);
  });
  on("dragleave", (event) => event.relatedTarget || mark(false));
  on("drop", (event) => {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    mark(false);
    take(event.dataTransfer.files);
  });
}

/** What was chosen: the first clip, or else the pictures. What does not say what it is, is tried as a clip. */
function sort(files) {
  const isPicture = (file) => file.type.startsWith("image/") || (!file.type && PICTURE_NAMES.test(file.name));
  const isClip = (file) => file.type.startsWith("video/") || VIDEO_NAMES.test(file.name);
  const clip = files.find((it) => isClip(it) && !isPicture(it));
  if (clip) return { clip, isOneOfMore: files.length > 1 };
  const pictures = files.filter(isPicture);
  if (pictures.length > 0) return { pictures };
  return files.length > 0 ? { clip: files[0], isOneOfMore: files.length > 1 } : null;
}

/**
 * A notice of an upload that broke off.
 *
 * @param {{sent: number, total: number, createdAt: string}} upload
 * @param {() => void} goOn
 * @param {() => void} discard
 */
export function interruptedNotice({ sent, total, createdAt }, goOn, discard) {
  return h("section", { class: "notice warning", "aria-labelledby": "interrupted" },
    h("h2", { id: "interrupted" }, t("clip.interrupted_title")),
    h("p", {}, t("clip.interrupted", { sent, total, day: formatDay(createdAt) })),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "primary", id: "resume", onclick: goOn }, t("clip.resume")),
      h("button", { type: "button", id: "discard", onclick: discard }, t("clip.discard"))));
}
