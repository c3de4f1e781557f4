// Sends the frames of a clip, one by one, so that what has arrived need not be sent again: after a connection that was
// lost it goes on by itself, after a reload when it is asked to.

import { api, config } from "./api.js";
import { owner } from "./credentials.js";
import { sha256 } from "./digest.js";
import { direct } from "./direct.js";
import { each, newKey, Problem, untilDone } from "./http.js";
import { t } from "./i18n.js";
import * as pending from "./pending.js";

/** Frames under way at one time: enough to fill the line, few enough that a lost connection costs little. */
const AT_ONCE = 3;
/** How long a page that was closed may still count as open, in ms. */
const FAREWELL_MS = 2_000;
/** So long an upload that broke off may be gone on with, in ms. Pictures of people must not lie around on a phone. */
const LASTS_MS = 24 * 60 * 60 * 1_000;
/** With these the same frames cannot get there; sending them again changes nothing. */
const FINAL = new Set([404, 409, 410, 413, 415, 422]);

/** The upload of this page, kept here so that a browser that keeps nothing can go on with it until a reload. */
let own = null;

/** By id, the uploads whose half sessions are being deleted. */
const removals = new Set();

addEventListener("swimcoach:signed-out", () => { own = null; });

/**
 * Uploads frames into a new session.
 *
 * @param {object} what
 * @param {{ number: number, blob: Blob, timestamp_ms: number|null }[]} what.frames numbered from 1
 * @param {object} what.terms the body of POST /sessions
 * @param {object} [options]
 * @param {AbortSignal} [options.signal] which stops it; what was sent stays until {@link discardUpload}
 * @param {(progress: { sent: number, total: number, bytesSent: number, bytesTotal: number, waiting: boolean }) => void}
 *   [options.onProgress] `waiting`: the connection is lost, and it goes on by itself
 * @returns {Promise<string>} the id of the session
 * @throws {Problem} when frames or terms are refused: then nothing of it is kept, here or there
 */
export async function startUpload({ frames, terms }, options = {}) {
  const createdAt = new Date().toISOString();
  const total = frames.length;
  const upload = { id: newKey(), owner: owner(), key: newKey(), createdAt, terms, total, sent: 0, sessionId: null };
  own = { upload, frames };
  // Before anything is sent: whoever closes the page in between can find the session by its key.
  await pending.keep(upload, frames.map(({ number, blob, timestamp_ms }) => ({ number, blob, timestamp_ms })));
  return run(own, options);
}

/**
 * The upload that broke off, if there is one of whoever uses the page.
 *
 * @returns {Promise<null | { sent: number, total: number, terms: object, createdAt: string }>}
 */
export async function interruptedUpload() {
  return told(await interrupted());
}

/**
 * The upload of this browser that has not brought a session all its frames yet; as of {@link interruptedUpload}.
 *
 * @param {string} sessionId
 */
export async function interruptedUploadOf(sessionId) {
  return told((await unfinished()).find((it) => it.sessionId === sessionId));
}

function told(upload) {
  if (!upload) return null;
  const { sent, total, terms, createdAt } = upload;
  return { sent, total, terms, createdAt };
}

/**
 * Goes on with the upload that broke off; options and result as of {@link startUpload}.
 *
 * @throws {Problem} also where the browser lost what it had kept: then nothing of it is kept
 */
export async function resumeUpload(options = {}) {
  const upload = await interrupted();
  if (!upload) throw pending.framesLost();
  if (own?.upload.id !== upload.id) {
    const frames = await pending.framesOf(upload.id);
    if (frames.length < upload.total) {
      await discard(upload);
      throw pending.framesLost();
    }
    own = { upload, frames };
  }
  return run(own, options);
}

/** Forgets the upload that is not finished, here at once, and at the service as soon as that can be reached. */
export async function discardUpload() {
  const upload = own?.upload ?? (await interrupted());
  if (upload) await discard(upload);
}

/** Forgets all uploads, of which the service has nothing any more. Rejects where pictures may be left on the device. */
export async function forgetUploads() {
  own = null;
  await pending.forgetAll();
}

async function discard(upload) {
  if (own?.upload === upload) own = null;
  upload.discarded = true;
  await pending.forgetFrames(upload);
  // It stays noted until it is done, so nobody need wait for it.
  removeSession(upload);
}

/** The newest upload that nobody goes on with, in this page or in another one. */
async function interrupted() {
  const uploads = await unfinished();
  if (own) return own.isRunning ? null : own.upload;
  const areRunning = await Promise.all(uploads.map(isRunningElsewhere));
  const idle = uploads.filter((_, index) => !areRunning[index]);
  for (const upload of idle.filter(isOver)) await discard(upload);
  return idle.find((it) => !isOver(it)) ?? null;
}

/**
 * The uploads that whoever uses the page may still go on with, the newest first. Those of others are not theirs to see,
 * and are forgotten once somebody else has signed in, or it is too late to go on with them.
 */
