// Films with the camera of the device, in a dialog.

import { h } from "../dom.js";
import { formatNumber, t } from "../i18n.js";
import { ClipError } from "./video.js";

/** As long as a few lengths take; more is only more to look through. */
const MOST_MS = 60000;
/** Enough for a sharp picture of 1080 lines. */
const BITS_PER_SECOND = 10_000_000;
const WISHES = {
  facingMode: { ideal: "environment" }, width: { ideal: 1920 }, height: { ideal: 1080 }, frameRate: { ideal: 60 },
};

/**
 * Films a clip. The camera is stopped in any case.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<File|null>} null where it was closed without filming
 * @throws {ClipError} where there is no camera, or it is not allowed
 */
export async function film(signal) {
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) throw new ClipError("camera_not_here");
  const camera = new Camera();
  const close = () => camera.dialog.close();
  signal.addEventListener("abort", close, { once: true });
  try {
    return await camera.film();
  } finally {
    signal.removeEventListener("abort", close);
    camera.end();
  }
}

class Camera {
  #stream = null;
  #recorder = null;
  #timer = null;
  #isOpen = true;

  constructor() {
    this.picture = h("video", { muted: true, playsinline: true, autoplay: true, "aria-hidden": "true" });
    this.button = h("button", { type: "button", class: "primary record", disabled: true }, t("clip.camera_record"));
    this.words = h("p", { class: "small", role: "status" }, t("clip.camera_asks"));
    const cancel = h("button", { type: "button", onclick: () => this.dialog.close() }, t("common.cancel"));
    this.dialog = h("dialog", { class: "camera", "aria-label": t("clip.film") },
      this.picture, this.words, h("div", { class: "actions" }, this.button, cancel));
  }

  /** Opens the dialog and waits until something is filmed, or it is closed. */
  async film() {
    document.body.append(this.dialog);
    this.dialog.showModal();
    const closed = new Promise((resolve) => this.dialog.addEventListener("close", () => {
      this.#isOpen = false;
      resolve(null);
    }));
    return Promise.race([closed, this.#record()]);
  }

  async #record() {
    const stream = await openCamera();
    // It may have been closed while the browser was asking.
    if (!this.#isOpen) return stop(stream);
    this.#stream = stream;
    this.picture.srcObject = stream;
    this.words.textContent = t("clip.camera_ready");
    this.button.disabled = false;
    this.button.focus();
    await new Promise((resolve) => this.button.addEventListener("click", resolve, { once: true }));
    return this.#recording(stream);
  }

  #recording(stream) {
    const chunks = [];
    const recorder = this.#recorder = startRecorder(stream);
    const finish = () => recorder.state !== "inactive" && recorder.stop();
    this.button.textContent = t("clip.camera_stop");
    this.button.classList.add("recording");
    this.button.addEventListener("click", finish, { once: true });
    this.#tellTime(finish);
    return new Promise((resolve, reject) => {
      recorder.ondataavailable = ({ data }) => data.size > 0 && chunks.push(data);
      recorder.onerror = () => reject(new ClipError("camera_failed"));
      recorder.onstop = () => resolve(new File(chunks, "clip", { type: recorder.mimeType || "video/mp4" }));
    });
  }

  #tellTime(finish) {
    const begun = performance.now();
    this.words.removeAttribute("role");
    const tell = () => {
      const ms = performance.now() - begun;
      this.words.textContent = t("clip.camera_time", { seconds: formatNumber(ms / 1000), most: MOST_MS / 1000 });
      if (ms >= MOST_MS) finish();
    };
    tell();
    this.#timer = setInterval(tell, 500);
  }

  /** Stops everything. */
  end() {
    clearInterval(this.#timer);
    if (this.#recorder && this.#recorder.state !== "inactive") this.#recorder.stop();
    if (this.#stream) stop(this.#stream);
    this.picture.srcObject = null;
    this.dialog.remove();
  }
}

async function openCamera() {
  try {
    return await navigator.mediaDevices.getUserMedia({ video: WISHES, audio: false });
  } catch (error) {
    console.warn(error);
    if (error.name === "NotAllowedError" || error.name === "SecurityError") throw new ClipError("camera_not_allowed");
    if (error.name === "NotFoundError") throw new ClipError("camera_not_here");
    throw new ClipError("camera_failed");
  }
}

/** Browsers refuse streams that they cannot encode, or that have just ended. */
function startRecorder(stream) {
  try {
    const recorder = new MediaRecorder(stream, { videoBitsPerSecond: BITS_PER_SECOND });
    recorder.start(1000);
    return recorder;
  } catch (error) {
    console.warn(error);
    throw new ClipError("camera_failed");
  }
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
  return null;
}
