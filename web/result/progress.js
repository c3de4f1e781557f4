// An analysis under way: its steps in words and its findings as they come, over events. A reload in the midst hears
// all events again from their beginning.

import { announce, fill, h } from "../dom.js";
import { api } from "../api.js";
import { t } from "../i18n.js";
import { problemNotice } from "../notices.js";
import { findingSoFar } from "./finding.js";
import { findingTitle } from "./words.js";

/** Which step of those that are shown a stage belongs to. */
const STEPS = {
  queued: "frames", fetching: "frames", checked: "frames", sent: "look", thinking: "look", writing: "write",
  answering_notes: "notes",
};
const LOOK_AGAIN_MS = 3000;

/**
 * Shows an analysis that is under way.
 *
 * @param {object} session whose status is `processing`
 * @param {AbortSignal} signal
 * @param {(session: object) => void} onEnd called with the session when the analysis has ended, however it did
 * @returns {HTMLElement}
 */
export function progressView(session, signal, onEnd) {
  return new Progress(session, signal, onEnd).element;
}

class Progress {
  #session;
  #signal;
  #onEnd;
  #step = null;
  #count = 0;

  constructor(session, signal, onEnd) {
    this.#session = session;
    this.#signal = signal;
    this.#onEnd = onEnd;
    const names = ["frames", "look", "write", ...(session.user_notes ? ["notes"] : [])];
    this.steps = new Map(names.map((it) => [it, h("li", {}, h("span", {}, t(`session.step_${it}`)))]));
    this.look = h("p", { class: "small", hidden: true });
    this.found = h("div", { class: "found-so-far" });
    this.problem = h("div", {});
    this.cancel = h("button", { id: "cancel", type: "button", onclick: () => this.#stop() }, t("common.cancel"));
    this.element = h("section", { class: "progress card", "aria-labelledby": "progress-title" },
      h("h2", { id: "progress-title", tabindex: -1 }, t("session.working")),
      h("progress", { "aria-labelledby": "progress-title" }),
      h("ol", { class: "steps" }, [...this.steps.values()]),
      this.look,
      this.found,
      this.problem,
      h("p", { class: "small" }, t("session.goes_on")),
      h("div", { class: "actions" }, this.cancel));
    this.#show(session.progress?.stage ?? "queued", session.progress?.look ?? 1);
    this.#follow();
  }

  async #follow() {
    try {
      await api.events(this.#session.session_id, { signal: this.#signal, on: (event) => this.#heard(event) });
      await this.#ended();
    } catch (error) {
      if (this.#signal.aborted) return;
      fill(this.problem, problemNotice(error, () => {
        this.problem.replaceChildren();
        this.#follow();
      }));
    }
  }

  /** The events are over; what came of it is told by the session, which may lag behind them. */
  async #ended() {
    const session = await api.session(this.#session.session_id, this.#signal);
    if (this.#signal.aborted) return;
    if (session.status !== "processing") {
      this.#onEnd(session);
      return;
    }
    setTimeout(() => !this.#signal.aborted && this.#follow(), LOOK_AGAIN_MS);
  }

  #heard({ event, data }) {
    if (event === "queued" || event === "resumed") this.#begin();
    else if (event === "progress") this.#show(data.stage, data.look);
    else if (event === "finding") this.#add(data);
  }

  /** What was told before is void: the analysis begins, or another process took it up. */
  #begin() {
    this.found.replaceChildren();
    this.#count = 0;
    this.#show("queued", 1);
  }

  #show(stage, look) {
    const step = STEPS[stage] ?? this.#step;
    // Each look goes through the steps again; what is done stays done only within a look.
    const samples = this.#session.progress?.samples ?? 1;
    this.look.hidden = samples < 2;
    this.look.textContent = t("session.look_of", { look, samples });
    if (step === this.#step) return;
    this.#step = step;
    let isDone = true;
    for (const [name, item] of this.steps) {
      if (name === step) isDone = false;
      item.classList.toggle("done", isDone);
      if (name === step) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    }
    if (this.steps.has(step)) announce(t(`session.step_${step}`));
  }

  #add(finding) {
    if (this.#count === 0) this.found.append(h("h3", { class: "hidden" }, t("session.found")));
    this.#count += 1;
    this.found.append(findingSoFar(finding, { session: this.#session, signal: this.#signal }));
    announce(t("session.found_one", { title: findingTitle(finding) }));
  }

  async #stop() {
    if (this.cancel.ariaDisabled === "true") return;
    this.cancel.ariaDisabled = "true";
    try {
      await api.cancel(this.#session.session_id);
      announce(t("session.cancelling"));
    } catch (error) {
      // It may have ended in the same moment; then its end is told by the events.
      if (error.code === "nothing_runs" || this.#signal.aborted) return;
      this.cancel.ariaDisabled = "false";
      fill(this.problem, problemNotice(error));
    }
  }
}
