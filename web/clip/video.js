// A clip that is opened in a video element, and one frame of it at a time, with the time at which it was filmed.

import { h } from "../dom.js";
import { t } from "../i18n.js";

/** What is wrong with a clip or picture; `detail` says it in words, and what to do. */
export class ClipError extends Error {
  /** @param {string} reason the end of a key `clip.error_…` */
  constructor(reason, values) {
    super(reason);
    this.reason = reason;
    this.detail = t(`clip.error_${reason}`, values);
  }
}

const OPEN_WITHIN_MS = 20000;
const SEEK_WITHIN_MS = 10000;
/** How long after a seek a new picture may take to be presented. */
const PRESENTED_WITHIN_MS = 250;
/** Safari says that it has sought before the picture can be drawn. */
const PAINT_MS = navigator.vendor?.startsWith("Apple") ? 100 : 0;
/** Past the end of any clip; a recording that does not know its length learns it by going there. */
const FAR_S = 1e7;
/** The very end shows no picture in some browsers. */
const END_MS = 20;

const knowsPresented = "requestVideoFrameCallback" in HTMLVideoElement.prototype;

/**
 * Opens a clip. Close it when it is not needed any more.
 *
 * @param {Blob} file
 * @param {object} options
 * @param {Element} options.stage where its video is shown: some browsers load only what is in the document
 * @param {number} options.minSide the least shorter side, in pixels
 * @param {AbortSignal} options.signal
 * @returns {Promise<Clip>}
 * @throws {ClipError} where the browser cannot show it, or it is too small or empty
 */
export async function openClip(file, { stage, minSide, signal }) {
  const clip = new Clip(file);
  stage.append(clip.video);
  try {
    await clip.open(signal);
    if (Math.min(clip.width, clip.height) < minSide) throw new ClipError("too_small", { side: minSide });
    return clip;
  } catch (error) {
    clip.close();
    throw error;
  }
}

/** A clip; made by `openClip`. Its `video` may be played while nobody seeks. */
export class Clip {
  #url;
  /** The time of the picture that was presented last, in ms. */
  #shownMs = null;
  /** Whether this browser says which picture it presents after a seek. */
  #isExact = false;

  constructor(file) {
    this.#url = URL.createObjectURL(file);
    this.durationMs = 0;
    /** How long a frame lasts, in ms; null where it could not be found out. */
    this.frameMs = null;
    // Without sound and inline, or a phone would not play it by itself.
    this.video = h("video", { muted: true, playsinline: true, preload: "auto", disableremoteplayback: true });
    this.video.disablePictureInPicture = true;
  }

  get width() {
    return this.video.videoWidth;
  }

  get height() {
    return this.video.videoHeight;
  }

  /** Loads what is needed to seek. */
  async open(signal) {
    const { video } = this;
    const loaded = happens(video, "loadedmetadata", OPEN_WITHIN_MS, signal);
    video.src = this.#url;
    await loaded;
    if (video.videoWidth === 0) throw new ClipError("no_picture");
    const isRecording = video.duration === Infinity;
    if (isRecording) await this.#learnDuration(signal);
    this.durationMs = video.duration * 1000;
    if (!(this.durationMs > 0)) throw new ClipError("empty");
    if (isRecording) await this.seek(0, signal);
    this.frameMs = await this.#measureFrame(signal);
    await this.seek(0, signal);
  }

