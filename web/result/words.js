// Words for what the service says in codes, and for frames: what the views of a result have in common.

import { formatBytes, formatDay, formatNumber, formatSeconds, has, language, t } from "../i18n.js";
import { h } from "../dom.js";

/** The language of the catalogue and of what an analysis says, for screen readers of pages in another one. */
export const SPOKEN = "en";

/** A code of the service in words. A code that is newer than this page is shown as it is, without underscores. */
export function term(group, code) {
  const key = `terms.${group}.${code}`;
  return has(key) ? t(key) : String(code).replaceAll("_", " ");
}

/** "a, b and c". */
export function listed(words) {
  return new Intl.ListFormat(language(), { type: "conjunction" }).format(words.map(String));
}

/** What a session is called: as its owner named it, or by its stroke and day. */
export function nameOf(session) {
  return session.title
    || t("session.title", { stroke: term("stroke", session.stroke_type), day: formatDay(session.created_at) });
}

/** What was removed, of a session or, where the receipt counts sessions, of all that somebody had. */
export function receiptInWords(receipt) {
  const { sessions_deleted: sessions, frames_deleted: frames, bytes_deleted: bytes, records_deleted: records } = receipt;
  return t(sessions === undefined ? "session.deleted_what" : "account.erased", {
    sessions: sessions !== undefined && t("account.sessions", { n: sessions }),
    frames: t("session.frame_count", { n: frames }),
    size: formatBytes(bytes),
    records: t("session.record_count", { n: records }),
  });
}

/** The one thing to work on first; undefined where there is no analysis yet, or nothing of that kind in it. */
export function primaryFinding({ analysis }) {
  return analysis?.findings.find((it) => it.priority === "primary" && it.kind !== "strength");
}

/** "Frame 8 · 0.28 s", without the time where it is not known; with `total` "Frame 8 of 15 · 0.28 s". */
export function frameAndTime({ number, timestamp_ms: time }, total) {
  const name = total ? t("result.frame_of", { number, total }) : t("result.frame", { number });
  return time === null || time === undefined ? name : `${name} · ${formatSeconds(time)}`;
}

/** What a finding is called: the catalogue's title, or the part of technique that it is about. */
export function findingTitle(finding) {
  return finding.title ?? term("element", finding.element);
}

/** The side of the body that a finding is about; null where there is none, or it cannot be told. */
export function sideInWords({ side }) {
  return ["not_applicable", "unclear"].includes(side) ? null : term("side", side);
}

/** What a finding claims whatever its words, so that the findings of two sessions can be held against each other. */
export function claimKey({ kind, code, element, side }) {
  return [kind, code, element, side].join("|");
}

/** A figure with what it may be off by, such as "38.2 ± 0.9 cycles a minute". Times are told in seconds. */
export function metricInWords({ name, value, uncertainty, unit }) {
  const isTime = unit === "ms";
  const [scale, digits] = isTime ? [1000, 2] : [1, 1];
  const number = (it) => formatNumber(it / scale, digits, digits);
  return `${number(value)} ± ${number(uncertainty)} ${isTime ? "s" : term("unit", name)}`;
}

/**
 * Whether a result says anything about technique. Where it does not, there is nothing to talk about either.
 *
 * @param {object} analysis of a session
 */
export function isAboutTechnique({ content_flag: flag, capture }) {
  const isNobodySeen = capture.swimmer_visible === "no"
    || (capture.swimmer_visible === "partly" && capture.swimmer_count === "none");
  return flag === "none" && !isNobodySeen;
}

const WORD = "(?:frames?|(?:einzel)?bild(?:er|ern)?)";
const BETWEEN = "\\s*(?:,|–|-|&|and|to|or|und|bis|oder)\\s*";
const MENTION = new RegExp(`\\b${WORD}\\s+\\d+(?:${BETWEEN}\\d+)*`, "gi");

/**
 * Splits a text at the frames that it speaks of: "Look at frames 4 and 6." has two.
 *
 * @param {string} text
 * @param {Set<number>} known numbers that are frames of the session
 * @returns {(string|{number: number, text: string})[]} that together are the text
 */
export function splitMentions(text, known) {
  const parts = [];
  let end = 0;
  for (const mention of text.matchAll(MENTION)) {
    for (const digits of mention[0].matchAll(/\d+/g)) {
      const number = Number(digits[0]);
      if (!known.has(number)) continue;
      // The word belongs to the first number: "Frame 4" is more to press, and to hear, than "4".
      const isFirst = digits.index === mention[0].search(/\d/);
      const begin = isFirst ? mention.index : mention.index + digits.index;
      if (end < begin) parts.push(text.slice(end, begin));
      end = mention.index + digits.index + digits[0].length;
      parts.push({ number, text: text.slice(begin, end) });
    }
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

/** The text with the frames that it speaks of as buttons that show them in the viewer. */
export function withMentions(text, viewer, claim) {
  return splitMentions(text, viewer.numbers).map((part) => typeof part === "string" ? part
    : h("button", {
      type: "button", class: "mention",
      // Words name the button well; a number alone does not.
      "aria-label": /^\d/.test(part.text) && t("result.show_frame", { number: part.number }),
      onclick: () => viewer.show(part.number, claim),
    }, part.text));
}

const SHOWN_AT_ONCE = 8;

/** Frames as small buttons that show them in the viewer, the first few of many. */
export function frameLinks(numbers, viewer, claim) {
  if (numbers.length === 0) return null;
  const shown = numbers.slice(0, SHOWN_AT_ONCE);
  const rest = numbers.length - shown.length;
  return h("p", { class: "frame-links" },
    h("span", {}, t("result.frames_word", { n: numbers.length })),
    shown.map((number) => frameLink(number, viewer, claim)),
    rest > 0 && h("span", {}, t("result.more_frames", { n: rest })));
}

/** A frame as a small button that shows it in the viewer, marked where it is the one that is shown. */
export function frameLink(number, viewer, claim, isShown = false) {
  return h("button", {
    type: "button", class: "frame-link", "aria-label": t("result.show_frame", { number }),
    "aria-current": isShown && "true", onclick: () => viewer.show(number, claim),
  }, number);
}
