// Pictures of frames, fetched once and kept for a while. Pictures need credentials, so an address alone shows none.

/** As many as an upload may have, so that looking through one session fetches nothing twice. */
const CAPACITY = 60;

/** A cache of object URLs, which releases those that were not asked for the longest time. */
export class FrameImages {
  #fetchBlob;
  /** By `session/number`, the least recently used first: `{ url, loading, abort, waiting }`. */
  #entries = new Map();

  /** @param {(id: string, number: number, signal: AbortSignal) => Promise<Blob>} fetchBlob */
  constructor(fetchBlob) {
    this.#fetchBlob = fetchBlob;
  }

  /** The object URL of a frame. Two who ask at the same time share one request, which ends when both gave up. */
  async get(id, number, signal) {
    signal?.throwIfAborted();
    const key = `${id}/${number}`;
    const entry = this.#entries.get(key) ?? this.#load(key, id, number);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (entry.url) return entry.url;
    entry.waiting += 1;
    try {
      return await unlessAborted(entry.loading, signal);
    } finally {
      entry.waiting -= 1;
      if (entry.waiting === 0 && !entry.url) this.#drop(key, entry);
    }
  }

  /** Releases the pictures of a session. */
  forget(id) {
    for (const [key, entry] of this.#entries) if (key.startsWith(`${id}/`)) this.#drop(key, entry);
  }

  /** Releases all of them. */
  clear() {
    for (const [key, entry] of this.#entries) this.#drop(key, entry);
  }

  #load(key, id, number) {
    const abort = new AbortController();
    const entry = { url: null, waiting: 0, abort };
    entry.loading = this.#fetchBlob(id, number, abort.signal).then((blob) => {
      abort.signal.throwIfAborted();
      entry.url = URL.createObjectURL(blob);
      this.#trim();
      return entry.url;
    });
    return entry;
  }

  #drop(key, entry) {
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
    entry.abort.abort();
    if (entry.url) URL.revokeObjectURL(entry.url);
  }

  #trim() {
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size <= CAPACITY) return;
      if (entry.url) this.#drop(key, entry);
    }
  }
}

/** The promise, or the reason of the signal as soon as it fires. */
function unlessAborted(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
