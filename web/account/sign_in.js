// The card that says who is signed in, and lets people sign in and out.

import {
  forgetAnonymous, goOnWithoutSignIn, signInState, signInWithKey, signInWithProvider, signOut,
} from "../auth.js";
import { announce, ask, fill, h } from "../dom.js";
import { t } from "../i18n.js";

/**
 * The card.
 *
 * @param {object} terms `sign_in` of the configuration
 * @param {(focus: string) => void} refresh has the page shown anew, with the focus there
 */
export function signInCard(terms, refresh) {
  const state = signInState();
  const card = h("section", { class: "card", id: "sign-in", tabindex: -1 });
  if (state.kind === "key" || state.kind === "openid") return fill(card, signedIn(state, card, refresh));
  return fill(card,
    h("h2", {}, t("account.sign_in")),
    state.ended && h("p", { class: "notice warning" }, t(`account.ended_${state.ended}`)),
    !terms.required && h("p", {}, t("account.not_needed")),
    terms.anonymous && h("p", {}, t(state.kind === "anonymous" ? "account.anonymous_here" : "account.anonymous_may")),
    terms.openid && providerButton(terms.openid, card),
    terms.keys && keyForm(card, refresh, terms.openid ? null : "primary"),
    state.ended && (terms.anonymous || !terms.required) && goOnButton(refresh),
    !state.ended && state.kind === "anonymous" && forgetButton(refresh));
}

function goOnButton(refresh) {
  const goOn = () => {
    goOnWithoutSignIn();
    refresh("#sign-in");
  };
  return h("div", { class: "actions" },
    h("button", { type: "button", id: "go-on", onclick: goOn }, t("account.go_on_without")));
}

/** For a device that others use as well. */
function forgetButton(refresh) {
  const forget = async () => {
    const isSure = await ask({
      title: t("account.forget_title"), body: [h("p", {}, t("account.forget_what"))],
      yes: t("account.forget"), no: t("common.cancel"), danger: true,
    });
    if (!isSure) return;
    await forgetAnonymous();
    announce(t("account.forgotten"));
    refresh("#sign-in");
  };
  return h("div", { class: "actions" },
    h("button", { type: "button", id: "forget-here", onclick: forget }, t("account.forget")));
}

function signedIn({ kind, name }, card, refresh) {
  const who = kind === "key" ? t("account.with_key") : name ? t("account.as", { name }) : t("account.with_provider");
  const leave = async () => {
    await signOut();
    announce(t("account.signed_out"));
    refresh("#sign-in");
  };
  return [
    h("h2", {}, t("account.signed_in")),
    h("p", {}, who),
    h("div", { class: "actions" }, h("button", { type: "button", id: "sign-out", onclick: leave }, t("account.sign_out"))),
  ];
}

function providerButton({ issuer }, card) {
  const go = async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      await signInWithProvider();
    } catch (error) {
      button.disabled = false;
      tell(card, error);
    }
  };
  const provider = new URL(issuer).hostname;
  return h("div", { class: "actions" },
    h("button", { type: "button", class: "primary", onclick: go }, t("account.with", { provider })));
}

function keyForm(card, refresh, rank) {
  const key = h("input", {
    id: "key", name: "key", type: "password", autocomplete: "current-password", spellcheck: "false",
    autocapitalize: "off", required: true,
  });
  const remember = h("input", { type: "checkbox", name: "remember" });
  const submit = h("button", { class: rank }, t("common.sign_in"));
  const signIn = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      const { claimed } = await signInWithKey(key.value, remember.checked);
      announce(welcome(claimed));
      refresh("#sign-out");
    } catch (error) {
      submit.disabled = false;
      tell(card, error);
      key.focus();
    }
  };
  // Tells password managers what the key is for.
  const name = h("input", { name: "username", autocomplete: "username", value: "SwimCoach", hidden: true, readonly: true });
  return h("form", { onsubmit: signIn },
    name,
    h("div", { class: "field" }, h("label", { for: "key" }, t("account.key")), key),
    h("label", { class: "choice" }, remember, t("account.remember")),
    submit);
}

/** What is said once somebody has signed in, with the anonymous sessions that are theirs now. */
export function welcome(claimed) {
  return claimed > 0 ? t("account.signed_in_now", { n: claimed }) : t("account.signed_in_plain");
}

function tell(card, error) {
  card.querySelector(".notice")?.remove();
  // Whoever reads this is where the notice would send them.
  card.append(h("p", { class: "notice error", role: "alert" }, error.detail ?? t("common.unreachable")));
  if (!error.detail) console.error(error);
}
