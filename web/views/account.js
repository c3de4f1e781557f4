// Who uses the page and how: signing in and out, the language, what was used this month, and one's own data.

import { ownDataCard } from "../account/own_data.js";
import { signInCard, welcome } from "../account/sign_in.js";
import { usageCard } from "../account/usage.js";
import { config } from "../api.js";
import { signInNews, signInState } from "../auth.js";
import { announce, fill, h, setTitle } from "../dom.js";
import { chooseLanguage, language, languages, t } from "../i18n.js";
import { problemNotice } from "../notices.js";

/** Where the focus goes once the page is shown anew: what had it is made anew as well. */
let focusNext = null;

/** Shows the account. */
export async function show(main, _, signal) {
  setTitle(t("account.title"));
  fill(main, h("h1", {}, t("account.title")), h("p", { class: "lead", "aria-busy": "true" }, t("common.loading")));
  const service = await config();
  if (signal.aborted) return;
  const { sign_in: terms, version } = service;
  const { kind, ended } = signInState();
  const mayRead = !ended && (kind !== "none" || !terms.required);
  const refresh = (next) => {
    focusNext = next;
    dispatchEvent(new CustomEvent("swimcoach:refresh"));
  };
  fill(main, h("h1", {}, t("account.title")),
    newsNotice(signInNews()),
    h("div", { class: "account" },
      signInCard(terms, refresh),
      languageCard(refresh),
      mayRead && usageCard(signal),
      mayRead && ownDataCard(signal),
      aboutCard(version)));
  main.querySelector(focusNext ?? "[data-none]")?.focus();
  focusNext = null;
}

/** What came of a sign-in at the provider that has just come back, or of a sign-out that left something behind. */
function newsNotice(news) {
  if (!news) return null;
  if (news.failed) return h("div", {}, h("p", {}, t(news.failed)), problemNotice(news.error));
  const text = welcome(news.claimed);
  announce(text);
  return h("p", { class: "notice" }, text);
}

function languageCard(refresh) {
  const choices = Object.entries(languages).map(([code, name]) =>
    h("option", { value: code, lang: code, selected: code === language() }, name));
  const trouble = h("div", {});
  const choose = async () => {
    try {
      await chooseLanguage(select.value);
      refresh("#language");
    } catch (error) {
      fill(trouble, problemNotice(error, choose));
    }
  };
  const select = h("select", { id: "language", onchange: choose }, choices);
  return h("section", { class: "card" },
    h("h2", {}, h("label", { for: "language" }, t("account.language"))),
    select, trouble);
}

function aboutCard(version) {
  return h("section", { class: "card" },
    h("h2", {}, t("account.about")),
    h("p", {}, t("account.version", { version })),
    h("p", {}, h("a", { href: "/docs" }, t("account.api"))));
}
