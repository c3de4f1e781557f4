// Making elements. Text goes in as text: nothing on this page is ever parsed as HTML.

/**
 * Makes an element.
 *
 * @param {string} name of the element
 * @param {object} [attributes] `class`, `on…` with a listener, properties such as `value`, otherwise attributes;
 *   null, undefined and false leave one out, true sets it without a value
 * @param {...(Node|string|number|null|undefined|false|Array)} children
 * @returns {HTMLElement}
 */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) set(element, key, value);
  add(element, children);
  return element;
}

const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "hidden", "src", "muted"]);

function set(element, key, value) {
  if (key.startsWith("on") && typeof value === "function") element.addEventListener(key.slice(2), value);
  else if (value === null || value === undefined || value === false) return;
  else if (key === "dataset") Object.assign(element.dataset, value);
  else if (PROPERTIES.has(key)) element[key] = value;
  else element.setAttribute(key, value === true ? "" : value);
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Puts these in the place of everything in an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

/** Has a screen reader say something without moving the focus. */
export function announce(text) {
  const dialog = [...document.querySelectorAll("dialog[open]")].at(-1);
  const place = dialog ? announcerOf(dialog) : document.getElementById("announcer");
  // What is new in the document is not read out, only what changes.
  requestAnimationFrame(() => { place.textContent = text; });
}

/** Under a dialog nothing is read out, so each has a place of its own for what is said. */
function announcerOf(dialog) {
  const place = dialog.querySelector(":scope > .announcer");
  if (place) return place;
  const made = h("div", { class: "announcer hidden", role: "status", "aria-live": "polite" });
  dialog.append(made);
  return made;
}

/** The name of the page in the window's title. */
export function setTitle(text) {
  document.title = text ? `${text} · SwimCoach` : "SwimCoach";
}

/**
 * Asks a question in a modal dialog.
 *
 * @param {object} question
 * @param {string} question.title
 * @param {(Node|string)[]} question.body
 * @param {string} question.yes the name of the button that agrees
 * @param {string} question.no the name of the button that does not
 * @param {boolean} [question.danger] whether agreeing destroys something
 * @returns {Promise<boolean>} whether it was agreed to; who leaves the view has not
 */
export function ask({ title, body, yes, no, danger = false }) {
  const dialog = h("dialog", { "aria-labelledby": "ask-title" },
    h("form", { method: "dialog" },
      h("h2", { id: "ask-title" }, title),
      body,
      h("div", { class: "actions" },
        h("button", { class: danger ? "danger" : "primary", value: "yes" }, yes),
        h("button", { value: "no", autofocus: danger }, no))));
  document.body.append(dialog);
  dialog.showModal();
  const answered = new AbortController();
  addEventListener("hashchange", () => dialog.close(), { signal: answered.signal });
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      answered.abort();
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
