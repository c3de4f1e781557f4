// How the page talks to the service: requests with credentials, waiting for what passes, and streams of events.

import { authorization, freshen, refused, rememberSessionToken } from "./credentials.js";
import { hex } from "./digest.js";
import { Lost, Problem, passes } from "./problem.js";

export { Lost, Problem, passes };

/** How long an answer may take, in ms. Of a stream only its beginning counts. */
const ANSWER_MS = 30_000;
/** A stream on which nothing comes is dead, in ms: the service sends a comment every 15 s. */
const SILENCE_MS = 45_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Sends a request to the service, with the credentials of whoever uses the page.
 *
 * @param {string} method
 * @param {string} path such as `/api/v1/sessions`; credentials go to the page's own origin alone
 * @param {object} [options]
 * @param {*} [options.json] the body, sent as JSON
 * @param {BodyInit} [options.body] the body as it is
 * @param {object} [options.headers]
 * @param {AbortSignal} [options.signal]
 * @param {string} [options.idempotencyKey] by which a repetition is known
 * @param {string} [options.accept] `text/event-stream` for a stream
 * @param {RequestCache} [options.cache] `no-store` for what the browser must not leave on the device
 * @param {number} [options.timeout] in ms
 * @param {boolean} [options.streams] whether the body may take longer than the timeout
 * @returns {Promise<Response>} with a status of 2xx
 * @throws {Problem} when the service refuses
 * @throws {Lost} a `TypeError`: there is no connection, or no answer in time
 */
export async function request(method, path, options = {}) {
  const { json, headers, signal, idempotencyKey, accept = "application/json", timeout = ANSWER_MS, cache } = options;
  const streams = options.streams ?? accept === "text/event-stream";
  if (!headers?.Authorization) await freshen(signal);
  const sent = { Accept: accept, ...authorization(), ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  if (idempotencyKey) sent["Idempotency-Key"] = idempotencyKey;
  const deadline = new Deadline(timeout, signal);
  const body = json === undefined ? options.body : JSON.stringify(json);
  const response = await reach(ownAddress(path), { method, headers: sent, body, cache, signal: deadline.signal });
  if (streams) deadline.lift();
  const token = response.headers.get("X-Session-Token");
  if (token) rememberSessionToken(token);
  if (response.ok) return response;
  if (response.status === 401) refused(sent.Authorization);
  throw await Problem.of(response);
}

/** `fetch`, whose failures are told apart from mistakes in the program. */
export function reach(address, options) {
  return fetch(address, options).catch((error) => { throw Lost.from(error); });
}

/** Sends a request and reads the JSON of its answer; like {@link request} otherwise. */
export async function requestJson(method, path, options) {
  return readJson(await request(method, path, options));
}

/** The JSON of an answer. */
export function readJson(response) {
  return response.json().catch((error) => { throw Lost.from(error); });
}

/** A new idempotency key: a UUID, for one thing that is wanted. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Pages that did not come by https or from this machine have no randomUUID.
  const digits = hex(crypto.getRandomValues(new Uint8Array(16)));
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function ownAddress(path) {
  const address = new URL(path, location.origin);
  if (address.origin !== location.origin) throw new Error(`${address.origin} is not this service`);
  return address;
}

/** A signal that fires after a time, unless it is lifted, or with another. */
class Deadline {
  #late = new AbortController();
  #timer;

  constructor(ms, signal) {
    this.#timer = setTimeout(() => this.#late.abort(new DOMException("no answer in time", "TimeoutError")), ms);
    this.signal = signal ? AbortSignal.any([this.#late.signal, signal]) : this.#late.signal;
  }

  lift() {
    clearTimeout(this.#timer);
  }
}

/**
 * Waits. A connection that comes back ends it early.
 *
 * @param {number} ms
 * @param {AbortSignal} [signal] which rejects it
 */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const end = (settle) => () => {
      clearTimeout(timer);
      removeEventListener("online", resumed);
      signal?.removeEventListener("abort", aborted);
      settle();
    };
    const resumed = end(resolve);
    const aborted = end(() => reject(signal.reason));
    const timer = setTimeout(resumed, ms);
    addEventListener("online", resumed);
    signal?.addEventListener("abort", aborted);
  });
}

/** Pauses that grow from one failure to the next, so that a service in trouble is not asked all the time. */
export class Pauses {
  #next = FIRST_PAUSE_MS;

  /** Waits after a failure: as long as the service says, otherwise longer than the last time, up to 30 s. */
  async after(error, signal) {
    const told = error?.retryAfter == null ? 0 : error.retryAfter * 1000;
    // Somewhat uneven, so that the many who lost the same connection do not come back in the same moment.
    const ms = Math.max(told, this.#next * (0.75 + Math.random() / 2));
    this.#next = Math.min(this.#next * 2, LONGEST_PAUSE_MS);
    await pause(ms, signal);
  }

  /** Something worked: the next failure is a first one again. */
  reset() {
    this.#next = FIRST_PAUSE_MS;
  }
}

/**
 * Does something until it succeeds or fails for good; waits as long as it takes for what passes.
 *
 * @template T
 * @param {() => Promise<T>} work which may be done more than once
 * @param {object} [options]
 * @param {AbortSignal} [options.signal]
 * @param {() => void} [options.onWaiting] called before each pause
 * @returns {Promise<T>}
 */
export async function untilDone(work, { signal, onWaiting } = {}) {
  const pauses = new Pauses();
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (!passes(error)) throw error;
      onWaiting?.();
      await pauses.after(error, signal);
    }
  }
}

/** Does something for each item, some at a time. When one fails, the others are stopped by the signal they are given. */
export async function each(items, atOnce, signal, work) {
  const stop = new AbortController();
  const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const queue = [...items];
  const worker = async () => {
    while (queue.length > 0) {
      both.throwIfAborted();
      await work(queue.shift(), both);
    }
  };
  try {
    await Promise.all(Array.from({ length: atOnce }, worker));
  } finally {
    stop.abort();
  }
}

/**
 * Reads server-sent events as the HTML standard has it: lines that end in any way, data of several lines, comments.
 *
 * @param {Response} response a stream; it is cancelled when the reader stops early
 * @yields {{ id: string, event: string, data: string }}
 * @throws {Lost} when the connection breaks or nothing comes for 45 s
 */
export async function* serverSentEvents(response) {
  let id = "";
  let event = "";
  let data = [];
  for await (const line of lines(response.body)) {
    if (line === "") {
      if (data.length > 0) yield { id, event: event || "message", data: data.join("\n") };
      event = "";
      data = [];
      continue;
    }
    const [, field, value] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line);
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
    else if (field === "id" && !value.includes("\0")) id = value;
  }
}

/** The whole lines of a stream; what follows on the last end of a line is no line. */
async function* lines(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let endedInCr = false;
  try {
    for (;;) {
      const { done, value } = await nextChunk(reader);
      let text = decoder.decode(value, { stream: !done });
      // A line may end in CR LF, and the two may come apart.
      if (endedInCr && text.startsWith("\n")) text = text.slice(1);
      else if (text === "" && !done) continue;
      endedInCr = text.endsWith("\r");
      const parts = (rest + text).split(/\r\n|\r|\n/);
      rest = parts.pop();
      yield* parts;
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function nextChunk(reader) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Lost("the stream fell silent")), SILENCE_MS);
  });
  try {
    return await Promise.race([reader.read(), silence]);
  } catch (error) {
    throw Lost.from(error);
  } finally {
    clearTimeout(timer);
  }
}
