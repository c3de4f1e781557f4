// A result as a coach tells it: one thing to work on first, then what works, what else was seen, and what these frames
// cannot tell. Every claim leads to its frames. There is no overall score.

import { h } from "../dom.js";
import { t } from "../i18n.js";
import { chatView } from "./chat.js";
import { findingCard, focusSection } from "./finding.js";
import { FrameViewer } from "./evidence.js";
import { cannotTell, elements, figures, leftOut, limits, notesAnswer, provenance } from "./details.js";
import { SPOKEN, isAboutTechnique, primaryFinding, term, withMentions } from "./words.js";

/** Warnings that bear on every finding, and are read before them. */
const FIRST = ["several_swimmers", "swimmer_uncertain", "stroke_differs"];

/**
 * The result of a session.
 *
 * @param {object} session that has an `analysis`
 * @param {Promise<object|null>} catalog of the service, for how drills are done; null where it could not be read
 * @param {AbortSignal} signal of the view
 * @returns {HTMLElement}
 */
export function analysisView(session, catalog, signal) {
  const { analysis } = session;
  const viewer = new FrameViewer(session, signal);
  const context = { session, analysis, viewer, catalog, signal };
  const told = tellFindings(context);
  viewer.cite(told.claims);
  if (told.claims.length > 0) viewer.prepare(told.claims[0]);
  return h("div", { class: "result" },
    h("div", { class: "result-main" },
      beforehand(analysis),
      told.focus ?? nothingFirst(context),
      told.focus && h("section", { class: "in-short" },
        h("h2", {}, t("result.in_short")),
        h("p", { lang: SPOKEN }, withMentions(analysis.summary, viewer))),
      notesAnswer(context),
      told.rest,
      figures(context),
      cannotTell(analysis),
      conversation(context),
      elements(context),
      limits(context, FIRST),
      leftOut(analysis),
      provenance(session, catalog)),
    viewer.aside);
}

/** A place to ask about the result, where it says anything that can be asked about. */
function conversation({ session, analysis, viewer, signal }) {
  const canAsk = isAboutTechnique(analysis) && analysis.provenance.model !== "mock";
  return canAsk && chatView(session, viewer, signal);
}

/** The findings in their order, as sections, and the claims that the viewer may name. */
function tellFindings(context) {
  const { findings } = context.analysis;
  const primary = primaryFinding(context);
  const claims = [];
  const keep = ({ claim, element }) => {
    claims.push(claim);
    return element;
  };
  const others = findings.filter((it) => it !== primary);
  const group = (belongs) => others.filter(belongs).map((it) => keep(findingCard(it, context)));
  const focus = primary && keep(focusSection(primary, context));
  const isStrength = (it) => it.kind === "strength";
  const strengths = group(isStrength);
  const secondary = group((it) => !isStrength(it) && it.priority !== "refinement");
  const refinements = group((it) => !isStrength(it) && it.priority === "refinement");
  const rest = [
    strengths.length > 0 && h("section", {}, h("h2", {}, t("result.strengths")), strengths),
    secondary.length > 0 && h("section", {}, h("h2", {}, t(primary ? "result.secondary" : "result.seen")), secondary),
    refinements.length > 0 && h("section", {}, h("h2", {}, t("result.refinements")), h("details", {},
      h("summary", {}, t("result.refinements_count", { n: refinements.length })), refinements)),
  ];
  return { focus, rest, claims };
}

/** What must be known before anything else is read. */
function beforehand(analysis) {
  const lines = analysis.warnings.filter((it) => FIRST.includes(it.code)).map((it) => term("warning", it.code));
  if (analysis.content_flag === "needs_human_review") lines.unshift(term("content_flag", "needs_human_review"));
  return lines.length > 0 && h("div", { class: "notice warning" }, lines.map((it) => h("p", {}, it)));
}

/** What is said where there is nothing to work on first: why, in the words of the summary. */
function nothingFirst({ session, analysis, viewer }) {
  const title = !isAboutTechnique(analysis) ? "result.nothing_to_say"
    : analysis.provenance.model === "mock" ? "result.no_model"
      : session.partial ? "result.part" : "result.no_focus";
  return h("section", { id: "focus", class: "card", "aria-labelledby": "focus-title" },
    h("h2", { id: "focus-title", tabindex: -1 }, t(title)),
    h("p", { class: "lead", lang: SPOKEN }, withMentions(analysis.summary, viewer)));
}

