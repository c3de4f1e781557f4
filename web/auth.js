// Signing in and out, and making anonymous sessions the property of whoever signs in.

import { api, config, nextPage } from "./api.js";
import { forget, forgetSessionToken, keepSignIn, sessionToken, signInState } from "./credentials.js";
import { sha256 } from "./digest.js";
import { newKey, readJson, request, requestJson } from "./http.js";
import { t } from "./i18n.js";
import { forLater, forNow } from "./kept.js";
import { beginning, completed } from "./openid.js";
import { forgetAll } from "./pending.js";
import { Problem } from "./problem.js";

export { signInState };

const FLOW = "swimcoach.openid";
/** That somebody signed out here: the next one may be another, whom the provider must not take for the last. */
const SIGNED_OUT = "swimcoach.signed_out";

/** What signing in at the provider, or signing out, has to tell, until somebody reads it. */
let news = null;

/**
 * Signs in with an API key, once the service has taken it.
 *
 * @param {string} key
 * @param {boolean} remember for the next visits as well
 * @returns {Promise<{ claimed: number }>} how many anonymous sessions became the caller's
 * @throws {Problem} when the key does not count
 */
export async function signInWithKey(key, remember) {
  const trimmed = key.trim();
  if (!/^[\x21-\x7e]+$/.test(trimmed)) throw new Problem({ detail: t("account.key_malformed") }, 422);
  try {
    await requestJson("GET", "/api/v1/sessions?limit=1", { headers: { Authorization: `Bearer ${trimmed}` } });
  } catch (error) {
    if (error.status === 401) throw new Problem({ detail: t("account.key_wrong") }, 401);
    // A key that may not read is a key nonetheless.
    if (error.code !== "scope_missing") throw error;
  }
  // Where nothing can be digested, the owner of a key is another one each time.
  const owner = `key ${(await sha256(new TextEncoder().encode(trimmed))) ?? newKey()}`;
  keepSignIn({ kind: "key", key: trimmed, owner }, remember);
  return { claimed: await claimAnonymous() };
}

/**
 * Sends the person to the provider; they come back to this page.
 *
 * @throws {Problem} where the page did not come by https, so that the browser lacks what it takes
 */
export async function signInWithProvider() {
  if (!crypto.subtle) throw new Problem({ detail: t("account.needs_https") }, 400);
  const { sign_in } = await config();
  const asksAgain = forLater.get(SIGNED_OUT) !== null;
  const { address, flow } = await beginning(sign_in.openid, `${location.origin}/`, asksAgain);
  forNow.set(FLOW, JSON.stringify({ ...flow, back: location.hash }));
  location.assign(address);
}

/**
 * Completes a sign-in that just came back from the provider, and cleans the address. Called once, before the first
 * view; what it has to tell is told by {@link signInNews}.
 */
export async function finishSignIn() {
  const answer = new URLSearchParams(location.search);
  if (!answer.has("state") || !(answer.has("code") || answer.has("error"))) {
    if (isSignedIn()) claimAnonymous();
    return;
  }
  const flow = JSON.parse(forNow.get(FLOW) ?? "null");
  forNow.remove(FLOW);
  history.replaceState(null, "", `/${flow?.back || "#/account"}`);
  // Whoever goes back in the history is signed in already.
  if (!flow && isSignedIn()) return;
  try {
    if (!flow) throw new Problem({ detail: t("account.sign_in_lost") }, 400);
    keepSignIn(await completed(flow, answer), false);
    forLater.remove(SIGNED_OUT);
    news = { claimed: await claimAnonymous() };
  } catch (error) {
    console.error(error);
    news = { failed: "account.sign_in_failed", error };
  }
}

function isSignedIn() {
  return ["key", "openid"].includes(signInState().kind);
}

/**
 * What came of signing in at the provider, or of signing out, once; null otherwise.
 *
 * @returns {{ claimed: number } | { failed: string, error: Error } | null} `failed` is the key of a text
 */
export function signInNews() {
  const told = news;
  news = null;
  return told;
}

/** Signs out, and has everything forgotten that this browser keeps of the person. A failure is told by the news. */
export async function signOut() {
  forget();
  forLater.set(SIGNED_OUT, "yes");
  // Who listens holds pictures, or frames that are not sent yet.
  dispatchEvent(new CustomEvent("swimcoach:signed-out"));
  try {
    await forgetAll();
  } catch (error) {
    console.error(error);
    news = { failed: "account.signed_out", error: new Problem({ detail: t("account.not_forgotten") }, 500) };
  }
}

/** Has this browser forget the anonymous sessions made here. Nothing opens them any more. */
export async function forgetAnonymous() {
  forgetSessionToken();
  await signOut();
}

/** Goes on without a sign-in after one has ended. */
export function goOnWithoutSignIn() {
  forget();
}

/**
 * Makes the anonymous sessions of this browser the caller's. What cannot be claimed now is claimed the next time.
 *
 * @returns {Promise<number>} of sessions claimed
 */
async function claimAnonymous() {
  const token = sessionToken();
  if (!token) return 0;
  try {
    const ids = await sessionsOf(token);
    for (const id of ids) {
      await api.claim(id, token);
    }
    forgetSessionToken();
    return ids.length;
  } catch (error) {
    console.warn("anonymous sessions could not be claimed", error);
    return 0;
  }
}

async function sessionsOf(token) {
  const ids = [];
  let path = "/api/v1/sessions?limit=100";
  while (path) {
    const response = await request("GET", path, { headers: { Authorization: `Bearer ${token}` } });
    ids.push(...(await readJson(response)).map((it) => it.session_id));
    path = nextPage(response);
  }
  return ids;
}
