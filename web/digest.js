// Bytes in hex, and digests by which the service and the page tell whether two things are the same.

/** Bytes in hex. */
export function hex(bytes) {
  return Array.from(bytes, (it) => it.toString(16).padStart(2, "0")).join("");
}

/**
 * The SHA-256 of bytes.
 *
 * @param {BufferSource} bytes
 * @returns {Promise<string|null>} in hex; null where the page came neither by https nor from this machine, since
 *   browsers digest nothing there
 */
export async function sha256(bytes) {
  if (!crypto.subtle) return null;
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}
