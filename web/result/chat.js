// A conversation about a result. The answer is shown while it is written, and the frames that it speaks of lead to
// the viewer.

import { announce, fill, h } from "../dom.js";
import { api } from "../api.js";
import { formatNumber, t } from "../i18n.js";
import { newKey } from "../http.js";
import { problemNotice } from "../notices.js";
import { frameLinks, splitMentions, withMentions } from "./words.js";

const MOST_CHARACTERS = 2000;
/** From how many on it is told how many are left. */
const NEARLY_FULL = 1800;
const SUGGESTIONS = ["chat.suggest_frame", "chat.suggest_feel", "chat.suggest_session"];

/**
 * The conversation of a session that has a result about technique.
 *
 * @param {object} session
 * @param {import("./evidence.js").FrameViewer} viewer
 * @param {AbortSignal} signal
 * @returns {HTMLElement}
 */
export function chatView(session, viewer, signal) {
  return new Chat(session, viewer, signal).element;
}

class Chat {
  #session;
  #viewer;
  #signal;
  #key = null;
  #keyed = null;
  #isBusy = false;

  constructor(session, viewer, signal) {
    this.#session = session;
    this.#viewer = viewer;
    this.#signal = signal;
    this.log = h("div", { role: "log", class: "chat-log", "aria-label": t("chat.log") },
      session.messages.map((it) => this.#message(it.role, it.content, it.frames ?? [])));
    this.log.hidden = session.messages.length === 0;
    this.left = h("p", { id: "chat-left", class: "small", hidden: true });
    this.text = h("textarea", {
      id: "chat-message", rows: 2, maxlength: MOST_CHARACTERS, "aria-describedby": "chat-left",
      oninput: () => this.#typed(), onkeydown: (event) => this.#onKey(event),
    });
    this.send = h("button", { id: "chat-send", type: "submit", class: "primary" }, t("chat.send"));
    this.suggestions = h("div", { class: "suggestions" }, SUGGESTIONS.map((key) =>
      h("button", { type: "button", onclick: () => this.#suggest(t(key)) }, t(key))));
    this.suggestions.hidden = session.messages.length > 0;
    this.problem = h("div", {});
    this.element = h("section", { class: "chat card no-print", "aria-labelledby": "chat-title" },
      h("h2", { id: "chat-title" }, t("chat.title")),
      this.log,
      this.suggestions,
      h("form", { onsubmit: (event) => this.#submit(event) },
        h("label", { for: "chat-message" }, t("chat.label")),
        this.text, this.left, this.problem,
        h("div", { class: "actions" }, this.send)));
  }

  #message(role, text, frames = []) {
    const isAnswer = role === "assistant";
    const body = h("div", { class: "chat-text" }, this.#paragraphs(text, isAnswer));
    return h("div", { class: `chat-message ${isAnswer ? "answer" : "question"}` },
      h("p", { class: "hidden" }, t(isAnswer ? "chat.answer" : "chat.you")), body, this.#otherFrames(text, frames));
  }

  #paragraphs(text, isAnswer) {
    return text.split(/\n+/).map((it) => h("p", {}, isAnswer ? withMentions(it, this.#viewer) : it));
  }

  /** The frames of an answer that its text does not name. */
  #otherFrames(text, frames) {
    const named = splitMentions(text, this.#viewer.numbers).map((it) => it.number);
    return frameLinks(frames.filter((it) => !named.includes(it)), this.#viewer);
  }

  #suggest(words) {
    this.text.value = words;
    this.#typed();
    this.text.focus();
  }

  #typed() {
    const left = MOST_CHARACTERS - this.text.value.length;
    this.left.hidden = this.text.value.length < NEARLY_FULL;
    this.left.textContent = t("chat.left", { left: formatNumber(left) });
  }

  #onKey(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.send.form.requestSubmit();
  }

  async #submit(event) {
    event.preventDefault();
    const message = this.text.value.trim();
    if (!message || this.#isBusy) return;
    this.#busy(true);
    this.problem.replaceChildren();
    const [question, answer] = [this.#message("user", message), this.#message("assistant", "")];
    answer.classList.add("writing");
    this.log.hidden = false;
    this.log.append(question, answer);
    this.text.value = "";
    this.#typed();
    this.suggestions.hidden = true;
    for (const it of [answer, question]) it.scrollIntoView({ block: "nearest" });
    try {
      const reply = await this.#ask(message, answer.querySelector(".chat-text"));
      if (this.#signal.aborted) return;
      answer.replaceWith(this.#message("assistant", reply.assistant_message, reply.frames));
      this.#keyed = null;
      announce(t("chat.answered"));
    } catch (error) {
      if (this.#signal.aborted) return;
      question.remove();
      answer.remove();
      this.#keep(message, error);
    } finally {
      this.#busy(false);
    }
  }

  /** Sends a message and writes its answer as it comes. The same message sent again is answered once. */
  #ask(message, place) {
    if (this.#keyed !== message) [this.#key, this.#keyed] = [newKey(), message];
    let text = "";
    const write = (words) => {
      text = words;
      fill(place, this.#paragraphs(text, true));
    };
    return api.chat(this.#session.session_id, message, {
      signal: this.#signal, key: this.#key, onDelta: (more) => write(text + more), onReset: () => write(""),
    });
  }

  /** There is no answer: what was typed goes back where it was, before anything typed since. */
  #keep(message, error) {
    this.text.value = [message, this.text.value].filter(Boolean).join("\n").slice(0, MOST_CHARACTERS);
    this.#typed();
    this.log.hidden = this.log.childElementCount === 0;
    this.suggestions.hidden = !this.log.hidden;
    const isOver = error.code === "conversation_full";
    fill(this.problem, problemNotice(error, isOver ? undefined : () => this.send.form.requestSubmit()));
    this.text.focus();
  }

  #busy(isBusy) {
    this.#isBusy = isBusy;
    this.log.setAttribute("aria-busy", isBusy);
    // Not disabled, which would take the focus from whoever pressed it.
    this.send.setAttribute("aria-disabled", isBusy);
    this.send.textContent = t(isBusy ? "chat.sending" : "chat.send");
    if (isBusy) announce(t("chat.sending"));
  }
}
