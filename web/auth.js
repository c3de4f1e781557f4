// Signing in and out, and making anonymous sessions the property of whoever signs in.

import { config, nextPage } from "./api.js";
import {
  authorization, forget, forgetSessionToken, keepSignIn, rememberSessionToken, sessionToken, signInState,
} from "./credentials.js";
import { readJson, request, requestJson } from "./http.js";
import { t } from "./i18n.js";
import { forNow } from "./kept.js";
import { beginning, completed } from "./openid.js";
import { forgetAll } from "./pending.js";
import { Problem } from "./problem.js";

export { authorization, rememberSessionToken, signInState };

const FLOW = "swimcoach.openid";

/** What the sign-in that just came back from the provider has to tell, until somebody reads it. */
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
  keepSignIn({ kind: "key", key: trimmed }, remember);
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
  const { address, flow } = await beginning(sign_in.openid, `${location.origin}/`);
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
    if (["key", "openid"].includes(signInState().kind)) claimAnonymous();
    return;
  }
  const flow = JSON.parse(forNow.get(FLOW) ?? "null");
  forNow.remove(FLOW);
  history.replaceState(null, "", `/${flow?.back || "#/account"}`);
  if (!flow) return;
  try {
    keepSignIn(await completed(flow, answer), false);
    news = { claimed: await claimAnonymous() };
  } catch (error) {
    console.error(error);
    news = { error };
  }
}

/** What came of the sign-in at the provider: `{ claimed }` or `{ error }`, once; null otherwise. */
export function signInNews() {
  const told = news;
  news = null;
  return told;
}

/** Signs out, and has everything forgotten that this browser keeps of the person. */
export async function signOut() {
  forget();
  await forgetAll();
  // Who listens holds pictures, or frames that are not sent yet.
  dispatchEvent(new CustomEvent("swimcoach:signed-out"));
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
      await requestJson("POST", `/api/v1/sessions/${id}/claim`, { headers: { "X-Session-Token": token } });
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
