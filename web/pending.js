// The upload that is not finished: kept by the browser, so that it goes on after a reload.
//
// Frames are kept apart from what changes while they are sent, and are removed with it. Where the browser keeps
// nothing (private windows, a full disk), an upload works all the same and is lost with the page.

import { t } from "./i18n.js";
import { Problem } from "./problem.js";

const DATABASE = "swimcoach";
const UPLOADS = "uploads";
const FRAMES = "frames";

let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(UPLOADS, { keyPath: "id" });
      request.result.createObjectStore(FRAMES, { keyPath: ["id", "number"] });
    };
    request.onsuccess = () => {
      // Another page may have a newer version of this one.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("the database is in use"));
  });
  return opened;
}

/** Does something in one transaction; resolves with the result of the request that `work` returns, once it is kept. */
async function transact(mode, work) {
  const database = await open();
  return new Promise((resolve, reject) => {
    const transaction = database.transaction([UPLOADS, FRAMES], mode);
    const request = work(transaction.objectStore(UPLOADS), transaction.objectStore(FRAMES));
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onabort = () => reject(transaction.error ?? new Error("nothing was kept"));
  });
}

/** Where nothing can be kept, {@link keep} has said so. */
function ignore() {}

/**
 * Keeps an upload with its frames.
 *
 * @param {{ id: string, createdAt: string, terms: object, sessionId: string|null }} upload
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

/** Keeps what is new about an upload that is kept. */
export async function update(upload) {
  await transact("readwrite", (uploads) => uploads.put(upload)).catch(ignore);
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
    throw new Problem({ detail: t("upload.frames_lost") }, 410);
  }
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

/** Forgets everything. */
export async function forgetAll() {
  const removed = transact("readwrite", (uploads, frames) => {
    uploads.clear();
    frames.clear();
  });
  await removed.catch(ignore);
}

function ofUpload(id) {
  return IDBKeyRange.bound([id, 0], [id, Infinity]);
}
