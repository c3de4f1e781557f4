// Frames that go straight into the bucket: presigned requests, then the service checks what arrived.

import { api } from "./api.js";
import { each, Lost, Pauses, Problem, reach } from "./http.js";
import { bytesOf } from "./pending.js";

/** Frames for which requests are asked for together; they hold for 15 minutes. */
const BATCH = 12;
const AT_ONCE = 3;
const PUT_MS = 120_000;
/** After so many rounds in which nothing arrived, the bucket is taken for out of reach from here. */
const ROUNDS = 3;

/**
 * Uploads frames into the bucket.
 *
 * @param {string} id of the session
 * @param {object[]} frames as of `startUpload`
 * @param {{ signal: AbortSignal, steady: Function, progress: object }} how `steady` does a thing until it succeeds
 * @returns {Promise<object[]>} the frames that did not get there: the service is reached, but the bucket is not
 * @throws {Problem} when a frame is refused
 */
export async function direct(id, frames, { signal, steady, progress }) {
  const waiting = [...frames];
  const pauses = new Pauses();
  let fruitless = 0;
  while (waiting.length > 0 && fruitless < ROUNDS) {
    const batch = waiting.slice(0, BATCH);
    const sizes = batch.map(({ number, blob }) => ({ number, size_bytes: blob.size }));
    const uploads = await steady(() => api.beginDirect(id, sizes, signal));
    const failure = await putAll(batch, uploads, signal);
    const times = batch.map(({ number, timestamp_ms }) => ({ number, timestamp_ms: timestamp_ms ?? null }));
    const outcome = await steady(() => api.completeDirect(id, times, signal));
    const accepted = batch.filter(({ number }) => isAccepted(outcome.find((it) => it.number === number)));
    if (accepted.length > 0) fruitless = 0;
    else if (++fruitless < ROUNDS) await pauses.after(failure, signal);
    for (const frame of accepted) {
      waiting.splice(waiting.indexOf(frame), 1);
      progress.add(frame);
    }
  }
  return waiting;
}

function isAccepted(outcome) {
  if (outcome?.status === "accepted") return true;
  if (!outcome || outcome.code === "frame_not_put") return false;
  throw new Problem(outcome, 422);
}

/** Puts frames until one does not get through; resolves with that failure. What is lacking is told by the completion. */
async function putAll(frames, uploads, signal) {
  try {
    await each(frames, AT_ONCE, signal, async (frame, stop) => {
      const upload = uploads.find((it) => it.number === frame.number);
      if (upload) await put(upload, await bytesOf(frame), stop);
    });
    return null;
  } catch (error) {
    if (signal?.aborted || !(error instanceof Lost)) throw error;
    console.warn("the bucket cannot be reached", error);
    return error;
  }
}

/** Whatever the bucket answers, the completion says whether the frame is there. */
async function put({ method, url, headers }, body, signal) {
  // Browsers set the length by themselves, and let no script do it.
  const { "content-length": _, ...rest } = headers;
  const timed = AbortSignal.any([signal, AbortSignal.timeout(PUT_MS)]);
  const options = { method, headers: rest, body, credentials: "omit", referrerPolicy: "no-referrer", signal: timed };
  const response = await reach(new URL(url, location.href), options);
  await response.arrayBuffer().catch((error) => { throw Lost.from(error); });
}
