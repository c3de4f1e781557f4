// The sessions so far, the newest first: open one, compare two, delete one.

import { api } from "../api.js";
import { announce, ask, fill, h, setTitle } from "../dom.js";
import { formatTime, t } from "../i18n.js";
import { problemNotice } from "../notices.js";
import { framePicture } from "../result/picture.js";
import { findingTitle, nameOf, primaryFinding, receiptInWords, SPOKEN, term } from "../result/words.js";

/** Shows the sessions. */
export async function show(main, _, signal) {
  setTitle(t("history.title"));
  fill(main, h("h1", {}, t("history.title")), h("p", { class: "lead", "aria-busy": "true" }, t("common.loading")));
  const page = await api.sessions(null, signal);
  if (!signal.aborted) new History(main, signal).paint(page);
}

class History {
  #main;
  #signal;
  #list = h("ol", { class: "history", role: "list" });
  #more = h("div");
  #comparison = new Comparison();

  constructor(main, signal) {
    this.#main = main;
    this.#signal = signal;
  }

  paint({ sessions, next }) {
    if (sessions.length === 0) return this.#tellEmpty();
    this.#append(sessions);
    this.#offerMore(next);
    fill(this.#main, h("h1", {}, t("history.title")), this.#comparison.begin, this.#list, this.#more, this.#comparison.bar);
  }

  #tellEmpty() {
    fill(this.#main,
      h("h1", { tabindex: -1 }, t("history.title")),
      h("p", { class: "lead" }, t("history.empty")),
      h("p", {}, h("a", { class: "button primary", href: "#/" }, t("common.to_start"))));
  }

  #append(sessions) {
    for (const session of sessions) this.#list.append(this.#item(session));
  }

  #item(session) {
    const item = h("li", { class: "card history-item", dataset: { session: session.session_id } },
      this.#comparison.choice(session),
      h("a", { class: "history-link", href: `#/sessions/${session.session_id}` },
        pictureOf(session, this.#signal),
        h("div", { class: "history-words" }, h("h2", {}, nameOf(session)), outcome(session), facts(session))),
      h("button", {
        type: "button", class: "plain history-delete", "aria-label": t("history.delete", { name: nameOf(session) }),
        title: t("common.delete"), onclick: () => this.#delete(session, item),
      }, "✕"));
    return item;
  }

  #offerMore(next) {
    fill(this.#more, next && h("button", { type: "button", onclick: (event) => this.#showMore(next, event.currentTarget) },
      t("history.more")));
  }

  async #showMore(next, button) {
    button.disabled = true;
    try {
      const page = await api.sessions(next, this.#signal);
      const last = this.#list.lastElementChild;
      this.#append(page.sessions);
      this.#offerMore(page.next);
      last?.nextElementSibling?.querySelector("a").focus();
      announce(t("history.more_shown", { n: page.sessions.length }));
    } catch (error) {
      if (this.#signal.aborted) return;
      fill(this.#more, problemNotice(error, () => this.#showMore(next, button)));
    }
  }

  async #delete(session, item) {
    const isSure = await ask({
      title: t("session.delete_title"),
      body: [h("p", {}, nameOf(session)), h("p", {}, t("session.delete_what", { n: session.frame_count }))],
      yes: t("common.delete"), no: t("common.cancel"), danger: true,
    });
    if (!isSure) return;
    item.setAttribute("aria-busy", "true");
    try {
      this.#receipt(item, session, await api.deleteSession(session.session_id));
    } catch (error) {
      if (this.#signal.aborted) return;
      // Somebody else, or its time, was faster.
      if (error.status === 404) return this.#receipt(item, session, null);
      item.removeAttribute("aria-busy");
      item.querySelector(".notice")?.remove();
      item.append(problemNotice(error));
    }
  }

  /** Says what was removed in the place where it was, so that nothing else moves. */
  #receipt(item, session, receipt) {
    this.#comparison.leaveOut(session);
    const words = receipt ? receiptInWords(receipt) : t("history.gone_already");
    item.className = "notice history-receipt";
    item.removeAttribute("aria-busy");
    fill(item, h("p", { tabindex: -1 }, h("strong", {}, `${nameOf(session)}: ${t("session.deleted")}. `), words));
    item.firstElementChild.focus({ preventScroll: true });
    announce(words);
  }
}

