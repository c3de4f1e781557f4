// What differs between two results, told by their findings and figures. Pure functions.

import { claimKey } from "./words.js";

/**
 * The findings of two results by what they claim: kind, code, element and side.
 *
 * @param {object[]} before findings
 * @param {object[]} after findings
 * @returns {{gone: object[], still: {before: object, after: object}[], fresh: object[], kept: {before, after}[],
 *   gained: object[], lost: object[]}} `gone`, `still` and `fresh` of what costs something; `kept`, `gained` and
 *   `lost` of what works
 */
export function compareFindings(before, after) {
  const works = (it) => it.kind === "strength";
  const costs = (it) => !works(it);
  const faults = split(before.filter(costs), after.filter(costs));
  const strengths = split(before.filter(works), after.filter(works));
  return {
    gone: faults.onlyBefore, still: faults.both, fresh: faults.onlyAfter,
    kept: strengths.both, gained: strengths.onlyAfter, lost: strengths.onlyBefore,
  };
}

function split(before, after) {
  const later = new Map(after.map((it) => [claimKey(it), it]));
  const both = before.filter((it) => later.has(claimKey(it)))
    .map((it) => ({ before: it, after: later.get(claimKey(it)) }));
  const shared = new Set(both.map((it) => claimKey(it.before)));
  const isAlone = (it) => !shared.has(claimKey(it));
  return { both, onlyBefore: before.filter(isAlone), onlyAfter: after.filter(isAlone) };
}

/**
 * The figures that two results both have.
 *
 * @returns {{before: object, after: object, change: "more"|"less"|"none"}[]} `none` where the difference may as well
 *   come from the times of the frames: the values may be that far off
 */
export function compareFigures(before, after) {
  return before.flatMap((one) => {
    const other = after.find((it) => it.name === one.name && it.unit === one.unit);
    return other ? [{ before: one, after: other, change: changeOf(one, other) }] : [];
  });
}

function changeOf(one, other) {
  const difference = other.value - one.value;
  if (Math.abs(difference) <= one.uncertainty + other.uncertainty) return "none";
  return difference > 0 ? "more" : "less";
}

/** In which ways two results were filmed differently, so that a difference may come from that: codes of them. */
export function filmedDifferently(before, after) {
  const reasons = [];
  if (before.stroke.observed !== after.stroke.observed) reasons.push("stroke");
  if (before.capture.view !== after.capture.view) reasons.push("view");
  if (before.capture.medium !== after.capture.medium) reasons.push("medium");
  return reasons;
}
