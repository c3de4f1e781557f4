// Signing in through an OpenID provider: authorization code with PKCE, as a client that keeps no secret.

import { Lost, Problem } from "./problem.js";

const TIMEOUT_MS = 15_000;

/**
 * Where to send the person, and what to keep until they come back.
 *
 * @param {{ issuer: string, client_id: string, scope: string }} client
 * @param {string} redirect the address that they come back to
 * @param {boolean} asksAgain whether the provider is to ask who it is, even where it knows somebody
 * @returns {Promise<{ address: string, flow: object }>}
 */
export async function beginning(client, redirect, asksAgain) {
  const provider = await discover(client.issuer);
  const flow = { ...client, redirect, state: secret(), nonce: secret(), verifier: secret() };
  const address = new URL(provider.authorization_endpoint);
  const parameters = {
    response_type: "code", client_id: client.client_id, redirect_uri: redirect, scope: client.scope,
    state: flow.state, nonce: flow.nonce, code_challenge: await challenge(flow.verifier), code_challenge_method: "S256",
  };
  if (asksAgain) parameters.prompt = "login";
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value);
  return { address: address.href, flow };
}

/**
 * Trades the code that the provider sent back for tokens.
 *
 * @param {object} flow what was kept of the beginning
 * @param {URLSearchParams} answer the query of the address that they came back to
 * @returns {Promise<object>} a sign-in to keep
 */
export async function completed(flow, answer) {
  if (answer.get("state") !== flow.state) throw new Error("the answer belongs to another sign-in");
  // A provider that names itself must be the one that was asked (RFC 9207).
  if (answer.has("iss") && answer.get("iss") !== flow.issuer) throw new Error("another provider answered");
  if (answer.has("error")) throw new Error(answer.get("error_description") ?? answer.get("error"));
  const provider = await discover(flow.issuer);
  const tokens = await post(provider.token_endpoint, {
    grant_type: "authorization_code", code: answer.get("code"), redirect_uri: flow.redirect,
    client_id: flow.client_id, code_verifier: flow.verifier,
  });
  // It came straight from the provider, so that its signature need not be checked here; the service does.
  const claims = claimsOf(tokens.id_token);
  if (claims) check(claims, flow);
  return signIn(tokens, { ...flow, endpoint: provider.token_endpoint, name: claims?.name ?? claims?.email ?? null });
}

/**
 * Has a sign-in renewed with its refresh token.
 *
 * @returns {Promise<object|null>} null where the provider renews it no more
 */
export async function renewed(old) {
  try {
    const tokens = await post(old.endpoint, {
      grant_type: "refresh_token", refresh_token: old.refresh, client_id: old.client_id,
    });
    return signIn({ refresh_token: old.refresh, ...tokens }, old);
  } catch (error) {
    if (error.status >= 400 && error.status < 500) return null;
    throw error;
  }
}

/** The service checks tokens by their signature, so it takes an access token only where that is a JWT. */
function signIn(tokens, { endpoint, client_id, name }) {
  const access = claimsOf(tokens.access_token);
  const token = access ? tokens.access_token : tokens.id_token;
  const claims = access ?? claimsOf(token);
  if (!claims) throw new Error("the provider sent no token that can be checked");
  const expiresAt = claims.exp ? claims.exp * 1000 : null;
  const owner = `${claims.iss} ${claims.sub}`;
  return { kind: "openid", token, expiresAt, owner, refresh: tokens.refresh_token ?? null, endpoint, client_id, name };
}

function check(claims, flow) {
  const audience = [claims.aud].flat();
  const isOurs = claims.iss === flow.issuer && audience.includes(flow.client_id) && claims.nonce === flow.nonce;
  if (!isOurs) throw new Error("the token belongs to another sign-in");
}

async function discover(issuer) {
  const address = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const provider = await ask(address, {});
  if (provider.issuer !== issuer) throw new Error(`${address} speaks of another issuer`);
  return provider;
}

function post(address, form) {
  return ask(address, { method: "POST", body: new URLSearchParams(form) });
}

async function ask(address, options) {
  const timed = { ...options, credentials: "omit", referrerPolicy: "no-referrer", signal: AbortSignal.timeout(TIMEOUT_MS) };
  const response = await fetch(address, timed).catch((error) => { throw Lost.from(error); });
  const told = await response.json().catch(() => ({}));
  if (response.ok) return told;
  throw new Problem({ detail: told.error_description ?? told.error }, response.status);
}

function claimsOf(token) {
  try {
    const [, payload] = /^[\w-]+\.([\w-]+)\.[\w-]+$/.exec(token);
    const bytes = Uint8Array.from(atob(payload.replace(/-/g, "+").replace(/_/g, "/")), (it) => it.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

async function challenge(verifier) {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function secret() {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
