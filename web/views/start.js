// From a clip to an upload: choose, pick the moment, look over the frames, send. Each step is a module of `clip/`.

import { config } from "../api.js";
import { signInState } from "../auth.js";
import { choose, ignoreDrops, interruptedNotice } from "../clip/choose.js";
import { framesOfPictures } from "../clip/frames.js";
import { chooseMoment } from "../clip/moment.js";
import { review } from "../clip/review.js";
import { send } from "../clip/send.js";
import { progressLine, showStep, stoppable } from "../clip/step.js";
import { ClipError } from "../clip/video.js";
import { fill, h, setTitle } from "../dom.js";
import { t } from "../i18n.js";
import { problemNotice } from "../notices.js";
import { discardUpload, interruptedUpload, resumeUpload } from "../upload.js";

/** Shows the way from a clip to a session. */
export async function show(main, _, signal) {
  setTitle("");
  const place = h("div", {});
  fill(main, ...beginning(), place);
  ignoreDrops(signal);
  walk(main, place, signal).catch((error) => {
    if (!signal.aborted) fill(main, ...beginning(), problemNotice(error, () => show(main, _, signal)));
  });
}

/** What the page begins with; it is there before the script is, so it stays the same. */
function beginning() {
  return [h("h1", { tabindex: "-1" }, t("start.title")), h("p", { class: "lead" }, t("start.lead"))];
}

/** Goes through the steps until something is uploaded, back to the first one as often as another clip is wanted. */
async function walk(main, place, signal) {
  const settings = await config();
  let trouble = null;
  for (;;) {
    const chosen = await first(place, { settings, signal, trouble });
    trouble = null;
    try {
      const id = chosen.resume ? await goOn(main, signal) : await fromChosen(main, chosen, settings, signal);
      if (id) return goToSession(id, signal);
    } catch (error) {
      if (!(error instanceof ClipError)) throw error;
      trouble = error;
    }
    place = h("div", {});
    const [heading, ...rest] = beginning();
    fill(main, heading, ...rest, place);
    heading.focus({ preventScroll: true });
  }
}

/** The first step, with what else there is to be said before. */
async function first(place, { settings, signal, trouble }) {
  if (mustSignIn(settings)) {
    const link = h("a", { href: "#/account" }, t("common.sign_in"));
    place.append(h("p", { class: "notice" }, t("clip.sign_in"), " ", link));
  }
  const resumed = Promise.withResolvers();
  const step = stoppable(signal);
  // Filled when it is known: another window that is uploading must not hold up the first step.
  const notice = h("div", {});
  place.append(notice);
  offerToResume(notice, () => resumed.resolve({ resume: true }), step.signal).catch(console.warn);
  try {
    return await Promise.race([resumed.promise, choose(place, { signal: step.signal, trouble })]);
  } finally {
    step.stop();
  }
}

function mustSignIn({ sign_in: { required, anonymous } }) {
  return required && !anonymous && signInState().kind === "none";
}

async function offerToResume(notice, resume, signal) {
  const upload = await interruptedUpload();
  if (!upload || signal.aborted) return;
  const discard = () => {
    fill(notice);
    discardUpload().catch(console.warn);
    document.getElementById("clip-file")?.focus();
  };
  fill(notice, interruptedNotice(upload, resume, discard));
}

async function goOn(main, signal) {
  const place = h("div", {});
  showStep(main, t("clip.resuming"), place);
  return send(place, resumeUpload, { signal });
}

async function fromChosen(main, { clip, isOneOfMore, pictures }, settings, signal) {
  const { limits } = settings;
  const made = clip ? { frames: await chooseMoment(main, clip, { limits, isOneOfMore, signal }), leftOut: [] }
    : await makePictures(main, pictures, { limits, signal });
  if (!made.frames) return null;
  if (made.frames.length === 0) throw new ClipError("no_frames");
  return review(main, made, { config: settings, signal });
}

/** Makes frames of pictures; `frames` is null where that was cancelled. */
async function makePictures(main, pictures, { limits, signal }) {
  const own = stoppable(signal);
  const progress = progressLine(t("clip.making"));
  showStep(main, t("clip.pictures_title"), progress.element,
    h("div", { class: "actions" }, h("button", { type: "button", onclick: own.stop }, t("common.cancel"))));
  const onProgress = (done, all) => progress.tell(done / all, t("clip.making_of", { done, all }));
  try {
    return await framesOfPictures(pictures, { limits, signal: own.signal, onProgress });
  } catch (error) {
    if (signal.aborted || !own.signal.aborted) throw error;
    return { frames: null };
  } finally {
    own.stop();
  }
}

function goToSession(id, signal) {
  if (!signal.aborted) location.hash = `#/sessions/${id}`;
}