/** What came of it: the one thing to work on, or how far it is. */
function outcome(session) {
  const { analysis, status } = session;
  if (status === "processing") return h("p", {}, h("span", { class: "chip" }, t("history.processing")));
  if (analysis) return h("p", {}, focusOf(session));
  if (status === "failed") return h("p", {}, h("span", { class: "chip" }, t("history.failed")));
  return h("p", {}, h("span", { class: "chip" }, t(session.frame_count > 0 ? "history.pending" : "history.no_frames")));
}

function focusOf(session) {
  const primary = primaryFinding(session);
  if (!primary) return h("span", { class: "history-summary", lang: SPOKEN }, session.analysis.summary);
  // The catalogue has titles in English alone.
  const title = h("span", { lang: primary.title ? SPOKEN : null }, findingTitle(primary));
  return [h("span", { class: "history-focus" }, t("history.focus")), " ", title];
}

function facts(session) {
  const words = [formatTime(session.created_at), t("session.frame_count", { n: session.frame_count })];
  // Without a title the name has the stroke already.
  if (session.title) words.splice(1, 0, term("stroke", session.stroke_type));
  return h("p", { class: "small" }, words.join(" · "));
}

/** Choosing two sessions that have a result. */
class Comparison {
  #chosen = new Map();
  #choices = new Map();
  #isOn = false;
  #count = h("p", { role: "status" });
  #go = h("a", { class: "button primary" }, t("history.compare"));
  /** Begins it; there is nothing to press until two sessions can be compared. */
  #button = h("button", { type: "button", onclick: () => this.#turn(true) }, t("history.compare_two"));
  #hint = h("span", {}, t("history.choose_two"));
  begin = h("p", { class: "history-begin" }, this.#button, this.#hint);
  /** What was chosen, and the way on. */
  bar = h("div", { class: "card history-bar", hidden: true }, this.#count,
    h("div", { class: "actions" }, this.#go,
      h("button", { type: "button", onclick: () => this.#turn(false) }, t("common.cancel"))));

  constructor() {
    this.#update();
  }

  /** The box that chooses a session. */
  choice(session) {
    if (!session.analysis) return null;
    const box = h("input", { type: "checkbox", onchange: () => this.#choose(session, box.checked) });
    const label = h("label", { class: "history-choice", hidden: !this.#isOn }, box,
      h("span", { class: "hidden" }, t("history.choose", { name: nameOf(session) })));
    this.#choices.set(session.session_id, { label, box });
    this.#update();
    return label;
  }

  /** Takes out a session that is there no more. */
  leaveOut(session) {
    this.#choices.delete(session.session_id);
    this.#chosen.delete(session.session_id);
    this.#update();
  }

  #choose(session, isChosen) {
    if (isChosen) this.#chosen.set(session.session_id, session);
    else this.#chosen.delete(session.session_id);
    this.#update();
  }

  #turn(isOn) {
    this.#isOn = isOn;
    this.#chosen.clear();
    for (const { label, box } of this.#choices.values()) {
      label.hidden = !isOn;
      box.checked = false;
    }
    this.#update();
    const next = isOn ? this.#choices.values().next().value.box : this.#button;
    next.focus();
  }

  #update() {
    if (this.#choices.size < 2) this.#isOn = false;
    const chosen = [...this.#chosen.values()].sort((a, b) => a.created_at.localeCompare(b.created_at));
    const isWhole = chosen.length === 2;
    for (const { box } of this.#choices.values()) box.disabled = isWhole && !box.checked;
    this.begin.hidden = this.#choices.size < 2;
    this.#button.hidden = this.#isOn;
    this.#hint.hidden = !this.#isOn;
    this.bar.hidden = !this.#isOn;
    this.#count.textContent = t("history.chosen", { n: chosen.length });
    // A link without an address can be neither pressed nor reached.
    if (isWhole) this.#go.href = `#/compare/${chosen[0].session_id}/${chosen[1].session_id}`;
    else this.#go.removeAttribute("href");
    this.#go.setAttribute("aria-disabled", String(!isWhole));
  }
}

/** A small picture of a session, which the words beside it say all that matters of. */
function pictureOf(session, signal) {
  const hasFrames = session.frames.length > 0;
  return h("div", { class: "history-picture", "aria-hidden": "true" },
    hasFrames && framePicture(session.session_id, mostTelling(session), signal));
}

/** The frame that shows what to work on, or one from the middle of the clip. */
function mostTelling(session) {
  const { frames } = session;
  const cited = primaryFinding(session)?.evidence[0]?.frame;
  return frames.find((it) => it.number === cited) ?? frames[Math.floor(frames.length / 2)];
}
