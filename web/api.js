// A function for each thing that the service does. What goes wrong is thrown as `Problem` or `Lost` (see http.js).

import {
  Lost, newKey, passes, Pauses, Problem, reach, readJson, request, requestJson, serverSentEvents,
} from "./http.js";
import { FrameImages } from "./images.js";

const BASE = "/api/v1";
const FRAME_MS = 120_000;
const LONG_MS = 300_000;
/** How often an answer of the conversation is asked for again, after the connection broke. */
const REPEATS = 5;
const JPEG = "image/jpeg";

let configuration = null;

/**
 * What the service says of itself, such as how to sign in. Asked once for each load of the page.
 *
 * @returns {Promise<object>} as in `/config.json`
 */
export async function config() {
  configuration ??= readConfig();
  try {
    return await configuration;
  } catch (error) {
    // So that the next who asks does not meet the old failure.
    configuration = null;
    throw error;
  }
}

async function readConfig() {
  const response = await reach("/config.json", { signal: AbortSignal.timeout(30_000) });
  if (!response.ok) throw await Problem.of(response);
  return response.json();
}

/** The address of the next page of a list, as its answer names it; null on the last one. */
export function nextPage(response) {
  const link = /<([^>]+)>\s*;[^,]*\brel="?next"?/.exec(response.headers.get("Link") ?? "");
  if (!link) return null;
  // The service may know itself by another name than the page does.
  const { pathname, search } = new URL(link[1], location.href);
  return pathname + search;
}

const images = new FrameImages(async (id, number, signal) => {
  const path = `${session(id)}/frames/${number}`;
  const response = await request("GET", path, { accept: JPEG, timeout: FRAME_MS, cache: "no-store", signal });
  return response.blob().catch((error) => { throw Lost.from(error); });
});
addEventListener("swimcoach:signed-out", () => images.clear());

const session = (id) => `${BASE}/sessions/${encodeURIComponent(id)}`;

/** The service. `signal` ends a request; `key` is an idempotency key: the same thing asked twice is done once. */
export const api = {
  /** Makes a session without frames. `terms`: stroke_type, view, user_notes, title, consent, retention_days. */
  createSession: (terms, key, signal) =>
    requestJson("POST", `${BASE}/sessions`, { json: terms, idempotencyKey: key, signal }),

  /** Puts a frame into a session. `frame`: number, bytes (a JPEG), timestamp_ms and sha256 (hex) where known. */
  putFrame(id, frame, signal) {
    const query = new URLSearchParams();
    if (frame.timestamp_ms != null) query.set("timestamp_ms", Math.round(frame.timestamp_ms));
    if (frame.sha256) query.set("sha256", frame.sha256);
    const options = { body: frame.bytes, headers: { "Content-Type": JPEG }, timeout: FRAME_MS, signal };
    return requestJson("PUT", `${session(id)}/frames/${frame.number}?${query}`, options);
  },

  /** The frames that a session has. */
  frames: async (id, signal) => (await requestJson("GET", `${session(id)}/frames`, { signal })).frames,

  /** Asks for requests by which frames go straight into the bucket. `frames`: number, size_bytes. */
  beginDirect: async (id, frames, signal) =>
    (await requestJson("POST", `${session(id)}/uploads`, { json: { frames }, signal })).uploads,

  /** Has frames checked that went straight into the bucket. `frames`: number, timestamp_ms. */
  completeDirect: async (id, frames, signal) =>
    (await requestJson("POST", `${session(id)}/uploads/complete`, { json: { frames }, timeout: LONG_MS, signal })).frames,

  /** What the camera did well or badly; nothing is paid. */
  check: (id, signal) => requestJson("POST", `${session(id)}/check`, { signal }),

  /** What an analysis costs at the most; nothing is paid. `options` as of `analyze`. */
  estimate: (id, options = {}, signal) => requestJson("POST", `${session(id)}/estimate`, { json: options, signal }),

  /** Asks for an analysis, which is paid for. `options`: stroke_type, user_notes, samples, leave_out_near_duplicates. */
  analyze: (id, options = {}, key = newKey()) =>
    requestJson("POST", `${BASE}/analysis/${encodeURIComponent(id)}/analyze`, { json: options, idempotencyKey: key }),

  /** Stops the analysis that is under way. */
  cancel: (id) => requestJson("POST", `${session(id)}/cancel`),

  events: (id, options) => followEvents(id, options),
  chat: (id, message, options) => converse(id, message, options),

  /** A session with its latest analysis and its conversation. */
  session: (id, signal) => requestJson("GET", session(id), { signal }),

  /** A page of sessions, newest first, and the address of the next one, which is given to ask for that. */
  async sessions(cursorUrl, signal) {
    const response = await request("GET", cursorUrl ?? `${BASE}/sessions`, { signal });
    return { sessions: await readJson(response), next: nextPage(response) };
  },

  /** Deletes a session; answers with the receipt. */
  async deleteSession(id) {
    const receipt = await requestJson("DELETE", session(id), { timeout: LONG_MS });
    images.forget(id);
    return receipt;
  },

  /** Makes an anonymous session, which belongs to this token, the caller's. */
  claim: (id, token) => requestJson("POST", `${session(id)}/claim`, { headers: { "X-Session-Token": token } }),

  /**
   * A frame to show: the object URL of its picture. It is good until sixty others were asked for.
   *
   * @returns {Promise<string>}
   */
  frameImage: (id, number, signal) => images.get(id, number, signal),

  /** What was used in a month such as 2026-11, this one when absent. */
  usage: (month, signal) => requestJson("GET", `${BASE}/usage${month ? `?month=${month}` : ""}`, { signal }),

  /** The faults, drills and elements that analyses speak of. */
  catalog: (signal) => requestJson("GET", `${BASE}/catalog`, { signal }),

  /** Everything of the caller, as the answer whose body is a zip. */
  exportAll: (signal) => request("GET", `${BASE}/export`, { accept: "application/zip", streams: true, signal }),

  /** Erases everything of the caller; answers with the receipt. */
  async eraseAll() {
    const receipt = await requestJson("DELETE", `${BASE}/data`, { timeout: LONG_MS });
    images.clear();
    return receipt;
  },
};

