// Who uses the page: the key or token that requests carry, and where the browser keeps it.

import { t } from "./i18n.js";
import { forLater, forNow } from "./kept.js";
import { renewed } from "./openid.js";
import { Problem } from "./problem.js";

const SIGN_IN = "swimcoach.sign_in";
const SESSION_TOKEN = "swimcoach.session_token";
/** A token that ends within this time is renewed first, in ms. */
const MARGIN_MS = 60_000;

let renewal = null;

/** The sign-in that is kept; of one that has ended only why, and whose it was: `{ ended, owner }`. */
function current() {
  try {
    return JSON.parse(forNow.get(SIGN_IN) ?? forLater.get(SIGN_IN));
  } catch {
    return null;
  }
}

/**
 * Keeps a sign-in.
 *
 * @param {{ kind: "key", key: string, owner: string }
 *   | { kind: "openid", token: string, expiresAt: number|null, owner: string }} signIn `owner` tells people apart, and
 *   is the same each time that the same one signs in
 * @param {boolean} remember for the next visits as well
 */
export function keepSignIn(signIn, remember) {
  forget();
  (remember ? forLater : forNow).set(SIGN_IN, JSON.stringify(signIn));
}

/** Forgets whoever is signed in, and whose sign-in has ended. */
export function forget() {
  forNow.remove(SIGN_IN);
  forLater.remove(SIGN_IN);
}

/** The token that anonymous sessions made here belong to, or null. */
export function sessionToken() {
  return forLater.get(SESSION_TOKEN);
}

/** Keeps the token of an anonymous session: nothing else opens it. */
export function rememberSessionToken(token) {
  forLater.set(SESSION_TOKEN, token);
}

/** Forgets the token of anonymous sessions, once they belong to somebody. */
export function forgetSessionToken() {
  forLater.remove(SESSION_TOKEN);
}

/** Who owns what is begun now: the `owner` of the sign-in, or null for whoever uses this browser without one. */
export function owner() {
  return current()?.owner ?? null;
}

/** The headers by which the service knows who asks; none when nobody is signed in. */
export function authorization() {
  const signIn = current();
  const token = signIn?.kind === "key" ? signIn.key : signIn?.token ?? sessionToken();
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/**
 * Has a token that is about to end renewed. Called before each request.
 *
 * @param {AbortSignal} [signal]
 * @throws {Problem} where it has ended and cannot be renewed, from then on until somebody signs in or goes on without:
 *   whoever signed in must not go on as somebody else unnoticed
 */
export async function freshen(signal) {
  const signIn = current();
  if (signIn?.ended) throw endedProblem(signIn.ended);
  if (signIn?.kind !== "openid" || !signIn.expiresAt || signIn.expiresAt - Date.now() > MARGIN_MS) return;
  if (signIn.refresh) {
    // Not with the signal: others may wait for the same renewal.
    renewal ??= renew(signIn).finally(() => { renewal = null; });
    await renewal;
    signal?.throwIfAborted();
    return;
  }
  if (signIn.expiresAt <= Date.now()) throw end("expired");
}

async function renew(signIn) {
  const next = await renewed(signIn);
  // Somebody may have signed out meanwhile.
  if (current()?.refresh !== signIn.refresh) return;
  if (!next) throw end("expired");
  keepSignIn(next, false);
}

/** Notes where the sign-in was kept that it has ended, so that neither a reload nor another window goes on without it. */
function end(reason) {
  const store = forNow.get(SIGN_IN) === null ? forLater : forNow;
  store.set(SIGN_IN, JSON.stringify({ ended: reason, owner: owner() }));
  dispatchEvent(new CustomEvent("swimcoach:signed-out"));
  return endedProblem(reason);
}

function endedProblem(reason) {
  return new Problem({ detail: t(`account.ended_${reason}`) }, 401);
}

/** The service takes these credentials no more. A session token stays kept: nothing else opens its sessions. */
export function refused(header) {
  const signIn = current();
  const token = signIn?.key ?? signIn?.token;
  if (token && header === `Bearer ${token}`) end("refused");
}

/**
 * Who uses the page.
 *
 * @returns {{ kind: "none"|"key"|"openid"|"anonymous", name?: string, ended?: "expired"|"refused"|null }}
 *   `name` of the person as the provider tells it; `ended` says why somebody is signed in no more
 */
export function signInState() {
  const signIn = current();
  if (signIn?.kind) return { kind: signIn.kind, name: signIn.name ?? null };
  return { kind: sessionToken() ? "anonymous" : "none", ended: signIn?.ended ?? null };
}
