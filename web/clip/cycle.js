// Which part of a clip holds a stroke cycle, and which of its frames to take. Pure functions: no video, no document.

/** The shortest and the longest window that may be chosen, in ms. */
export const WINDOW_MS = { least: 600, most: 4000 };

/** The window where nothing better is known: one cycle of front crawl takes from 1.3 to 1.5 s. */
const USUAL_MS = 1500;
/** Lags at which movement may repeat: from a fast arm to a slow breaststroke. */
const LAGS_MS = { least: 400, most: 2400 };
/** The gap between the probes of a closer look. */
export const FINE_MS = 80;
/** Below it the repetition is that of one arm; a cycle has both. */
const ONE_ARM_MS = 900;
/** The least correlation of motion, and the least likeness of pictures, that count as a repetition. */
const REPEATS = 0.3;
const ALIKE = 0.15;
/** How finely lags are told apart. */
const STEP_MS = 40;
/** Steps of brightness by which a pixel differs that shows the same. */
const NOISE = 2;
/** Movement is hardly lost between frames of this many a second, and more of them show nothing new. */
const MOST_PER_SECOND = 15.5;
/** Where the clip's own frames are not known. */
const USUAL_PER_SECOND = 12.5;
/** Frames of a burst at the most: 10 a second over the longest window. One of the usual length takes 23. */
const BURST = 41;
/** Frames of the rest of the clip. */
const WIDE = 5;

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
const mean = (values) => values.reduce((sum, it) => sum + it, 0) / (values.length || 1);

/**
 * The brightness of each pixel.
 *
 * @param {Uint8ClampedArray} rgba as `getImageData` gives it
 * @returns {Uint8Array}
 */
export function greyOf(rgba) {
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = (rgba[4 * i] * 77 + rgba[4 * i + 1] * 150 + rgba[4 * i + 2] * 29) >> 8;
  }
  return grey;
}

/** Whether two small pictures show the same, but for what compression leaves: some clips hold each picture twice. */
export function isSame(grey, other) {
  return grey.every((it, i) => Math.abs(it - other[i]) <= NOISE);
}

/**
 * How much moves from each probe to the next: the mean difference of their pixels, for each second between them.
 *
 * @param {{ms: number, grey: Uint8Array}[]} probes in the order of time
 * @returns {{ms: number, motion: number}[]} one less than probes, each at the middle between two
 */
export function motionSignal(probes) {
  return probes.slice(1).map((probe, i) => {
    const before = probes[i];
    const seconds = (probe.ms - before.ms) / 1000;
    return { ms: (before.ms + probe.ms) / 2, motion: difference(before.grey, probe.grey) / seconds };
  });
}

/** The mean difference of the pixels of two pictures. */
function difference(grey, other) {
  let sum = 0;
  for (let i = 0; i < grey.length; i++) sum += Math.abs(grey[i] - other[i]);
  return sum / (grey.length || 1);
}

/** Times in ms of a first look over a whole clip: about two a second, and at most 40. */
export function wideScan(durationMs) {
  return middles(0, durationMs, clamp(Math.round(durationMs / 500), 8, 40));
}

/** The part to look at closer: at most 5 s around a moment, long enough to see a cycle repeat. */
export function fineSpan(durationMs, aroundMs) {
  const lengthMs = Math.min(durationMs, 5000);
  return { startMs: clamp(aroundMs - lengthMs / 2, 0, durationMs - lengthMs), lengthMs };
}

/** Times in ms of a closer look at a span: 12 a second. */
export function fineScan({ startMs, lengthMs }) {
  return middles(startMs, lengthMs, Math.max(8, Math.round(lengthMs / FINE_MS)));
}

/** Where in the clip most moves over a few seconds, in ms. */
export function liveliest(signal, durationMs) {
  const spanMs = Math.min(durationMs, 3000);
  return bestStart(signal, spanMs, durationMs) + spanMs / 2;
}

/**
 * How long a movement takes until it comes again: by how alike pictures are that lie so far apart, or, where the
 * camera moves along and no picture comes again, by the rhythm of the motion.
 *
 * @param {{ms: number, grey: Uint8Array}[]} probes in the order of time
 * @returns {number|null} ms of a whole cycle with both arms, or null where nothing repeats
 */
