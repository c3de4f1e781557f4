// A session: its frames before an analysis, the analysis while it runs, its result and the conversation about it.

import { announce, ask, fill, h, setTitle } from "../dom.js";
import { api } from "../api.js";
import { formatDay, formatTime, has, t } from "../i18n.js";
import { problemNotice } from "../notices.js";
import { analyseForm, framesToLookAt } from "../result/asking.js";
import { analysisView } from "../result/analysis.js";
import { fetchPictures } from "../result/picture.js";
import { progressView } from "../result/progress.js";
import { SPOKEN, findingTitle, nameOf, primaryFinding, receiptInWords, term } from "../result/words.js";
import { interruptedUploadOf } from "../upload.js";

/** So long a result waits for the catalogue, in ms; what it says of drills is filled in when it comes later. */
const CATALOG_WITHIN_MS = 1_000;

/** Shows the session that the address names. */
export async function show(main, { id }, signal) {
  setTitle(t("session.name"));
  fill(main, h("p", { class: "lead", "aria-busy": "true" }, t("common.loading")));
  try {
    const session = await api.session(id, signal);
    if (!signal.aborted) await new SessionPage(main, signal).paint(session);
  } catch (error) {
    if (error.status !== 404) throw error;
    if (!signal.aborted) fill(main, gone());
  }
}

function gone() {
  return [h("h1", {}, t("session.gone")), h("p", {}, t("session.gone_why")), wayOn()];
}

class SessionPage {
  #main;
  #signal;
  /** Comes to the catalogue, or to null where it cannot be read. Asked for once there is use for it. */
  #catalog = null;
  /** Ends what belongs to the state of the session that is shown. */
  #state = new AbortController();

