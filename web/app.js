// The page's beginning: words, who is signed in, and which view the address names.

import { fill, h, setTitle } from "./dom.js";
import { loadLanguage, t } from "./i18n.js";
import { problemNotice } from "./notices.js";
import { finishSignIn } from "./auth.js";

/** What an address shows: its form, and the module with a `show(main, parameters, signal)`. */
const VIEWS = [
  [/^\/?$/, () => import("./views/start.js")],
  [/^\/sessions$/, () => import("./views/history.js")],
  [/^\/sessions\/(?<id>[0-9a-f-]{36})$/, () => import("./views/session.js")],
  [/^\/compare\/(?<before>[0-9a-f-]{36})\/(?<after>[0-9a-f-]{36})$/, () => import("./views/compare.js")],
  [/^\/account$/, () => import("./views/account.js")],
];

const main = document.getElementById("main");
let leaving = new AbortController();

/** Shows what the address names. The view that was shown before is told by its signal to stop. */
async function route() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const path = location.hash.replace(/^#/, "");
  markCurrent(path);
  try {
    for (const [form, load] of VIEWS) {
      const match = form.exec(path);
      if (!match) continue;
      const view = await load();
      if (!signal.aborted) await view.show(main, match.groups ?? {}, signal);
      return;
    }
    setTitle(t("common.not_found"));
    fill(main, h("h1", {}, t("common.not_found")), h("p", {}, h("a", { href: "#/" }, t("common.to_start"))));
  } catch (error) {
    if (!signal.aborted) fill(main, h("h1", {}, t("common.went_wrong")), problemNotice(error, route));
  }
}

function markCurrent(path) {
  for (const link of document.querySelectorAll("header nav a")) {
    const own = link.hash.slice(1);
    const isCurrent = own === "/" ? /^\/?$/.test(path) : path === own || path.startsWith(`${own}/`);
    if (isCurrent) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function tellConnection() {
  document.getElementById("offline").hidden = navigator.onLine;
}

/** The first link of the page leads past the bar, and not to another view. */
function skipToContent(event) {
  event.preventDefault();
  main.focus();
}

async function start() {
  document.querySelector(".skip").addEventListener("click", skipToContent);
  addEventListener("online", tellConnection);
  addEventListener("offline", tellConnection);
  tellConnection();
  await loadLanguage();
  await finishSignIn();
  await route();
  addEventListener("hashchange", async () => {
    await route();
    // So that a screen reader begins where a new page would.
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  });
  addEventListener("swimcoach:refresh", route);
  if ("serviceWorker" in navigator) await keepForLater();
}

/** Has the page kept for a visit without a connection, and then all of it loaded: no view comes of a later version. */
async function keepForLater() {
  navigator.serviceWorker.register("/sw.js").catch(console.warn);
  await navigator.serviceWorker.ready;
  await Promise.all(VIEWS.map(([, load]) => load())).catch(console.warn);
}

start().catch((error) => {
  console.error(error);
  // The words may be what is missing.
  fill(main, h("h1", {}, "SwimCoach"), h("p", {}, "The page could not be loaded. Check the connection."),
    h("button", { type: "button", onclick: () => location.reload() }, "Try again"));
});
