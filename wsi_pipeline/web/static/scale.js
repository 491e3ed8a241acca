// @ts-check
/** Scale: the bar, magnifications, and how much of the map is laid over nuclei. */

const FULL_TINT_UM = 2; /* from here out the map has the opacity that was chosen */
const LEAST_TINT_UM = 0.5; /* from here in, where nuclei are read, the least of it */
const LEAST_TINT = 0.2;
const UM_OF_ONE_FOLD = 10; /* an objective of 20 goes with 0.5 µm/px */

/** 1, 2 or 5 times a power of ten, at most so long.
 * @param {number} longest */
export function niceLength(longest) {
  const decade = 10 ** Math.floor(Math.log10(longest));
  const lead = (longest / decade) * (1 + 1e-9);
  return decade * (lead >= 5 ? 5 : lead >= 2 ? 2 : 1);
}

/** @param {number} um
 * @param {number} digits */
export function lengthLabel(um, digits = 6) {
  return um >= 1000 ? `${+(um / 1000).toPrecision(digits)} mm` : `${+um.toPrecision(digits)} µm`;
}

/** What an objective would show at this scale, e.g. "×20" at 0.5 µm/px.
 * @param {number} umPerPixel */
export function magnification(umPerPixel) {
  const fold = UM_OF_ONE_FOLD / umPerPixel;
  return `×${fold >= 9.95 ? Math.round(fold) : +fold.toPrecision(2)}`;
}

/** The share of the chosen opacity that the map is drawn with: at high zoom nuclei stay visible.
 * @param {number | null} umPerPixel  null = unknown: the whole of it */
export function tintShare(umPerPixel) {
  if (!umPerPixel) return 1;
  const octaves = Math.log2(FULL_TINT_UM / LEAST_TINT_UM);
  const far = Math.log2(umPerPixel / LEAST_TINT_UM) / octaves;
  return LEAST_TINT + (1 - LEAST_TINT) * Math.min(1, Math.max(0, far));
}

/** @param {HTMLElement} element  a bar and its words
 * @param {number | null} umPerPixel */
export function showScale(element, umPerPixel, longestPx = 160) {
  element.hidden = !umPerPixel;
  const [bar, words] = element.children;
  if (!umPerPixel || !(bar instanceof HTMLElement)) return;
  const um = niceLength(umPerPixel * longestPx);
  bar.style.width = `${um / umPerPixel}px`;
  words.textContent = lengthLabel(um);
}
