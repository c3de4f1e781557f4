// A refusal of the service, as the page tells it.

import { has, language, t } from "./i18n.js";

/** Longer than this nobody waits in front of a progress bar, in seconds. */
const PATIENCE = 120;
const PASSING = new Set([408, 429, 502, 503, 504]);
/** Of these the service says which header to send, which the page does for people. */
const FOR_PROGRAMS = new Set(["unauthenticated"]);
const PASSING_CODES = new Set(["request_under_way", "answer_under_way"]);

/** There is no connection, or no answer in time. */
export class Lost extends TypeError {
  name = "Lost";

  /** What `fetch` and streams throw where the connection fails, told apart from mistakes in a program. */
  static from(error) {
    const isLost = error.name === "TimeoutError" || error instanceof TypeError;
    return isLost && !(error instanceof Lost) ? new Lost(error.message, { cause: error }) : error;
  }
}

/** A refusal: RFC 9457's problem, or what something between the page and the service made of one. */
export class Problem extends Error {
  /**
   * @param {object} told the problem as the service told it, empty where it was none
   * @param {number} status of the answer
   * @param {Headers} [headers] of the answer
   */
  constructor(told, status, headers = new Headers()) {
    const code = told.code ?? null;
    const detail = sentence(code, told.detail, status);
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    /** A sentence for people, in the language of the page where it has one. */
    this.detail = detail;
    this.requestId = told.request_id ?? headers.get("X-Request-Id");
    /** After how many seconds to ask again, null where the service does not say. */
    this.retryAfter = seconds(headers.get("Retry-After"));
  }

  /** Reads the problem that an answer tells. */
  static async of(response) {
    const isProblem = /json/.test(response.headers.get("Content-Type") ?? "");
    const told = isProblem ? await response.json().catch(() => ({})) : {};
    return new Problem(told ?? {}, response.status, response.headers);
  }
}

/**
 * Whether it may help to ask the same again: the connection failed, or the service says that it passes by itself.
 *
 * @param {Error} error
 */
export function passes(error) {
  if (error instanceof Lost) return true;
  if (!(error instanceof Problem)) return false;
  if (PASSING_CODES.has(error.code)) return true;
  if (!PASSING.has(error.status)) return false;
  // A proxy that cannot reach the service knows no codes.
  if (error.code === null) return error.status !== 429;
  return error.status === 408 || (error.retryAfter !== null && error.retryAfter <= PATIENCE);
}

/** The service speaks English; for the codes that people meet most, the page has its own words in other languages. */
function sentence(code, detail, status) {
  const own = `problem.${code}`;
  const isForPeople = detail && !FOR_PROGRAMS.has(code);
  if (code && has(own) && (language() !== "en" || !isForPeople)) return t(own);
  return detail || t("problem.unknown", { status });
}

function seconds(header) {
  if (!header) return null;
  const number = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isNaN(number) ? null : Math.max(0, Math.ceil(number));
}
