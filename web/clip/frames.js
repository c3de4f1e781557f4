// From a clip or pictures to the frames that are sent: the scan, the burst with its wide frames, the re-encoding.

import {
  FINE_MS, fineScan, fineSpan, greyOf, isSame, liveliest, motionSignal, planFrames, suggestWindow, wideScan,
} from "./cycle.js";
import { toJpeg } from "./jpeg.js";

/**
 * A frame that may be sent.
 *
 * @typedef {object} Frame
 * @property {Blob} blob the JPEG
 * @property {HTMLCanvasElement} thumb a small one to show
 * @property {number} width
 * @property {number} height
 * @property {number|null} timestamp_ms its time in the clip; null for pictures
 */

const GREY_WIDTH = 64;
const THUMB_HEIGHT = 72;

/**
 * Looks over a whole clip, then closer at where most moves.
 *
 * @param {Clip} clip
 * @param {object} options
 * @param {AbortSignal} options.signal
 * @param {(thumb: {ms: number, canvas: HTMLCanvasElement}) => void} options.onThumb for each moment of the first look
 * @param {(share: number) => void} options.onProgress from 0 to 1
 * @returns {Promise<{startMs: number, lengthMs: number}>} the part that is suggested
 */
export async function scan(clip, { signal, onThumb, onProgress }) {
  const { durationMs } = clip;
  const grey = greyReader(clip);
  const wide = await seekThrough(clip, wideScan(durationMs), grey, signal, (ms, share) => {
    onThumb({ ms, canvas: thumbOf(clip) });
    onProgress(share / 2);
  });
  const span = fineSpan(durationMs, liveliest(motionSignal(wide), durationMs));
  const fine = await lookCloser(clip, span, grey, signal, (share) => onProgress((1 + share) / 2));
  return suggestWindow(fine, durationMs);
}

async function seekThrough(clip, times, grey, signal, onSeen) {
  const probes = [];
  for (const [i, wanted] of times.entries()) {
    const ms = await clip.seek(wanted, signal);
    if (ms > (probes.at(-1)?.ms ?? -1)) probes.push({ ms, grey: grey() });
    onSeen(ms, (i + 1) / times.length);
  }
  return probes;
}

/** Probes of a span as it plays, or by seeking where it does not play well enough. */
async function lookCloser(clip, span, grey, signal, onProgress) {
  const probes = [];
  await clip.watch(span, signal, (ms) => {
    if (ms < (probes.at(-1)?.ms ?? -Infinity) + FINE_MS * 0.8) return;
    probes.push({ ms, grey: grey() });
    onProgress((ms - span.startMs) / span.lengthMs);
  });
  const times = fineScan(span);
  if (probes.length > times.length / 2) return probes;
  return seekThrough(clip, times, grey, signal, (_, share) => onProgress(share));
}

function thumbOf({ video, width, height }) {
  const canvas = document.createElement("canvas");
  canvas.height = THUMB_HEIGHT;
  canvas.width = Math.max(1, Math.round((THUMB_HEIGHT * width) / height));
  canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function greyReader({ video, width, height }) {
  const canvas = document.createElement("canvas");
  canvas.width = GREY_WIDTH;
  canvas.height = Math.max(1, Math.round((GREY_WIDTH * height) / width));
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  return () => {
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    return greyOf(context.getImageData(0, 0, canvas.width, canvas.height).data);
  };
}

/**
 * Takes the frames of a clip: a dense burst of the window, and a few of the rest.
 *
 * @param {Clip} clip
 * @param {{startMs: number, lengthMs: number}} window
 * @param {object} options
 * @param {object} options.limits of the service
 * @param {AbortSignal} options.signal
 * @param {(done: number, all: number) => void} options.onProgress
 * @returns {Promise<Frame[]>} in the order of time, each a frame of its own
 */
export async function takeFrames(clip, window, { limits, signal, onProgress }) {
  const anchorMs = await clip.seek(window.startMs, signal);
  const { durationMs, frameMs } = clip;
  const plan = planFrames({ durationMs, frameMs, anchorMs }, window, limits.max_frames);
  const look = greyReader(clip);
  let last = { timestamp_ms: -1, grey: null };
  const frames = [];
  for (const [i, { ms }] of plan.entries()) {
    const timestamp_ms = Math.round(await clip.seek(ms, signal, { isSure: true }));
    const grey = look();
    // A clip may have fewer frames a second than are asked of it, or than it says.
    const isNew = timestamp_ms > last.timestamp_ms && !(last.grey && isSame(grey, last.grey));
    if (isNew) {
      frames.push({ timestamp_ms, ...(await toJpeg(clip.video, clip.width, clip.height, limits)) });
      last = { timestamp_ms, grey };
    }
    onProgress(i + 1, plan.length);
  }
  signal.throwIfAborted();
  return frames;
}

/**
 * Makes frames of pictures, in the order of their names.
 *
 * @param {File[]} files
 * @param {object} options as of `takeFrames`
 * @returns {Promise<{frames: Frame[], leftOut: string[]}>} `leftOut` names the files that cannot be sent
 */
export async function framesOfPictures(files, { limits, signal, onProgress }) {
  const sorted = [...files].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  const frames = [];
  const leftOut = sorted.slice(limits.max_frames).map((it) => it.name);
  const taken = sorted.slice(0, limits.max_frames);
  for (const [i, file] of taken.entries()) {
    signal.throwIfAborted();
    const frame = await frameOfPicture(file, limits);
    if (frame) frames.push(frame);
    else leftOut.push(file.name);
    onProgress(i + 1, taken.length);
  }
  signal.throwIfAborted();
  return { frames, leftOut };
}

/** The frame of a picture, or null where the browser cannot read it or it is too small. */
async function frameOfPicture(file, limits) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return null;
  }
  try {
    if (Math.min(bitmap.width, bitmap.height) < limits.min_side) return null;
    return { timestamp_ms: null, ...(await toJpeg(bitmap, bitmap.width, bitmap.height, limits)) };
  } finally {
    bitmap.close();
  }
}
