// Opens the page without a connection. It serves the page's own files, and never what belongs to people.
//
// The files are kept as a whole, under a name made of their content: each time the page is opened, all of them are
// asked for (what is known already comes as "not modified"), and the page gets either this new set or the one that was
// kept before, never files of both.

/** All files of the page. A test holds this to the files there are. */
const SHELL = [
  "/",
  "/account/own_data.js",
  "/account/sign_in.js",
  "/account/usage.js",
  "/api.js",
  "/app.js",
  "/auth.js",
  "/clip/camera.js",
  "/clip/choose.js",
  "/clip/cycle.js",
  "/clip/encoder.js",
  "/clip/frames.js",
  "/clip/jpeg.js",
  "/clip/large.js",
  "/clip/moment.js",
  "/clip/preview.js",
  "/clip/review.js",
  "/clip/send.js",
  "/clip/step.js",
  "/clip/strip.js",
  "/clip/terms.js",
  "/clip/timeline.js",
  "/clip/video.js",
  "/credentials.js",
  "/digest.js",
  "/direct.js",
  "/dom.js",
  "/http.js",
  "/i18n.js",
  "/icon.svg",
  "/images.js",
  "/kept.js",
  "/lang/de.json",
  "/lang/en.json",
  "/manifest.webmanifest",
  "/notices.js",
  "/openid.js",
  "/pending.js",
  "/problem.js",
  "/result/analysis.js",
  "/result/asking.js",
  "/result/chat.js",
  "/result/details.js",
  "/result/difference.js",
  "/result/evidence.js",
  "/result/finding.js",
  "/result/picture.js",
  "/result/progress.js",
  "/result/words.js",
  "/style.css",
  "/upload.js",
  "/views/account.js",
  "/views/compare.js",
  "/views/history.js",
  "/views/session.js",
  "/views/start.js",
];

const KEPT = "swimcoach-shell-";
const CONFIG = "swimcoach-config";
/** How long the page waits for a slow connection, in ms, before it opens with what is kept. */
const PATIENCE_MS = 3_000;
const ANY_ENCODING = { ignoreVary: true };

/**
 * Which set each open page has, by the id of its client. The browser may stop this worker and forget it; by then a page
 * has all its files, since it loads its views ahead.
 */
const sets = new Map();
let refreshing = null;

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== location.origin) return;
  if (mode === "navigate" && pathname === "/") event.respondWith(openPage(event));
  else if (mode === "navigate") return;
  else if (pathname === "/config.json") event.respondWith(configuration(event.request));
  else if (SHELL.includes(pathname)) event.respondWith(file(event, pathname));
});

async function install() {
  await refresh();
  await configuration("/config.json").catch(console.warn);
  await skipWaiting();
}

async function openPage(event) {
  const fresh = refresh();
  event.waitUntil(fresh.catch(() => {}));
  const kept = async () => (await keptSets()).at(-1);
  const patience = new Promise((resolve) => { setTimeout(resolve, PATIENCE_MS); }).then(kept);
  const set = await Promise.race([fresh.catch(kept), patience]);
  const page = set && (await caches.open(set).then((it) => it.match("/", ANY_ENCODING)));
  if (!page) return fetch(event.request);
  sets.set(event.resultingClientId, set);
  return page;
}

async function file(event, pathname) {
  const set = sets.get(event.clientId) ?? (await keptSets()).at(-1);
  const response = set && (await caches.open(set).then((it) => it.match(pathname, ANY_ENCODING)));
  return response ?? fetch(event.request);
}

async function configuration(request) {
  const cache = await caches.open(CONFIG);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put("/config.json", response.clone()).catch(console.warn);
    return response;
  } catch (error) {
    const response = await cache.match("/config.json", ANY_ENCODING);
    if (!response) throw error;
    return response;
  }
}

/** The names of the kept sets, the newest last. */
async function keptSets() {
  return (await caches.keys()).filter((it) => it.startsWith(KEPT)).sort();
}

/** Has the files that there are now kept as a set. Resolves with its name; where one cannot be had, nothing changes. */
function refresh() {
  refreshing ??= fetchSet().finally(() => { refreshing = null; });
  return refreshing;
}

async function fetchSet() {
  const before = await keptSets();
  // What the first visit loaded a moment ago need not be asked for again. Were something older among it, the page is
  // whole again at the next visit.
  const mode = before.length ? "no-cache" : "force-cache";
  const responses = await Promise.all(SHELL.map((path) => fetchFile(path, mode)));
  const digest = await digestOf(responses);
  if (before.at(-1)?.endsWith(digest)) return before.at(-1);
  const name = `${KEPT}${Date.now()}-${digest}`;
  try {
    const cache = await caches.open(name);
    await Promise.all(SHELL.map((path, index) => cache.put(path, responses[index])));
  } catch (error) {
    // There is no room. An old set that cannot be replaced would be shown for ever.
    await Promise.all([name, ...before].map((it) => caches.delete(it)));
    throw error;
  }
  // The one before may still be loading in another window.
  await Promise.all(before.slice(0, -1).map((it) => caches.delete(it)));
  return name;
}

async function fetchFile(path, mode) {
  const response = await fetch(path, { cache: mode });
  // A network that wants a sign-in of its own sends elsewhere.
  if (!response.ok || response.redirected) throw new Error(`${path}: ${response.status}`);
  return response;
}

/** A digest of the files and of what the page is allowed, which the operator's settings change and no file does. */
async function digestOf(responses) {
  const contents = await Promise.all(responses.map(async (it) =>
    new Blob([it.headers.get("Content-Security-Policy") ?? "", "\n", await it.clone().arrayBuffer()]).arrayBuffer()));
  const digests = await Promise.all(contents.map((it) => crypto.subtle.digest("SHA-256", it)));
  const whole = new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(digests).arrayBuffer()));
  return Array.from(whole.slice(0, 8), (it) => it.toString(16).padStart(2, "0")).join("");
}