export function cycleLength(probes) {
  if (probes.length < 8) return null;
  const periodMs = period(likeness(probes), ALIKE) ?? period(rhythm(motionSignal(probes)), REPEATS);
  return periodMs !== null && periodMs < ONE_ARM_MS ? 2 * periodMs : periodMs;
}

/**
 * The shortest lag at which something repeats about as well as at the best one: twice a period repeats as well.
 *
 * @param {number[]} strengths for lags of 0, 1, 2 … steps
 * @param {number} least strength that counts
 */
function period(strengths, least) {
  const isPeak = (lag) => strengths[lag] >= strengths[lag - 1] && strengths[lag] >= (strengths[lag + 1] ?? Infinity);
  const peaks = [];
  for (let lag = Math.ceil(LAGS_MS.least / STEP_MS); lag * STEP_MS <= LAGS_MS.most && lag < strengths.length; lag++) {
    if (isPeak(lag) && strengths[lag] > least) peaks.push(lag);
  }
  if (peaks.length === 0) return null;
  const best = Math.max(...peaks.map((lag) => strengths[lag]));
  return peaks.find((lag) => strengths[lag] >= 0.85 * best) * STEP_MS;
}

/** For each lag, how much more alike pictures are that lie so far apart than any two: 0 as much, 1 the same. */
function likeness(probes) {
  const lags = Array.from({ length: Math.floor(LAGS_MS.most / STEP_MS) + 2 }, () => []);
  probes.forEach((probe, i) => {
    for (const later of probes.slice(i + 1)) {
      lags[Math.round((later.ms - probe.ms) / STEP_MS)]?.push(difference(probe.grey, later.grey));
    }
  });
  const differences = lags.map((it) => (it.length < 4 ? null : mean(it)));
  const usual = mean(differences.filter((it) => it !== null));
  // Lags that hardly any two pictures have say nothing.
  return smooth(differences.map((it) => (it === null || usual === 0 ? 0 : 1 - it / usual)), 1);
}

/** For each lag, how well the motion correlates with itself. */
function rhythm(signal) {
  return autocorrelation(smooth(evenly(signal), 2));
}

/** The motion at even steps, between what was measured. */
function evenly(signal) {
  const values = [];
  let i = 0;
  for (let { ms } = signal[0]; ms <= signal.at(-1).ms; ms += STEP_MS) {
    while (i < signal.length - 2 && signal[i + 1].ms < ms) i++;
    const share = (ms - signal[i].ms) / (signal[i + 1].ms - signal[i].ms);
    values.push(signal[i].motion + share * (signal[i + 1].motion - signal[i].motion));
  }
  return values;
}

/** A series without its jitter: each value the mean of those around it. */
function smooth(values, reach) {
  return values.map((_, at) => mean(values.slice(Math.max(0, at - reach), at + reach + 1)));
}

/** The correlation of a series with itself, for lags up to two thirds of its length, where enough overlaps. */
function autocorrelation(series) {
  const average = mean(series);
  const centred = series.map((it) => it - average);
  const variance = mean(centred.map((it) => it * it));
  const lags = Math.floor((series.length * 2) / 3);
  return Array.from({ length: lags }, (_, lag) => {
    if (variance === 0) return 0;
    return mean(centred.slice(lag).map((it, i) => it * centred[i])) / variance;
  });
}

/**
 * The part of the clip to look at closely: a little more than a cycle, where most moves.
 *
 * @param {{ms: number, grey: Uint8Array}[]} probes of the closer look
 * @param {number} durationMs of the clip
 * @returns {{startMs: number, lengthMs: number}}
 */
export function suggestWindow(probes, durationMs) {
  const cycleMs = cycleLength(probes);
  const wantedMs = cycleMs === null ? USUAL_MS : clamp(cycleMs * 1.15, 1200, 2400);
  const lengthMs = Math.round(Math.min(wantedMs, durationMs));
  return fitWindow({ startMs: bestStart(motionSignal(probes), lengthMs, durationMs), lengthMs }, durationMs);
}

