// The second step: the clip is looked over, a part of it is suggested, and the frames of the chosen part are made.

import { announce, h } from "../dom.js";
import { formatNumber, formatSeconds, t } from "../i18n.js";
import { scan, takeFrames } from "./frames.js";
import { Preview } from "./preview.js";
import { decision, progressLine, showStep, stoppable } from "./step.js";
import { Timeline } from "./timeline.js";
import { openClip } from "./video.js";

/**
 * Lets a part of a clip be chosen, and makes its frames.
 *
 * @param {Element} main where it is shown
 * @param {File} file
 * @param {{limits: object, isOneOfMore: boolean, signal: AbortSignal}} options `limits` of the service; `isOneOfMore`
 *   where other files were chosen with it, which are not taken
 * @returns {Promise<import("./frames.js").Frame[]|null>} null where another clip is wanted
 * @throws {import("./video.js").ClipError} where the clip cannot be read
 */
export async function chooseMoment(main, file, { limits, isOneOfMore, signal }) {
  const moment = new Moment(limits, stoppable(signal));
  moment.show(main, isOneOfMore && file.name);
  try {
    return await moment.run(file);
  } catch (error) {
    if (moment.isLeft && !signal.aborted) return null;
    throw error;
  } finally {
    moment.close();
  }
}

class Moment {
  #limits;
  #own;
  #clip = null;
  #preview = null;
  #timeline = null;

  /** Whether another clip is wanted. */
  isLeft = false;

  constructor(limits, own) {
    this.#limits = limits;
    this.#own = own;
    this.stage = h("div", { class: "clip-stage" });
    this.lane = h("div", { class: "clip-lane" });
    this.progress = progressLine(t("clip.opening"));
    this.words = h("p", { class: "clip-window-words", hidden: true });
    this.make = h("button", { type: "button", class: "primary", id: "make-frames", disabled: true }, t("clip.make"));
    this.play = h("button", { type: "button", disabled: true, onclick: () => this.#toggle() }, t("clip.play"));
    this.other = h("button", { type: "button", class: "plain", onclick: () => this.#leave() }, t("clip.another"));
  }

  /** `only`: the name of the clip where it was chosen out of several files. */
  show(main, only) {
    showStep(main, t("clip.moment_title"),
      only && h("p", { class: "notice" }, t("clip.only_one", { name: only })),
      h("p", { class: "lead" }, t("clip.moment_lead")),
      this.stage, this.lane,
      h("div", { class: "clip-status" }, this.words, this.progress.element),
      h("div", { class: "actions" }, this.make, this.play, this.other));
  }

  /** Opens, looks over, waits for the choice, and makes the frames; again where making them was cancelled. */
  async run(file) {
    const { signal } = this.#own;
    this.#clip = await openClip(file, { stage: this.stage, minSide: this.#limits.min_side, signal });
    this.stage.style.setProperty("--aspect", this.#clip.width / this.#clip.height);
    const suggested = await this.#scan(signal);
    this.#offer(suggested);
    for (;;) {
      await this.#chosen(signal);
      const frames = await this.#take(signal);
      if (frames) return frames;
    }
  }

  close() {
    this.#own.stop();
    this.#preview?.end();
    this.#clip?.close();
  }

  #leave() {
    this.isLeft = true;
    this.#own.stop();
  }

  #scan(signal) {
    const { durationMs } = this.#clip;
    const onMove = (ms) => {
      this.#preview.show(ms);
      this.#tellWindow();
    };
    this.#timeline = new Timeline({ durationMs, onMove, onRest: () => this.#playIfWelcome() });
    this.lane.append(this.#timeline.element);
    return scan(this.#clip, {
      signal,
      onThumb: (thumb) => this.#timeline.addThumb(thumb),
      onProgress: (share) => this.progress.tell(share, t("clip.scanning")),
    });
  }

  #offer(suggested) {
    const timeline = this.#timeline;
    timeline.choose(suggested);
    const onTime = (ms) => timeline.tellTime(ms);
    this.#preview = new Preview(this.#clip.video, () => timeline.chosen, onTime, () => this.#tellPlaying());
    this.#tellWindow();
    this.#settle(false);
    announce(t("clip.suggested", { part: this.words.textContent }));
    this.make.focus({ preventScroll: true });
    this.#playIfWelcome();
  }

  /** What can be done while frames are made, and otherwise. */
  #settle(isBusy) {
    this.progress.element.hidden = !isBusy;
    this.words.hidden = isBusy;
    this.make.disabled = this.play.disabled = isBusy;
    this.#timeline.locked = isBusy;
    this.other.textContent = isBusy ? t("common.cancel") : t("clip.another");
  }

  async #chosen(signal) {
    const { promise, resolve } = decision(signal);
    this.make.addEventListener("click", resolve, { once: true });
    await promise;
  }

  /** Makes the frames; null where that was cancelled. */
  async #take(signal) {
    this.#preview.pause();
    const work = stoppable(signal);
    const cancel = (event) => {
      event.stopImmediatePropagation();
      work.stop();
    };
    this.other.addEventListener("click", cancel, { capture: true });
    this.#settle(true);
    this.other.focus({ preventScroll: true });
    this.progress.tell(0, t("clip.making"));
    try {
      return await takeFrames(this.#clip, this.#timeline.chosen, {
        limits: this.#limits,
        signal: work.signal,
        onProgress: (n, all) => this.progress.tell(n / all, t("clip.making_of", { done: n, all })),
      });
    } catch (error) {
      if (signal.aborted || !work.signal.aborted) throw error;
      return null;
    } finally {
      this.other.removeEventListener("click", cancel, { capture: true });
      this.#settle(false);
      if (!signal.aborted) this.make.focus({ preventScroll: true });
    }
  }

  #tellWindow() {
    const { startMs, lengthMs } = this.#timeline.chosen;
    const [from, to] = [startMs, startMs + lengthMs].map(formatSeconds);
    this.words.textContent = t("clip.part", { from, to, seconds: formatNumber(lengthMs / 1000, 1) });
  }

  #toggle() {
    if (this.#preview.isPlaying) this.#preview.pause();
    else this.#preview.play();
  }

  #tellPlaying() {
    this.play.textContent = this.#preview?.isPlaying ? t("clip.pause") : t("clip.play");
  }

  #playIfWelcome() {
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.#preview.play();
  }
}
