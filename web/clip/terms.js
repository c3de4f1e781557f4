// The few words with the frames: the stroke, what is asked, whose pictures they are and who agreed.

import { h } from "../dom.js";
import { t } from "../i18n.js";

const STROKES = ["freestyle", "backstroke", "breaststroke", "butterfly", "mixed"];
const VIEWS = ["side", "front", "rear", "overhead", "oblique", "mixed"];
const SUBJECTS = ["adult", "minor_13_17", "under_13"];

/** The form; `element` is to be shown. */
export class Terms {
  #config;
  #agreed = null;

  /** @param {object} config of the service, as in `/config.json` */
  constructor(config) {
    this.#config = config;
    this.form = h("form", { class: "clip-terms", novalidate: true, onsubmit: (event) => event.preventDefault() },
      choices("stroke_type", t("clip.stroke"), STROKES, (it) => t(`terms.stroke.${it}`), "freestyle"),
      this.#more(),
      this.#mustAsk() && this.#consent());
    this.element = this.form;
  }

  /**
   * The body of POST /sessions.
   *
   * @returns {object|null} null where somebody must agree first; the form then says so
   */
  read() {
    const given = new FormData(this.form);
    const terms = {};
    for (const name of ["stroke_type", "view", "user_notes", "title"]) {
      const value = String(given.get(name) ?? "").trim();
      if (value) terms[name] = value;
    }
    if (!this.#agreed) return terms;
    if (!this.#agreed.checked) return this.#refuse();
    terms.consent = this.#given(String(given.get("subject")));
    return terms;
  }

  /** Somebody is asked unless the operator has said what counts and nobody else is shown the pictures. */
  #mustAsk() {
    const { when_unsaid, third_party_ai } = this.#config.consent;
    return third_party_ai || when_unsaid === null;
  }

  #given(subject) {
    const basis = subject === "adult" ? "swimmer" : "guardian";
    const purposes = this.#config.consent.third_party_ai ? ["analysis", "third_party_ai"] : ["analysis"];
    return { subject, basis, purposes };
  }

  #refuse() {
    this.error.hidden = false;
    this.#agreed.setAttribute("aria-invalid", "true");
    this.#agreed.focus();
    return null;
  }

  #more() {
    const view = h("select", { name: "view", id: "view" },
      h("option", { value: "" }, t("clip.view_unsaid")),
      VIEWS.map((it) => h("option", { value: it }, t(`clip.view_${it}`))));
    return h("details", { class: "clip-more" },
      h("summary", {}, t("clip.more")),
      field("user_notes", t("clip.question"), h("textarea", {
        name: "user_notes", id: "user_notes", maxlength: "2000", rows: "3", placeholder: t("clip.question_such_as"),
      })),
      field("view", t("clip.view"), view),
      field("title", t("clip.name"), h("input", {
        name: "title", id: "title", type: "text", maxlength: "200", autocomplete: "off",
      })));
  }

  #consent() {
    const usual = this.#config.consent.when_unsaid ?? "adult";
    const words = h("span", {}, this.#statement(usual));
    this.#agreed = h("input", { type: "checkbox", id: "consent", "aria-describedby": "consent-error" });
    const error = { class: "clip-error", id: "consent-error", role: "alert", hidden: true };
    this.error = h("p", error, t("clip.consent_missing"));
    const subjects = choices("subject", t("clip.whose"), SUBJECTS, (it) => t(`clip.whose_${it}`), usual);
    const tell = () => {
      words.textContent = this.#statement(new FormData(this.form).get("subject"));
      // What was agreed to was another sentence.
      this.#agreed.checked = false;
    };
    subjects.addEventListener("change", tell);
    this.#agreed.addEventListener("change", () => {
      this.error.hidden = true;
      this.#agreed.removeAttribute("aria-invalid");
    });
    const choice = h("label", { class: "choice" }, this.#agreed, words);
    return [subjects, h("div", { class: "clip-consent" }, choice, this.error)];
  }

  #statement(subject) {
    const { retention_days, third_party_ai } = this.#config.consent;
    const isAdult = subject === "adult";
    const key = `clip.consent_${isAdult ? "adult" : "minor"}${third_party_ai ? "_ai" : ""}`;
    return t(key, { days: isAdult ? retention_days.adult : retention_days.minor, model: this.#config.model.name });
  }
}

/** One of a few, all in sight. */
function choices(name, legend, values, text, chosen) {
  const choice = (value) => h("label", { class: "pill" },
    h("input", { type: "radio", name, value, checked: value === chosen }), h("span", {}, text(value)));
  return h("fieldset", { class: "pills" }, h("legend", {}, legend), h("div", {}, values.map(choice)));
}

function field(id, text, control) {
  return h("div", { class: "field" }, h("label", { for: id }, text), control);
}
