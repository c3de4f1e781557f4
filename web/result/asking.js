// Before an analysis: the frames, whether they can serve one, what it costs at the most, and the button that asks.

import { announce, fill, h } from "../dom.js";
import { api, config } from "../api.js";
import { formatNumber, formatUsd, t } from "../i18n.js";
import { Pauses } from "../http.js";
import { problemNotice } from "../notices.js";
import { FrameViewer } from "./evidence.js";
import { framePicture } from "./picture.js";
import { warningLine } from "./details.js";
import { SPOKEN, frameAndTime } from "./words.js";

/** What hides so much that filming again tells more than going on. */
const GRAVE = [
  "few_frames", "timestamps_not_increasing", "too_few_frames_per_second", "low_resolution", "blurred", "dark",
  "overexposed",
];
const MOST_LOOKS = 3;

/** The frames of a session that was not analysed yet, with what the check says of them. */
export function framesToLookAt(session, signal) {
  const viewer = new FrameViewer(session, signal, { beside: false });
  const strip = h("ul", { class: "strip-small" }, session.frames.map((frame) => h("li", {},
    h("button", {
      type: "button", class: "still", "aria-label": frameAndTime(frame), onclick: () => viewer.show(frame.number),
    }, framePicture(session.session_id, frame, signal), h("span", { "aria-hidden": "true" }, frame.number)))));
  const check = h("div", { class: "check", "aria-busy": "true" }, h("p", { class: "small" }, t("session.checking")));
  fillCheck(check, session, viewer, signal);
  return h("section", {}, h("h2", { class: "hidden" }, t("session.frames")), strip, check);
}

