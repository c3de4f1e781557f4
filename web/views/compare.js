// Two sessions beside each other by what was found: what is gone, what is still there, and what is new.

import { fill, h, setTitle } from "../dom.js";
import { api } from "../api.js";
import { formatTime, t } from "../i18n.js";
import { compareFigures, compareFindings, filmedDifferently } from "../result/difference.js";
import { FrameViewer } from "../result/evidence.js";
import { claimOf, evidenceButton } from "../result/finding.js";
import { SPOKEN, findingTitle, metricInWords, sideInWords, term } from "../result/words.js";

/** Shows what changed from the session `before` to the session `after`. */
export async function show(main, { before, after }, signal) {
  setTitle(t("compare.name"));
  fill(main, h("p", { class: "lead", "aria-busy": "true" }, t("common.loading")));
  const sessions = await Promise.all([before, after].map((id) => api.session(id, signal)));
  if (signal.aborted) return;
  if (sessions.some((it) => !it.analysis)) {
    fill(main, h("h1", {}, t("compare.name")), h("p", {}, t("compare.not_analysed")), toHistory());
    return;
  }
  const [one, other] = sessions.map((session, at) => {
    const id = at === 0 ? "viewer-before" : "viewer";
    return { session, signal, viewer: new FrameViewer(session, signal, { id, beside: false }) };
  });
  fill(main, heading(one, other), differences(one, other), toHistory());
}

function heading(one, other) {
  return h("header", {},
    h("h1", {}, t("compare.title")),
    h("div", { class: "compare-two" }, side(one.session, "compare.before"), side(other.session, "compare.after")));
}

function side(session, key) {
  const { capture, stroke } = session.analysis;
  const facts = [
    session.title && formatTime(session.created_at),
    term("stroke", stroke.observed), term("view", capture.view), term("medium", capture.medium),
  ];
  return h("div", { class: "compare-side" },
    h("p", { class: "eyebrow" }, t(key)),
    h("p", {}, h("a", { href: `#/sessions/${session.session_id}` }, session.title || formatTime(session.created_at))),
    h("p", { class: "small" }, facts.filter(Boolean).join(" · ")));
}

function differences(one, other) {
  const [before, after] = [one.session.analysis, other.session.analysis];
  const found = compareFindings(before.findings, after.findings);
  const reasons = filmedDifferently(before, after);
  return h("div", { class: "compare" },
    reasons.length > 0 && h("div", { class: "notice warning" },
      reasons.map((it) => h("p", {}, t(`compare.differs_${it}`)))),
    h("p", { class: "lead" }, t("compare.summary", {
      gone: found.gone.length, still: found.still.length, fresh: found.fresh.length,
    })),
    section("still", found.still.map((it) => pair(it, one, other))),
    section("gone", found.gone.map((it) => single(it, one))),
    section("new", found.fresh.map((it) => single(it, other))),
    figuresTold(compareFigures(before.metrics, after.metrics)),
    section("gained", found.gained.map((it) => single(it, other))),
    section("kept", found.kept.map((it) => pair(it, one, other))),
    section("lost", found.lost.map((it) => single(it, one))),
    h("p", { class: "small" }, t("compare.caution")));
}

function section(name, cards) {
  return cards.length > 0 && h("section", { class: `compare-${name}` },
    h("h2", {}, t(`compare.${name}`)),
    ["gone", "lost"].includes(name) && h("p", { class: "small" }, t(`compare.${name}_caution`)),
    cards);
}

function single(finding, of) {
  const claim = claimOf(finding);
  claim.element = h("article", { class: `finding card ${finding.kind}` },
    title(finding), h("p", { class: "small" }, formatTime(of.session.created_at)), told(finding, claim, of));
  return claim.element;
}

function pair({ before, after }, one, other) {
  const half = (finding, of, key) => {
    const claim = claimOf(finding);
    claim.element = h("div", {},
      h("p", { class: "eyebrow" }, `${t(key)} · ${formatTime(of.session.created_at)}`), told(finding, claim, of));
    return claim.element;
  };
  return h("article", { class: `finding card ${after.kind}` }, title(after),
    h("div", { class: "compare-two" }, half(before, one, "compare.before"), half(after, other, "compare.after")));
}

function title(finding) {
  return h("h3", {}, [findingTitle(finding), sideInWords(finding)].filter(Boolean).join(" · "));
}

/** What was seen, and the first frames that show it. */
function told(finding, claim, of) {
  return [
    h("p", { lang: SPOKEN }, finding.observation),
    h("div", { class: "evidence-row" }, finding.evidence.slice(0, 2).map((it) => evidenceButton(it, claim, of))),
  ];
}

function figuresTold(figures) {
  if (figures.length === 0) return null;
  const row = ({ before, after, change }) => h("tr", {},
    h("th", { scope: "row" }, term("metric", before.name)),
    h("td", {}, metricInWords(before)),
    h("td", {}, metricInWords(after)),
    h("td", {}, t(`compare.figure_${change}`)));
  const head = ["compare.figure", "compare.before", "compare.after", "compare.difference"];
  return h("section", { class: "card" },
    h("h2", {}, t("result.figures")),
    h("div", { class: "table-room", tabindex: 0, role: "region", "aria-label": t("result.figures") },
      h("table", {},
        h("thead", {}, h("tr", {}, head.map((key) => h("th", { scope: "col" }, t(key))))),
        h("tbody", {}, figures.map(row)))));
}

function toHistory() {
  return h("div", { class: "actions" }, h("a", { class: "button", href: "#/sessions" }, t("session.to_history")));
}
