// Words in the reader's language. English is whole; where another language lacks a text, English stands in.

import { forLater } from "./kept.js";

const LANGUAGES = { en: "English", de: "Deutsch" };
const KEPT = "swimcoach.language";

let words = {};
let english = {};
let code = "en";
/** The language with the region of the reader, for dates and numbers. */
let locale = "en-GB";
let plurals = new Intl.PluralRules("en");

/** The languages there are, by code, each under its own name. */
export const languages = LANGUAGES;

/** The code of the language that is shown. */
export function language() {
  return code;
}

/** Loads the words: of the language that was chosen here, or of the first that the browser asks for. */
export async function loadLanguage() {
  const wanted = [forLater.get(KEPT), ...navigator.languages.map((it) => it.slice(0, 2))];
  code = wanted.find((it) => it in LANGUAGES) ?? "en";
  [english, words] = await Promise.all([read("en"), read(code)]);
  plurals = new Intl.PluralRules(code);
  locale = navigator.languages.find((it) => it.startsWith(`${code}-`)) ?? { en: "en-GB", de: "de-DE" }[code];
  document.documentElement.lang = code;
  translate(document.body);
}

/** Chooses a language, here and for the next visits. */
export async function chooseLanguage(chosen) {
  forLater.set(KEPT, chosen);
  await loadLanguage();
}

async function read(name) {
  const reply = await fetch(`/lang/${name}.json`);
  if (!reply.ok) throw new Error(`lang/${name}.json: ${reply.status}`);
  return reply.json();
}

/**
 * A text.
 *
 * @param {string} key such as `start.title`
 * @param {object} [values] for the `{name}`s in the text. Where `values.n` is a number and the language has
 *   `key.one` and `key.other`, the one that fits the number is taken
 */
export function t(key, values = {}) {
  const plural = typeof values.n === "number" ? `${key}.${plurals.select(values.n)}` : key;
  const text = words[plural] ?? words[`${key}.other`] ?? words[key] ?? english[plural] ?? english[`${key}.other`] ?? english[key];
  if (text === undefined) {
    console.error(`no text ${key}`);
    return key;
  }
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Whether there is a text, for codes of the service that may be newer than this page. */
export function has(key) {
  return key in words || key in english;
}

/** Puts the words into the elements of the document that name them in `data-t` and `data-t-label`. */
function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
}

/** A time such as 3 Nov 2026, 14:05. */
export function formatTime(time) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }).format(new Date(time));
}

/** A day such as 3 Nov 2026. */
export function formatDay(time) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium" }).format(new Date(time));
}

/** A month such as 2026-11 as November 2026. */
export function formatMonth(month) {
  const day = new Date(`${month}-01T00:00:00Z`);
  return new Intl.DateTimeFormat(locale, { month: "long", year: "numeric", timeZone: "UTC" }).format(day);
}

/** An amount in USD, with as many digits as small amounts need. */
export function formatUsd(usd) {
  const digits = Math.abs(usd) < 1 ? 3 : 2;
  return new Intl.NumberFormat(locale, { style: "currency", currency: "USD", maximumFractionDigits: digits }).format(usd);
}

/** A number, with at most that many digits behind the point, and at least so many. */
export function formatNumber(number, digits = 0, least = 0) {
  return new Intl.NumberFormat(locale, { minimumFractionDigits: least, maximumFractionDigits: digits }).format(number);
}

/** A time in a clip, such as 3.48 s. */
export function formatSeconds(ms) {
  return `${formatNumber(ms / 1000, 2, 2)} s`;
}

/** A size such as 1.2 MB. */
export function formatBytes(bytes) {
  const [unit, size] = bytes < 1e6 ? ["kilobyte", 1e3] : bytes < 1e9 ? ["megabyte", 1e6] : ["gigabyte", 1e9];
  return new Intl.NumberFormat(locale, { style: "unit", unit, maximumFractionDigits: 1 }).format(bytes / size);
}
