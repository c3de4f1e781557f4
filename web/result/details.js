// What stands behind the findings of a result: figures, the parts of technique one by one, the answer to the notes,
// what limits the result, and what made it.

import { h } from "../dom.js";
import { formatNumber, formatUsd, t } from "../i18n.js";
import { SPOKEN, frameLinks, listed, metricInWords, term, withMentions } from "./words.js";

/** The reasons for which a remark is missing; for the others something was changed, or could not be used. */
const MISSING = ["no_evidence", "outside_view", "repeated", "not_shared"];

/** The answer to what the swimmer asked at the upload. */
export function notesAnswer({ session, analysis, viewer }) {
  const { notes_answer: answer } = analysis;
  if (!answer) return null;
  const claim = claimAbout(t("result.notes_answer"), answer.frames);
  return h("section", { class: "card notes-answer" },
    h("h2", {}, t("result.notes_answer")),
    session.user_notes && h("blockquote", { class: "asked" }, h("p", {}, session.user_notes)),
    h("p", {}, withMentions(answer.text, viewer, claim)),
    frameLinks(answer.frames, viewer, claim));
}

/** Stroke rate and cycle time, each with what it may be off by and what it was measured from. */
export function figures({ analysis, viewer }) {
  if (analysis.metrics.length === 0) return null;
  const figure = (metric) => {
    const claim = claimAbout(term("metric", metric.name), metric.frames);
    return h("div", { class: "figure-told" },
      h("dt", {}, claim.title),
      h("dd", {}, h("strong", {}, metricInWords(metric))),
      h("dd", { class: "small" }, t("result.cycles", { n: metric.cycles }), " ",
        h("span", { lang: SPOKEN }, metric.method)),
      h("dd", {}, frameLinks(metric.frames, viewer, claim)));
  };
  return h("section", { class: "card" },
    h("h2", {}, t("result.figures")),
    h("dl", { class: "figures" }, analysis.metrics.map(figure)),
    h("p", { class: "small" }, t("result.uncertainty")));
}

/** The parts of technique: how well each can be seen, and how well it is done, in words. */
export function elements({ analysis, viewer }) {
  const seen = analysis.elements.filter((it) => it.visibility !== "not_visible");
  const hidden = analysis.elements.filter((it) => it.visibility === "not_visible");
  if (analysis.elements.length === 0) return null;
  return h("section", {},
    h("h2", {}, t("result.elements")),
    h("details", {},
      h("summary", {}, t("result.elements_count", { n: seen.length })),
      h("ul", { class: "elements" }, seen.map((it) => element(it, viewer))),
      hidden.length > 0 && h("p", { class: "small" },
        t("result.elements_hidden", { list: listed(hidden.map((it) => term("element", it.element))) }))));
}

function element(it, viewer) {
  const claim = claimAbout(term("element", it.element), it.frames, it.note);
  return h("li", {},
    h("h3", {}, claim.title),
    h("p", { class: "element-words" },
      h("strong", {}, it.rating === null ? t("result.not_rated") : term("rating", it.rating)),
      h("span", { class: "small" }, ` · ${term("visibility", it.visibility)} · ${term("certainty", it.certainty)}`)),
    it.note && h("p", { lang: SPOKEN }, it.note),
    frameLinks(it.frames, viewer, claim));
}

/** What the frames cannot show, and how to film so that they would. */
export function cannotTell({ cannot_tell: cannot, filming_advice: advice }) {
  if (cannot.length + advice.length === 0) return null;
  const list = (lines) => h("ul", { lang: SPOKEN }, lines.map((it) => h("li", {}, it)));
  return h("section", { class: "card" },
    cannot.length > 0 && [h("h2", {}, t("result.cannot_tell")), list(cannot)],
    advice.length > 0 && [h(cannot.length > 0 ? "h3" : "h2", {}, t("result.film_next")), list(advice)],
    h("p", { class: "no-print" }, h("a", { href: "#/" }, t("session.film_again"))));
}

/** What limits the result, beside what was said at its beginning. */
export function limits({ analysis, viewer }, saidBefore) {
  const warnings = analysis.warnings.filter((it) => !saidBefore.includes(it.code));
  if (warnings.length === 0) return null;
  return h("section", {},
    h("h2", {}, t("result.limits")),
    h("ul", { class: "limits" }, warnings.map((it) => warningLine(it, viewer))));
}

/** A warning in words, with the frames that it is about. Also for the check before an analysis. */
export function warningLine(warning, viewer) {
  const words = term("warning", warning.code);
  const isKnown = words !== warning.code.replaceAll("_", " ");
  return h("li", {},
    h("p", { lang: isKnown ? null : SPOKEN }, isKnown ? words : warning.detail),
    frameLinks(warning.frames, viewer, claimAbout(words, warning.frames)));
}

/** How much of the model's answer was left out, and why. */
export function leftOut({ dropped }) {
  const reasons = Object.entries(dropped).filter(([, n]) => n > 0);
  const n = reasons.filter(([code]) => MISSING.includes(code)).reduce((sum, [, it]) => sum + it, 0);
  if (reasons.length === 0) return null;
  return h("section", {},
    h("h2", {}, t("result.left_out")),
    h("details", {},
      h("summary", {}, n > 0 ? t("result.left_out_count", { n }) : t("result.left_out_changed")),
      h("ul", {}, reasons.map(([code, count]) => h("li", {}, t(`terms.dropped.${code}`, { n: count }))))));
}

/** What made the result and what it cost, small. `catalog` is a promise of it, or of null. */
export function provenance(session, catalog) {
  const status = h("li", { lang: SPOKEN, hidden: true });
  catalog.then((it) => {
    status.textContent = it?.status ?? "";
    status.hidden = !it?.status;
  });
  const { provenance: made, usage } = session.analysis;
  const cost = usage?.cost_usd ?? null;
  const all = session.usage?.cost_usd ?? null;
  const requests = cost !== null && formatNumber(usage.requests);
  return h("footer", { class: "provenance small" },
    h("p", {}, t("result.catalog_draft")),
    h("details", {},
      h("summary", {}, t("result.made_by")),
      h("ul", {},
        h("li", {}, t("result.made_model", { model: made.model })),
        made.samples && h("li", {}, t("result.made_looks", { n: made.samples })),
        h("li", {}, t("result.made_versions", { prompt: made.prompt_version, catalog: made.catalog_version })),
        status,
        h("li", { class: "digest" }, t("result.made_frames", { digest: made.frames_sha256 })),
        cost !== null && h("li", {}, t("result.made_cost", { cost: formatUsd(cost), requests })),
        all > cost && h("li", {}, t("result.session_cost", { cost: formatUsd(all) })))));
}

/** A claim as the viewer knows it, of which the same is seen in all its frames, or nothing was said. */
function claimAbout(title, frames, seen = "") {
  return { title, seen: new Map(frames.map((number) => [number, seen])) };
}