async function unfinished() {
  const me = owner();
  const uploads = await pending.all();
  if (me !== null) {
    // Sessions made without a sign-in go to whoever signs in, and so do their uploads.
    for (const upload of [own?.upload, ...uploads].filter((it) => it?.owner === null)) {
      upload.owner = me;
      await pending.update(upload);
    }
  }
  const others = uploads.filter((it) => it.owner !== me);
  for (const upload of others.filter((it) => me !== null || isOver(it))) await pending.forget(upload.id);
  if (own && own.upload.owner !== me && !own.isRunning) own = null;
  const mine = uploads.filter((it) => it.owner === me);
  mine.filter((it) => it.discarded).forEach(removeSession);
  return mine.filter((it) => !it.discarded);
}

function isOver({ createdAt }) {
  return Date.now() - Date.parse(createdAt) > LASTS_MS;
}

/** Whether another page sends it. The lock of a page that was just closed is held for a moment longer. */
async function isRunningElsewhere(upload) {
  if (!navigator.locks) return false;
  const signal = AbortSignal.timeout(FAREWELL_MS);
  return navigator.locks.request(lockName(upload), { signal }, () => false).catch(() => true);
}

const lockName = (upload) => `swimcoach.upload.${upload.id}`;

/** Deletes the half session of an upload. Without a connection it stays noted, and the next page tries it again. */
async function removeSession(upload) {
  if (removals.has(upload.id)) return;
  removals.add(upload.id);
  try {
    // The answer that told the id may have been lost; asked with the same key, the service tells it again.
    const id = upload.sessionId ?? (await api.createSession(upload.terms, upload.key)).session_id;
    // An analysis that was paid for is none of half an upload.
    if ((await api.session(id)).status === "pending") await api.deleteSession(id);
  } catch (error) {
    if (!(error instanceof Problem) || !FINAL.has(error.status)) return console.warn(error);
  } finally {
    removals.delete(upload.id);
  }
  await pending.forget(upload.id);
}

async function run(it, options) {
  it.isRunning = true;
  const work = () => send(it, options);
  try {
    // Held so that other windows do not take it for one that broke off.
    return await (navigator.locks?.request(lockName(it.upload), { signal: options.signal }, work) ?? work());
  } catch (error) {
    if (error instanceof Problem && FINAL.has(error.status)) await discard(it.upload);
    throw error;
  } finally {
    it.isRunning = false;
  }
}

async function send(it, { signal, onProgress }) {
  const { upload, frames } = it;
  const progress = new Progress(frames, upload, onProgress);
  const steady = (work) => untilDone(work, { signal, onWaiting: () => progress.wait() });
  const { uploads } = await steady(config);
  const kept = await openSession(upload, steady, signal);
  frames.filter((frame) => kept.has(frame.number)).forEach((frame) => progress.add(frame));
  const lacking = frames.filter((frame) => !kept.has(frame.number));
  const rest = uploads.direct ? await direct(upload.sessionId, lacking, { signal, steady, progress }) : lacking;
  await each(rest, AT_ONCE, signal, async (frame, stop) => {
    await untilDone(() => put(upload.sessionId, frame, stop), { signal: stop, onWaiting: () => progress.wait() });
    progress.add(frame);
  });
  if (own === it) own = null;
  await pending.forget(upload.id);
  return upload.sessionId;
}

/** The numbers of the frames that the session has; the session is made where there is none (any more). */
async function openSession(upload, steady, signal) {
  for (;;) {
    const isNew = !upload.sessionId;
    if (isNew) {
      const made = await steady(() => create(upload, signal));
      upload.sessionId = made.session_id;
      await pending.update(upload);
    }
    try {
      const frames = await steady(() => api.frames(upload.sessionId, signal));
      return new Set(frames.map((it) => it.number));
    } catch (error) {
      if (isNew || error.code !== "session_not_found") throw error;
      // It was deleted or has expired since. The old key would only tell of the old session.
      Object.assign(upload, { sessionId: null, key: newKey() });
    }
  }
}

/** Makes the session, unless somebody else has signed in meanwhile: these are not their pictures. */
async function create(upload, signal) {
  if (upload.owner !== owner()) throw new Problem({ detail: t("upload.not_yours") }, 410);
  return api.createSession(upload.terms, upload.key, signal);
}

async function put(id, frame, signal) {
  const bytes = await pending.bytesOf(frame);
  const { number, timestamp_ms } = frame;
  await api.putFrame(id, { number, timestamp_ms, bytes, sha256: await sha256(bytes) }, signal);
}

/** Counts what has arrived, and tells it. */
class Progress {
  #told;
  #on;
  #upload;

  constructor(frames, upload, on) {
    const bytesTotal = frames.reduce((sum, it) => sum + it.blob.size, 0);
    this.#told = { sent: 0, total: frames.length, bytesSent: 0, bytesTotal, waiting: false };
    this.#on = on;
    this.#upload = upload;
    this.#tell();
  }

  add(frame) {
    this.#told.sent += 1;
    this.#told.bytesSent += frame.blob.size;
    this.#told.waiting = false;
    this.#upload.sent = this.#told.sent;
    pending.update(this.#upload);
    this.#tell();
  }

  wait() {
    if (this.#told.waiting) return;
    this.#told.waiting = true;
    this.#tell();
  }

  #tell() {
    this.#on?.({ ...this.#told });
  }
}