/** The start of the span with most motion. A jolt counts no more than movement that lasts, the middle is preferred. */
function bestStart(signal, spanMs, durationMs) {
  const middleMs = Math.max(0, (durationMs - spanMs) / 2);
  if (signal.length === 0) return middleMs;
  // The phone is moved when filming begins and ends.
  const edgeMs = durationMs > 2 * spanMs ? Math.min(500, durationMs * 0.08) : 0;
  const sorted = signal.map((it) => it.motion).sort((a, b) => a - b);
  const most = sorted[Math.floor(sorted.length * 0.9)];
  const score = (startMs) => {
    const inside = signal.filter((it) => it.ms >= startMs && it.ms <= startMs + spanMs);
    const lively = mean(inside.map((it) => Math.min(it.motion, most)));
    return lively * (1 - (0.15 * Math.abs(startMs - middleMs)) / (middleMs || 1));
  };
  let best = { startMs: middleMs, score: score(middleMs) };
  for (const { ms } of signal) {
    if (ms < edgeMs || ms + spanMs > durationMs - edgeMs) continue;
    if (score(ms) > best.score) best = { startMs: ms, score: score(ms) };
  }
  return best.startMs;
}

/** The window, moved and cut so that it lies in the clip and is neither too short nor too long. */
export function fitWindow({ startMs, lengthMs }, durationMs) {
  const length = Math.min(clamp(lengthMs, WINDOW_MS.least, WINDOW_MS.most), durationMs);
  return { startMs: Math.round(clamp(startMs, 0, durationMs - length)), lengthMs: Math.round(length) };
}

/**
 * The times to take frames at: a dense burst over the window and a few wide ones over the rest.
 *
 * Times are in the middle of the clip's frames where those are known, so that a seek that is a little off still
 * finds its frame.
 *
 * @param {object} clip
 * @param {number} clip.durationMs
 * @param {number|null} clip.frameMs how long a frame of the clip lasts, where known
 * @param {number} clip.anchorMs when the frame at the window's start begins
 * @param {{startMs: number, lengthMs: number}} window
 * @param {number} maxFrames that may be taken in all
 * @returns {{ms: number, kind: "burst"|"wide"}[]} in the order of time
 */
export function planFrames({ durationMs, frameMs, anchorMs }, window, maxFrames) {
  const wide = wideTimes(durationMs, window, Math.min(WIDE, Math.floor(maxFrames / 4)));
  const most = Math.min(maxFrames - wide.length, BURST);
  const burst = burstTimes({ durationMs, frameMs, anchorMs }, window, most);
  return [...wide.map((ms) => ({ ms, kind: "wide" })), ...burst.map((ms) => ({ ms, kind: "burst" }))]
    .sort((a, b) => a.ms - b.ms);
}

function burstTimes({ durationMs, frameMs, anchorMs }, { startMs, lengthMs }, most) {
  const stepMs = burstStep(frameMs, lengthMs, most);
  const firstMs = frameMs ? anchorMs + frameMs / 2 : startMs;
  const lastMs = Math.min(startMs + lengthMs, durationMs);
  const times = [];
  for (let ms = firstMs; ms <= lastMs && times.length < most; ms += stepMs) times.push(ms);
  return times;
}

/** The gap between frames of a burst, in ms: a whole number of the clip's frames, so that gaps are even. */
function burstStep(frameMs, lengthMs, most) {
  const leastMs = Math.max(1000 / (frameMs ? MOST_PER_SECOND : USUAL_PER_SECOND), lengthMs / Math.max(1, most - 1));
  return frameMs ? Math.ceil(leastMs / frameMs - 0.01) * frameMs : leastMs;
}

/** Times spread over what lies outside of the window, fewer where that is short. */
function wideTimes(durationMs, { startMs, lengthMs }, most) {
  const restMs = durationMs - lengthMs;
  const count = Math.min(most, Math.floor(restMs / 300));
  return middles(0, restMs, count).map((ms) => (ms < startMs ? ms : ms + lengthMs));
}

function middles(startMs, spanMs, count) {
  return Array.from({ length: count }, (_, i) => startMs + ((i + 0.5) * spanMs) / count);
}