  constructor(main, signal) {
    this.#main = main;
    this.#signal = signal;
    signal.addEventListener("abort", () => this.#state.abort(), { once: true });
    addEventListener("beforeprint", () => this.#unfold(), { signal });
    addEventListener("afterprint", () => this.#foldAgain(), { signal });
  }

  /** Shows the session as it stands. */
  async paint(session) {
    this.#state.abort();
    this.#state = new AbortController();
    const { signal } = this.#state;
    setTitle(nameOf(session));
    if (session.analysis || session.status === "processing") this.#catalog ??= readCatalog(this.#signal);
    if (session.analysis) await Promise.race([this.#catalog, after(CATALOG_WITHIN_MS)]);
    if (this.#signal.aborted || signal.aborted) return;
    fill(this.#main, this.#head(session), this.#body(session, signal), this.#foot(session));
    if (session.analysis && session.status !== "processing") this.#offerComparison(session, signal);
  }

  async #again() {
    try {
      const id = this.#main.querySelector("[data-session]").dataset.session;
      await this.paint(await api.session(id, this.#signal));
      this.#main.querySelector("#progress-title, #failed-title, #focus-title, #analyse")?.focus();
    } catch (error) {
      if (!this.#signal.aborted) this.#main.prepend(problemNotice(error, () => location.reload()));
    }
  }

  #head(session) {
    const facts = [
      session.title && term("stroke", session.stroke_type),
      t("session.frame_count", { n: session.frame_count }),
      formatTime(session.created_at),
    ];
    return h("header", { class: "session-head", dataset: { session: session.session_id, status: session.status } },
      h("h1", {}, nameOf(session)),
      h("p", { class: "small" }, facts.filter(Boolean).join(" · ")));
  }

  #body(session, signal) {
    if (session.status === "pending") return this.#before(session, signal);
    if (session.status === "processing") {
      return [
        progressView(session, signal, (ended) => this.#ended(ended)),
        session.analysis && h("p", { class: "small" }, t("session.earlier_stays")),
      ];
    }
    return [
      session.status === "failed" && this.#failed(session, signal),
      session.analysis && analysisView(session, this.#catalog, signal),
    ];
  }

  #before(session, signal) {
    if (session.frame_count === 0) return h("div", { class: "notice" }, h("p", {}, t("session.no_frames")));
    return [
      unfinishedNotice(session, signal),
      analyseForm(session, signal, () => this.#again(), t("session.analyse")),
      framesToLookAt(session, signal),
    ];
  }

  #failed(session, signal) {
    const key = `session.failed_${session.error_code}`;
    const isStopped = session.error_code === "cancelled";
    const remains = session.partial ? "session.part_stands" : session.analysis && "session.earlier_shown";
    return h("section", { class: "failed" },
      h("div", { class: isStopped ? "notice" : "notice error" },
        h("h2", { id: "failed-title", tabindex: -1 }, t(isStopped ? "session.stopped" : "session.failed")),
        has(key) ? h("p", {}, t(key)) : h("p", { lang: SPOKEN }, session.error),
        remains && h("p", {}, t(remains))),
      session.can_resume ? analyseForm(session, signal, () => this.#again(), t("session.analyse_again"))
        : h("p", {}, h("a", { class: "button", href: "#/" }, t("session.film_again"))));
  }

  async #ended(session) {
    await this.paint(session);
    const primary = primaryFinding(session);
    announce(session.error_code === "cancelled" ? t("session.stopped")
      : session.status !== "complete" ? t("session.failed")
        : primary ? t("session.ready", { title: findingTitle(primary) }) : t("session.ready_plain"));
    (this.#main.querySelector("#failed-title, #focus-title") ?? this.#main).focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  #foot(session) {
    const hasResult = session.analysis && session.status !== "processing";
    return h("footer", { class: "session-foot" },
      session.expires_at && h("p", { class: "small no-print" },
        t("session.kept_until", { day: formatDay(session.expires_at) })),
      h("div", { class: "actions" },
        hasResult && h("button", { id: "print", type: "button", onclick: () => this.#print() }, t("session.print")),
        h("a", { class: "button", href: "#/" }, t("session.film_again")),
        h("a", { class: "button", href: "#/sessions" }, t("session.to_history")),
        h("button", { id: "delete-session", type: "button", class: "danger", onclick: () => this.#delete(session) },
          t("session.delete"))));
  }

  /** Looks for an earlier result to compare with once somebody has come to the end of this one. */
  #offerComparison(session, signal) {
    const actions = this.#main.querySelector(".session-foot .actions");
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((it) => it.isIntersecting)) return;
      seen.disconnect();
      addComparison(actions, session, signal);
    });
    seen.observe(actions);
    signal.addEventListener("abort", () => seen.disconnect(), { once: true });
  }

  async #print() {
    announce(t("session.print_preparing"));
    this.#unfold();
    await fetchPictures(this.#main);
    if (!this.#signal.aborted) print();
  }

  /** On paper nothing can be unfolded. */
  #unfold() {
    for (const details of this.#main.querySelectorAll("details:not([open])")) {
      details.open = true;
      details.dataset.folded = "";
    }
  }

  #foldAgain() {
    for (const details of this.#main.querySelectorAll("details[data-folded]")) {
      details.open = false;
      delete details.dataset.folded;
    }
  }

  async #delete(session) {
    const isSure = await ask({
      title: t("session.delete_title"),
      body: [h("p", {}, t("session.delete_what", { n: session.frame_count }))],
      yes: t("common.delete"), no: t("common.cancel"), danger: true,
    });
    if (!isSure) return;
    try {
      this.#receipt(receiptInWords(await api.deleteSession(session.session_id)));
    } catch (error) {
      if (this.#signal.aborted) return;
      // Somebody else, or its time, was faster.
      if (error.status === 404) return this.#receipt(t("history.gone_already"));
      this.#main.querySelector(".session-foot").prepend(problemNotice(error));
    }
  }

  #receipt(words) {
    this.#state.abort();
    if (this.#signal.aborted) return;
    setTitle(t("session.deleted"));
    const title = h("h1", { tabindex: -1 }, t("session.deleted"));
    fill(this.#main, title, h("p", { id: "receipt", class: "lead" }, words), wayOn());
    title.focus();
    announce(words);
  }
}

function wayOn() {
  return h("div", { class: "actions" },
    h("a", { class: "button primary", href: "#/" }, t("common.to_start")),
    h("a", { class: "button", href: "#/sessions" }, t("session.to_history")));
}

function readCatalog(signal) {
  return api.catalog(signal).catch((error) => {
    if (!signal.aborted) console.warn(error);
    return null;
  });
}

function after(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Says that more frames are on this device, where their upload broke off: an analysis would close the session. */
function unfinishedNotice(session, signal) {
  const place = h("div", {});
  interruptedUploadOf(session.session_id).then((upload) => {
    if (signal.aborted || !upload) return;
    fill(place, h("div", { class: "notice warning" },
      h("p", {}, t("session.unfinished", { sent: session.frame_count, total: upload.total })),
      h("p", {}, h("a", { href: "#/" }, t("session.unfinished_go_on")))));
  }).catch(console.warn);
  return place;
}

/** Adds a way to compare the result with the one before it of the same stroke, where there is one. */
async function addComparison(actions, session, signal) {
  try {
    const { sessions } = await api.sessions(null, signal);
    const before = sessions.find((it) => it.analysis && it.stroke_type === session.stroke_type
      && it.created_at < session.created_at);
    if (!before || signal.aborted) return;
    // At the end of the row, so that nothing moves under a finger.
    actions.append(h("a", { class: "button", href: `#/compare/${before.session_id}/${session.session_id}` },
      t("session.compare", { day: formatTime(before.created_at) })));
  } catch (error) {
    // It is an offer: the result stands without it.
    if (!signal.aborted) console.warn(error);
  }
}
