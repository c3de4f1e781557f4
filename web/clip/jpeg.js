// Pictures made small enough to send: scaled and written as JPEG, one at a time.

import { ClipError } from "./video.js";

/** Pixels of the longer side. More shows a model nothing more. */
const LONGEST = 1280;
/** Pixels of the shorter side of what the strip shows. */
const THUMB = 160;

/**
 * A picture as JPEG, with a small one of it to show in a list.
 *
 * @param {CanvasImageSource} source
 * @param {number} width of the source, in pixels
 * @param {number} height of the source, in pixels
 * @param {{min_side: number, max_frame_bytes: number}} limits of the service
 * @returns {Promise<{blob: Blob, thumb: HTMLCanvasElement, width: number, height: number}>}
 * @throws {ClipError} where the browser cannot write it
 */
export async function toJpeg(source, width, height, limits) {
  const size = sentSize(width, height, limits.min_side);
  const canvas = draw(new OffscreenCanvas(size.width, size.height), source);
  const share = Math.min(1, THUMB / Math.min(size.width, size.height));
  const small = document.createElement("canvas");
  small.width = Math.max(1, Math.round(size.width * share));
  small.height = Math.max(1, Math.round(size.height * share));
  const thumb = draw(small, canvas);
  const blob = await encode(canvas.transferToImageBitmap(), limits.max_frame_bytes);
  return { blob, thumb, ...size };
}

/** The size that is sent: the longer side at most 1280, unless the shorter one would become less than is taken. */
function sentSize(width, height, minSide) {
  const share = Math.min(1, Math.max(LONGEST / Math.max(width, height), minSide / Math.min(width, height)));
  return { width: Math.round(width * share), height: Math.round(height * share) };
}

function draw(canvas, source) {
  const context = canvas.getContext("2d", { alpha: false });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

let encoder = null;
let asked = 0;

/** Has the worker write a picture. It stays, since the next picture comes soon. */
function encode(bitmap, maxBytes) {
  encoder ??= new Worker(new URL("encoder.js", import.meta.url));
  const id = ++asked;
  const done = new AbortController();
  return new Promise((resolve, reject) => {
    const fail = (reason) => {
      console.error(reason);
      reject(new ClipError("not_written"));
    };
    encoder.addEventListener("message", ({ data }) => {
      if (data.id !== id) return;
      if (data.error) fail(data.error);
      else if (data.blob === null) reject(new ClipError("too_many_bytes"));
      else resolve(data.blob);
    }, { signal: done.signal });
    encoder.addEventListener("error", (event) => {
      // Where it could not be loaded, it is tried anew for the next picture.
      encoder = null;
      fail(event.message ?? event);
    }, { signal: done.signal });
    encoder.postMessage({ id, bitmap, maxBytes }, [bitmap]);
  }).finally(() => done.abort());
}
