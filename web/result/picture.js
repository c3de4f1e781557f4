// A frame as a picture that is fetched when it comes near the part of the page that is seen, or before printing.

import { api } from "../api.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";

/** What fetches a picture that still waits, by its element. */
const waiting = new WeakMap();

const nearby = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) fetchNow(target);
}, { rootMargin: "400px" });

/**
 * A picture of a frame, which keeps its place from the beginning.
 *
 * @param {string} sessionId
 * @param {object} frame of the session
 * @param {AbortSignal} signal ends the fetching
 * @param {string} [alt] empty where the words beside the picture say which it is
 */
export function framePicture(sessionId, frame, signal, alt = "") {
  const image = h("img", { class: "frame", alt, width: frame.width, height: frame.height, decoding: "async" });
  waiting.set(image, () => load(image, sessionId, frame.number, signal));
  nearby.observe(image);
  signal.addEventListener("abort", () => nearby.unobserve(image), { once: true });
  return image;
}

/** Fetches all pictures within an element that still wait. Resolves when they can be painted or have failed. */
export async function fetchPictures(root) {
  const images = [...root.querySelectorAll("img.frame")];
  await Promise.all(images.map(fetchNow));
  await Promise.all(images.map((image) => image.src && image.decode().catch(() => undefined)));
}

async function fetchNow(image) {
  const start = waiting.get(image);
  waiting.delete(image);
  nearby.unobserve(image);
  await start?.();
}

/** Puts a frame into an image, unless another took its place meanwhile, or says there that it cannot be shown. */
export async function load(image, sessionId, number, signal) {
  image.dataset.number = number;
  image.classList.remove("missing");
  const isWanted = () => image.dataset.number === String(number) && !signal.aborted;
  // What is at hand comes before this. What must be fetched leaves no other picture under its name meanwhile.
  const clearing = setTimeout(() => isWanted() && image.removeAttribute("src"));
  try {
    const url = await api.frameImage(sessionId, number, signal);
    if (isWanted()) image.src = url;
  } catch (error) {
    if (!isWanted()) return;
    console.warn(error);
    image.removeAttribute("src");
    image.alt = t("result.frame_missing", { number });
    image.classList.add("missing");
  } finally {
    clearTimeout(clearing);
  }
}
