// The upload that is not finished: kept by the browser, so that it goes on after a reload.
//
// Frames are kept apart from what changes while they are sent, and are removed with it. Where the browser keeps
// nothing (private windows, a full disk), an upload works all the same and is lost with the page.

import { t } from "./i18n.js";
import { Problem } from "./problem.js";

const DATABASE = "swimcoach";
const UPLOADS = "uploads";
const FRAMES = "frames";

/** How a database fails that the browser has closed by itself, as iOS does while the page is in the background. */
const CONNECTION_LOST = new Set(["InvalidStateError", "UnknownError"]);

let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(UPLOADS, { keyPath: "id" });
      request.result.createObjectStore(FRAMES, { keyPath: ["id", "number"] });
    };
    request.onsuccess = () => {
      const database = request.result;
      database.onclose = close;
      // Another page may have a newer version of this one.
      database.onversionchange = () => {
        database.close();
        close();
      };
      resolve(database);
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("the database is in use"));
  });
  opened.catch(close);
  return opened;
}

/** The next transaction opens the database anew. */
function close() {
  opened = null;
}

/** Does something in one transaction; resolves with the result of the request that `work` returns, once it is kept. */
async function transact(mode, work) {
  try {
    return await attempt(mode, work);
  } catch (error) {
    if (!CONNECTION_LOST.has(error.name)) throw error;
    close();
    return attempt(mode, work);
  }
}

async function attempt(mode, work) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction([UPLOADS, FRAMES], mode);
    transaction.onabort = () => reject(transaction.error ?? new Error("nothing was kept"));
    try {
      const request = work(transaction.objectStore(UPLOADS), transaction.objectStore(FRAMES));
      transaction.oncomplete = () => resolve(request?.result);
    } catch (error) {
      reject(error);
      // Half of it is worth nothing.
      transaction.abort();
    }
  });
}

/** What fails here is tried again by the next page that looks for uploads. */
function ignore() {}

/**
 * Keeps an upload with its frames.
 *
 * @param {{ id: string, owner: string|null, createdAt: string, terms: object, sessionId: string|null }} upload
 * @param {{ number: number, blob: Blob }[]} frames
 * @returns {Promise<boolean>} false where the browser keeps nothing
 */
export async function keep(upload, frames) {
  try {
    await transact("readwrite", (uploads, pictures) => {
      uploads.put(upload);
      for (const frame of frames) pictures.put({ ...frame, id: upload.id });
    });
    return true;
  } catch (error) {
    console.warn("this upload cannot be resumed after a reload", error);
    return false;
  }
}

/** Keeps what is new about an upload, where it is kept: without its frames nobody could go on with it. */
export async function update(upload) {
  const updated = transact("readwrite", (uploads) => {
    const known = uploads.getKey(upload.id);
    known.onsuccess = () => {
      if (known.result !== undefined) uploads.put(upload);
    };
  });
  await updated.catch(ignore);
}

/** The uploads that are kept, the newest first. */
export async function all() {
  const uploads = await transact("readonly", (store) => store.getAll()).catch(() => []);
  return uploads.sort((a, b) => b.createdAt.localeCompare(a.createdAt));
}

/** The frames of an upload, in order. */
export function framesOf(id) {
  return transact("readonly", (_, frames) => frames.getAll(ofUpload(id)));
}

/**
 * The bytes of a frame.
 *
 * @throws {Problem} where the browser lost what it had kept, as it may when space is short
 */
export async function bytesOf(frame) {
  try {
    return await frame.blob.arrayBuffer();
  } catch (error) {
    console.error(error);
    throw framesLost();
  }
}

/** The browser lost what it had kept. */
export function framesLost() {
  return new Problem({ detail: t("upload.frames_lost") }, 410);
}

/** Forgets an upload and its frames. */
export async function forget(id) {
  const removed = transact("readwrite", (uploads, frames) => {
    uploads.delete(id);
    frames.delete(ofUpload(id));
  });
  await removed.catch(ignore);
}

/** Forgets the frames of an upload, and remembers that it is to be deleted. */
export async function forgetFrames(upload) {
  const removed = transact("readwrite", (uploads, frames) => {
    uploads.put(upload);
    frames.delete(ofUpload(upload.id));
  });
  await removed.catch(ignore);
}

/** Forgets everything; rejects where pictures may have stayed on the device. */
export async function forgetAll() {
  await transact("readwrite", (uploads, frames) => {
    uploads.clear();
    frames.clear();
  });
}

function ofUpload(id) {
  return IDBKeyRange.bound([id, 0], [id, Infinity]);
}