  /** Frees the video's memory. */
  close() {
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    this.video.remove();
    URL.revokeObjectURL(this.#url);
  }

  /**
   * Shows the frame of a time.
   *
   * @param {number} ms
   * @param {AbortSignal} signal
   * @param {{isSure?: boolean}} [options] whether to wait until the picture can be drawn even where that takes longer
   * @returns {Promise<number>} when that frame begins, in ms; where the browser does not say, the time asked for
   * @throws {ClipError} where it does not come
   */
  async seek(ms, signal, { isSure = false } = {}) {
    const { video } = this;
    const target = Math.min(Math.max(ms, 0), Math.max(0, this.durationMs - END_MS));
    const presented = this.#presented(target);
    const sought = happens(video, "seeked", SEEK_WITHIN_MS, signal);
    video.currentTime = target / 1000;
    try {
      await sought;
      const shownMs = await Promise.race([presented.time, after(knowsPresented ? PRESENTED_WITHIN_MS : PAINT_MS)]);
      if (isSure) await after(PAINT_MS);
      return this.#settle(shownMs ?? presented.latest(), target);
    } finally {
      presented.stop();
    }
  }

  /**
   * Plays a part, and tells of its pictures as they are shown: quicker than to seek each.
   *
   * @param {{startMs: number, lengthMs: number}} part
   * @param {AbortSignal} signal
   * @param {(ms: number) => void} onPicture may draw the video
   */
  async watch({ startMs, lengthMs }, signal, onPicture) {
    await this.seek(startMs, signal);
    const { video } = this;
    const { promise: over, resolve: finish } = Promise.withResolvers();
    const stop = this.#eachPicture((ms) => (ms > startMs + lengthMs ? finish() : onPicture(ms)));
    video.addEventListener("ended", finish, { once: true });
    signal.addEventListener("abort", finish, { once: true });
    // A phone that saves power does not play by itself.
    video.playbackRate = 2;
    video.play().catch(finish);
    await Promise.race([over, after(lengthMs + 1500)]);
    video.pause();
    video.playbackRate = 1;
    stop();
    video.removeEventListener("ended", finish);
    signal.throwIfAborted();
  }

  /** Tells of each picture that is presented, until the function that it returns is called. */
  #eachPicture(tell) {
    if (!knowsPresented) return () => {};
    const { video } = this;
    let handle;
    const watch = () => {
      handle = video.requestVideoFrameCallback((_, { mediaTime }) => {
        watch();
        tell(mediaTime * 1000);
      });
    };
    watch();
    return () => video.cancelVideoFrameCallback(handle);
  }

  #settle(shownMs, target) {
    if (shownMs !== undefined) this.#isExact = true;
    // No new picture: it is the same frame, unless somebody else has moved the video since.
    else if (this.#isExact && !document.hidden && this.#isOf(target, this.#shownMs)) shownMs = this.#shownMs;
    this.#shownMs = shownMs ?? target;
    return this.#shownMs;
  }

  /** Watches for the picture of a time. Pictures that were on their way before may come first. */
  #presented(target) {
    let latest;
    let handle;
    const { video } = this;
    const time = new Promise((resolve) => {
      if (!knowsPresented) return;
      const watch = () => {
        handle = video.requestVideoFrameCallback((_, { mediaTime }) => {
          latest = mediaTime * 1000;
          if (this.#isOf(target, latest)) resolve(latest);
          else watch();
        });
      };
      watch();
    });
    const stop = () => knowsPresented && video.cancelVideoFrameCallback(handle);
    return { time, latest: () => latest, stop };
  }

  /** Whether the picture that begins at `ms` may be the one of the time `target`. */
  #isOf(target, ms) {
    return ms <= target + 5 && ms > target - 1.5 * (this.frameMs ?? 50) - 5;
  }

  async #learnDuration(signal) {
    const { video } = this;
    const learnt = happens(video, "durationchange", OPEN_WITHIN_MS, signal);
    video.currentTime = FAR_S;
    await learnt;
    if (video.duration === Infinity) throw new ClipError("empty");
  }

  /** Plays a moment of it to see how far its frames lie apart. It also has phones load the picture. */
  async #measureFrame(signal) {
    const times = [];
    const stop = this.#eachPicture((ms) => times.push(ms));
    const played = this.video.play().then(() => after(700), () => {});
    await Promise.race([played, after(2000)]);
    this.video.pause();
    stop();
    signal.throwIfAborted();
    return frameLength(times);
  }
}

/** The gap between frames that is usual where none was left out: near the smallest ones. */
function frameLength(times) {
  const gaps = times.slice(1).map((ms, i) => ms - times[i]).filter((gap) => gap > 2).sort((a, b) => a - b);
  if (gaps.length < 4) return null;
  const usual = gaps[Math.floor(gaps.length / 4)];
  const alike = gaps.filter((gap) => gap < 1.5 * usual);
  return alike.reduce((sum, gap) => sum + gap, 0) / alike.length;
}

/** Waits for an event of a video. */
function happens(video, name, withinMs, signal) {
  const done = new AbortController();
  return new Promise((resolve, reject) => {
    const listen = (target, event, act) => target.addEventListener(event, act, { signal: done.signal });
    listen(video, name, resolve);
    listen(video, "error", () => reject(new ClipError("unsupported")));
    listen(signal, "abort", () => reject(signal.reason));
    const timer = setTimeout(() => reject(new ClipError("stuck")), withinMs);
    listen(done.signal, "abort", () => clearTimeout(timer));
    if (signal.aborted) reject(signal.reason);
  }).finally(() => done.abort());
}

/** Waits, and comes back with nothing. */
function after(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
