// One finding: what is seen, what it costs, a cue, the frames that show it, and what to practise.

import { fill, h } from "../dom.js";
import { t } from "../i18n.js";
import { framePicture } from "./picture.js";
import { SPOKEN, findingTitle, frameAndTime, sideInWords, term, withMentions } from "./words.js";

/** Frames of a finding that are shown without asking for more. */
const SHOWN_AT_ONCE = 4;

/**
 * What all parts of a result need.
 *
 * @typedef {object} Context
 * @property {object} session
 * @property {object} analysis the session's, or another that is about its frames
 * @property {import("./evidence.js").FrameViewer} viewer
 * @property {Promise<object|null>} catalog null where it could not be read
 * @property {AbortSignal} signal
 */

/** A finding as the viewer knows it. */
export function claimOf(finding) {
  return { title: findingTitle(finding), seen: new Map(finding.evidence.map((it) => [it.frame, it.seen])) };
}

/** The primary finding, large and whole. */
export function focusSection(finding, context) {
  const claim = claimOf(finding);
  claim.element = h("section", { id: "focus", class: "finding focus card", "aria-labelledby": "focus-title" },
    h("p", { class: "eyebrow" }, t("result.focus")),
    h("h2", { id: "focus-title", tabindex: -1, lang: finding.title && SPOKEN }, claim.title),
    chips(finding),
    observation(finding, claim, context, "lead"),
    finding.why_it_matters && h("p", { class: "why", lang: SPOKEN }, finding.why_it_matters),
    cue(finding),
    evidenceRow(finding, claim, context),
    drills(finding, context, "h3"));
  return { claim, element: claim.element };
}

/** Any other finding: short, with what to do about it one press away. */
export function findingCard(finding, context) {
  const claim = claimOf(finding);
  const more = drills(finding, context, "h4");
  claim.element = h("article", { class: `finding card ${finding.kind}` },
    h("h3", { lang: finding.title && SPOKEN }, claim.title),
    chips(finding),
    observation(finding, claim, context),
    finding.why_it_matters && h("p", { class: "why", lang: SPOKEN }, finding.why_it_matters),
    finding.kind !== "strength" && cue(finding),
    evidenceRow(finding, claim, context),
    more && h("details", {}, h("summary", {}, t("result.drills")), more));
  return { claim, element: claim.element };
}

/** A finding that was told while the analysis still runs. What it weighs is settled at the end. */
export function findingSoFar(finding, { session, signal }) {
  const shown = finding.evidence.slice(0, 2);
  return h("article", { class: `finding card so-far ${finding.kind}` },
    h("p", { class: "eyebrow" }, term("kind", finding.kind)),
    h("h3", { lang: finding.title && SPOKEN }, findingTitle(finding)),
    h("p", { lang: SPOKEN }, finding.observation),
    shown.length > 0 && h("div", { class: "evidence-row" }, shown.map((it) => h("figure", { class: "evidence-still" },
      framePicture(session.session_id, frameOf(session, it.frame), signal),
      h("figcaption", { class: "small" }, frameAndTime(frameOf(session, it.frame)))))));
}

/** The claim in words. A press on it shows its first frame; by keyboard the frames below it do. */
function observation(finding, claim, { viewer }, kind = "") {
  const first = finding.evidence[0]?.frame;
  const isPressed = (event) => !event.target.closest("button") && getSelection().isCollapsed;
  return h("p", {
    class: `claim ${kind}`, lang: SPOKEN,
    onclick: first !== undefined && ((event) => isPressed(event) && viewer.show(first, claim)),
  }, withMentions(finding.observation, viewer, claim));
}

function chips(finding) {
  const words = [
    finding.kind !== "fault" && finding.kind !== "strength" && term("kind", finding.kind),
    sideInWords(finding),
    term("certainty", finding.certainty),
    finding.agreement && t("result.agreement", finding.agreement),
  ];
  return h("ul", { class: "chips" }, words.filter(Boolean).map((it) => h("li", { class: "chip" }, it)));
}

function cue({ cue: words }) {
  return words && h("figure", { class: "cue" },
    h("figcaption", {}, t("result.cue")),
    h("blockquote", { lang: SPOKEN }, h("p", {}, sentence(words))));
}

function sentence(words) {
  return words.charAt(0).toLocaleUpperCase() + words.slice(1);
}

function evidenceRow(finding, claim, context) {
  if (finding.evidence.length === 0) return null;
  const buttons = finding.evidence.map((it) => evidenceButton(it, claim, context));
  const [first, rest] = [buttons.slice(0, SHOWN_AT_ONCE), buttons.slice(SHOWN_AT_ONCE)];
  const name = t("result.evidence_of", { title: claim.title });
  return [
    h("div", { class: "evidence-row", role: "group", "aria-label": name }, first),
    rest.length > 0 && h("details", { class: "evidence-more" },
      h("summary", {}, t("result.more_evidence", { n: rest.length })), h("div", { class: "evidence-row" }, rest)),
  ];
}

/** A frame with what is seen in it; pressed, it is shown large. */
export function evidenceButton({ frame: number, seen }, claim, { session, viewer, signal }) {
  const frame = frameOf(session, number);
  return h("button", {
    type: "button", class: "evidence", dataset: { frame: number }, onclick: () => viewer.show(number, claim),
  },
  framePicture(session.session_id, frame, signal),
  h("span", { class: "evidence-where" }, frameAndTime(frame)),
  h("span", { class: "evidence-seen", lang: SPOKEN }, seen));
}

/** The frame of that number. One that the session does not list (any more) is told by its number. */
function frameOf(session, number) {
  return session.frames.find((it) => it.number === number) ?? { number, width: 1280, height: 720, timestamp_ms: null };
}

function drills(finding, context, heading) {
  if (finding.drills.length === 0) return null;
  return h("div", { class: "drills" },
    heading === "h3" && h("h3", {}, t("result.drills")),
    h("ul", {}, finding.drills.map((it) => drill(it, context.catalog, heading === "h3" ? "h4" : heading))));
}

/** A drill with how it is done, which comes with the catalogue. */
function drill(advice, catalog, heading) {
  const how = h("div", {});
  catalog.then((it) => fill(how, howTo(it?.drills.find(({ id }) => id === advice.id))));
  return h("li", { class: "drill" },
    h(heading, { lang: SPOKEN }, advice.name, " ", h("span", { class: "chip" }, advice.dose)), how);
}

function howTo(drill) {
  if (!drill) return null;
  const line = (key, words) => words && h("p", { class: "small" },
    h("span", {}, `${t(key)} `), h("span", { lang: SPOKEN }, words));
  return [
    h("p", { lang: SPOKEN }, drill.how),
    line("result.feel", drill.feel),
    line("result.watch_out", drill.watch_out),
    line("result.equipment", drill.equipment.join(", ")),
  ];
}