async function fillCheck(place, session, viewer, signal) {
  try {
    const report = await api.check(session.session_id, signal);
    if (signal.aborted) return;
    fill(place, checkTold(report, viewer));
  } catch (error) {
    if (signal.aborted) return;
    // The analysis makes the same check, so without this one nothing is lost but the hint.
    console.warn(error);
    fill(place, h("p", { class: "small" }, t("session.check_failed")));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

function checkTold({ frames, frames_per_second: rate, warnings, advice }, viewer) {
  const count = rate === null ? t("session.frame_count", { n: frames })
    : t("session.frame_count_rate", { n: frames, rate: formatNumber(rate, 1) });
  if (warnings.length === 0) return h("p", { class: "check-good" }, t("session.check_good", { count }));
  const isGrave = warnings.some((it) => GRAVE.includes(it.code));
  return [
    h("p", {}, t(isGrave ? "session.check_grave" : "session.check_fair", { count })),
    h("details", { open: isGrave }, h("summary", {}, t("session.check_seen", { n: warnings.length })),
      h("ul", { class: "limits" }, warnings.map((it) => warningLine(it, viewer))),
      advice.length > 0 && [h("p", {}, h("strong", {}, t("session.check_advice"))),
        h("ul", { lang: SPOKEN }, advice.map((it) => h("li", {}, it)))],
      isGrave && h("p", {}, h("a", { href: "#/" }, t("session.film_again")))),
  ];
}

/**
 * The button that asks for an analysis, with what it costs at the most.
 *
 * @param {object} session
 * @param {AbortSignal} signal
 * @param {() => void} onChanged called once the session is not as it is shown: the analysis is under way, or somebody
 *   else was faster
 * @param {string} name of the button
 */
export function analyseForm(session, signal, onChanged, name) {
  return new AnalyseForm(session, signal, onChanged, name).element;
}

class AnalyseForm {
  #session;
  #signal;
  #onChanged;
  #estimated = 0;
  #isBusy = false;

  constructor(session, signal, onChanged, name) {
    this.#session = session;
    this.#signal = signal;
    this.#onChanged = onChanged;
    this.price = h("p", { class: "price", "aria-live": "polite" });
    this.problem = h("div", {});
    this.button = h("button", { id: "analyse", type: "submit", class: "primary" }, name);
    this.looks = h("fieldset", {}, h("legend", {}, t("session.looks")), numbersTo(MOST_LOOKS).map((n) =>
      h("label", { class: "choice" },
        h("input", { type: "radio", name: "looks", value: n, checked: n === 1, onchange: () => this.#estimate() }),
        h("span", {}, t("session.looks_count", { n })))));
    this.spare = h("input", { type: "checkbox", onchange: () => this.#estimate() });
    this.element = h("form", { class: "analyse-form", onsubmit: (event) => this.#submit(event) },
      h("div", { class: "analyse-row" }, this.button, this.price),
      h("details", {}, h("summary", {}, t("session.options")),
        h("p", { class: "small" }, t("session.looks_why")),
        this.looks,
        h("label", { class: "choice" }, this.spare, h("span", {}, t("session.spare")))),
      this.problem);
    this.#estimate();
    this.#lookAtConsent().catch(console.warn);
  }

  #options() {
    const looks = Number(this.looks.querySelector(":checked").value);
    return {
      ...(looks > 1 && { samples: looks }),
      ...(this.spare.checked && { leave_out_near_duplicates: true }),
    };
  }

  async #estimate() {
    const turn = ++this.#estimated;
    const isLast = () => turn === this.#estimated && !this.#signal.aborted;
    this.price.textContent = t("session.price_asking");
    try {
      const { cost_usd_max: most } = await api.estimate(this.#session.session_id, this.#options(), this.#signal);
      if (!isLast()) return;
      const price = { most: formatUsd(centsUp(most)) };
      this.price.textContent = most > 0 ? t("session.price", price) : t("session.price_none");
    } catch (error) {
      if (!isLast()) return;
      console.warn(error);
      this.price.textContent = t("session.price_unknown");
    }
  }

  /** Says before anybody presses the button that nobody agreed to have the frames looked at. */
  async #lookAtConsent() {
    const { third_party_ai: isNeeded } = (await config()).consent;
    const covered = this.#session.consent?.purposes;
    if (this.#signal.aborted || !isNeeded || !covered || covered.includes("third_party_ai")) return;
    this.button.disabled = true;
    fill(this.problem, consentNotice());
  }

  async #submit(event) {
    event.preventDefault();
    if (this.#isBusy) return;
    this.#busy(true);
    this.problem.replaceChildren();
    announce(t("session.starting"));
    try {
      await this.#ask(this.#options());
      if (!this.#signal.aborted) this.#onChanged();
    } catch (error) {
      if (this.#signal.aborted) return;
      this.#busy(false);
      fill(this.problem, error.code === "consent_missing" ? consentNotice() : problemNotice(error));
    }
  }

  /** Asks for the analysis that was offered, unless the session has changed since. */
  async #ask(options) {
    const { session_id: id, updated_at: seen } = this.#session;
    const now = await api.session(id, this.#signal);
    if (now.updated_at !== seen) return announce(t("session.changed"));
    // The same for all windows that offer it, so that it is done, and paid for, once.
    const key = [id, seen, JSON.stringify(options)].join("|");
    try {
      await api.analyze(id, options, key);
    } catch (error) {
      if (error.code !== "request_under_way") throw error;
      // Another window asks in this moment.
      await new Pauses().after(error, this.#signal);
      await this.#ask(options);
    }
  }

  /** Not disabled, which would take the focus from whoever pressed it. */
  #busy(isBusy) {
    this.#isBusy = isBusy;
    this.button.setAttribute("aria-disabled", isBusy);
  }
}

function consentNotice() {
  return h("div", { class: "notice warning", role: "alert" },
    h("p", {}, h("strong", {}, t("session.consent_title"))),
    h("p", {}, t("session.consent_what")),
    h("p", {}, h("a", { href: "#/" }, t("session.consent_again"))));
}

/** Rounded up to whole cents, so that "at most" stays true. */
function centsUp(usd) {
  return Math.ceil(usd * 100) / 100;
}

function numbersTo(n) {
  return Array.from({ length: n }, (_, at) => at + 1);
}