/**
 * Follows an analysis until it has ended. A connection that breaks is made anew, and nothing is told twice.
 *
 * @param {string} id of the session
 * @param {object} options
 * @param {AbortSignal} [options.signal] which rejects it
 * @param {(event: { event: string, data: object }) => void} options.on
 */
async function followEvents(id, { signal, on }) {
  const pauses = new Pauses();
  let last = "";
  for (;;) {
    let failure = null;
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const response = await request("GET", `${session(id)}/events`, { accept: "text/event-stream", headers, signal });
      if (response.status === 204) return;
      for await (const event of serverSentEvents(response)) {
        pauses.reset();
        last = event.id;
        on({ event: event.event, data: JSON.parse(event.data) });
        if (event.event === "done" || event.event === "error") return;
      }
    } catch (error) {
      if (signal?.aborted || !passes(error)) throw error;
      failure = error;
    }
    // A stream that ends without an end is one of a service that stops: another one goes on with it.
    await pauses.after(failure, signal);
  }
}

/**
 * Says something about the result, and tells the answer as it is written. When the connection breaks it is asked for
 * again: the service answers, and is paid, once.
 *
 * @param {string} id of the session
 * @param {string} message
 * @param {object} [options]
 * @param {AbortSignal} [options.signal]
 * @param {(text: string) => void} [options.onDelta] what follows on what was told before
 * @param {() => void} [options.onReset] what was told of the answer is void
 * @param {string} [options.key] the idempotency key
 * @returns {Promise<object>} the reply: user_message, assistant_message, message_count, frames, usage
 */
async function converse(id, message, { signal, onDelta, onReset, key = newKey() } = {}) {
  const pauses = new Pauses();
  for (let repeats = 0; ; repeats += 1) {
    try {
      return await answer(id, message, { signal, onDelta, onReset, key });
    } catch (error) {
      // What another message holds up, on a connection that never broke, is for the person to hear.
      const mayRepeat = error instanceof Lost || (repeats > 0 && passes(error));
      if (signal?.aborted || !mayRepeat || repeats === REPEATS) throw error;
      await pauses.after(error, signal);
      onReset?.();
    }
  }
}

async function answer(id, message, { signal, onDelta, onReset, key }) {
  const response = await request("POST", `${session(id)}/chat`, {
    json: { message }, accept: "text/event-stream", idempotencyKey: key, signal,
  });
  for await (const { event, data } of serverSentEvents(response)) {
    const told = JSON.parse(data);
    if (event === "delta") onDelta?.(told.text);
    else if (event === "reset") onReset?.();
    else if (event === "done") return told;
    else if (event === "error") throw new Problem(told, told.status);
  }
  throw new Lost("the answer broke off");
}
