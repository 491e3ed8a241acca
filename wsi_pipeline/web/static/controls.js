// @ts-check
/** The controls of the map: they write the state and show it. */

import { COLORMAPS, addColormap, colorTable, drawRamp } from "./colormaps.js";
import { byId, capitalized, choice, el, figure, input } from "./common.js";
import { figuresAt, namedThresholds, outlineRules, twoThresholds } from "./explain.js";
import { isSameThreshold } from "./regions.js";
import { tintShare } from "./scale.js";

/** @typedef {import("./state.js").ViewerState} ViewerState */
/** @typedef {import("../types").SlideDetail} SlideDetail */
/** @typedef {"hideBelow" | "smooth" | "fade" | "outlines" | "hatch"} Switch */

/** @type {Record<string, Switch>} */
const SWITCHES = { hidebelow: "hideBelow", smooth: "smooth", fade: "fade", outlines: "outlines", hatch: "hatch" };
const LAYER_WORDS = { probability: "Probability of IDC", raw: "Probability before refinement", uncertainty: "Spread over eight views", tissue: "Tissue" };

/** A threshold within 0 to 1; that of the results where it is no number.
 * @param {number} value
 * @param {SlideDetail} detail */
export const asThreshold = (value, detail) => Math.min(1, Math.max(0, Number.isFinite(value) ? value : (detail.threshold ?? 0.5)));

/** @param {ViewerState} state
 * @param {SlideDetail} detail
 * @param {import("../types").Grid} grid */
export function wireControls(state, detail, grid) {
  if (detail.color_stops) addColormap(detail.colormap, detail.color_stops);
  const colors = COLORMAPS.map((name) => el("option", { value: name }, name === detail.colormap ? `${capitalized(name)} (this run)` : capitalized(name)));
  choice("colormap").append(...colors);
  choice("colormap").addEventListener("input", () => state.set({ colormap: choice("colormap").value }));
  wireLayers(state, grid);
  input("opacity").addEventListener("input", () => state.set({ opacity: Number(input("opacity").value) }));
  for (const [id, key] of Object.entries(SWITCHES)) {
    input(id).addEventListener("input", () => state.set({ [key]: input(id).checked }));
  }
  const set = (/** @type {number} */ value) => state.set({ threshold: asThreshold(value, detail) });
  input("threshold").addEventListener("input", () => set(Number(input("threshold").value)));
  input("thresholdvalue").addEventListener("change", () => set(Number.parseFloat(input("thresholdvalue").value)));
  byId("points").append(
    ...namedThresholds(detail).map(({ name, value }) =>
      el("button", { type: "button", "data-value": value, onclick: () => set(value) }, `${name} ${figure.probability3(value)}`),
    ),
  );
  const words = twoThresholds(detail);
  byId("twothresholds").hidden = !words;
  byId("twothresholds").textContent = words;
  state.on(["threshold"], () => showThreshold(state));
  state.on(["colormap"], () => showColors(state));
  state.on(["rules"], () => showRules(state));
  state.on(["hideBelow", "smooth", "fade", "outlines", "hatch"], () => showSwitches(state));
  showThreshold(state);
  showColors(state);
  showSwitches(state);
}

/** @param {ViewerState} state
 * @param {import("../types").Grid} grid */
function wireLayers(state, grid) {
  const layers = grid.layers.filter((name) => name !== "tissue");
  byId("layerrow").hidden = layers.length < 2;
  choice("layer").append(...layers.map((name) => el("option", { value: name }, capitalized(name))));
  choice("layer").addEventListener("change", () => {
    state.set({ layer: /** @type {import("../types").LayerName} */ (choice("layer").value) });
  });
}

/** @param {ViewerState} state */
function showThreshold({ now: { threshold } }) {
  input("threshold").value = String(threshold);
  input("thresholdvalue").value = String(Number(threshold.toFixed(4)));
  byId("rampmark").style.left = `${100 * threshold}%`;
  for (const point of byId("points").children) {
    const value = point instanceof HTMLElement ? Number(point.dataset.value) : NaN;
    point.setAttribute("aria-pressed", String(isSameThreshold(value, threshold)));
  }
}

/** @param {ViewerState} state */
function showColors({ now: { colormap } }) {
  choice("colormap").value = colormap;
  drawRamp(byId("ramp", HTMLCanvasElement), colorTable(colormap));
}

/** @param {ViewerState} state */
function showSwitches({ now }) {
  for (const [id, key] of Object.entries(SWITCHES)) input(id).checked = now[key];
}

/** @param {ViewerState} state */
function showRules({ now: { rules } }) {
  const words = outlineRules(rules);
  byId("outlinerules").hidden = !words;
  byId("outlinerules").textContent = words;
}

/** The opacity that the map is drawn with at this zoom.
 * @param {ViewerState} state
 * @param {number | null} umPerPixel */
export function opacityAt({ now: { opacity, fade } }, umPerPixel) {
  return fade ? opacity * tintShare(umPerPixel) : opacity;
}

/** @param {ViewerState} state
 * @param {number | null} umPerPixel */
export function showOpacity(state, umPerPixel) {
  const [chosen, here] = [state.now.opacity, opacityAt(state, umPerPixel)].map((share) => Math.round(100 * share));
  input("opacity").value = String(state.now.opacity);
  byId("opacityvalue").textContent = here === chosen ? `${chosen} %` : `${here} % here`;
}

/** @param {import("../types").LayerName} layer
 * @param {number} max */
export function showLegend(layer, max) {
  choice("layer").value = layer;
  byId("legendname").textContent = LAYER_WORDS[layer];
  byId("legendmax").textContent = String(max);
  byId("rampmark").hidden = layer === "uncertainty";
}

/** The figures of the slide at the threshold that is shown.
 * @param {ViewerState} state
 * @param {SlideDetail} detail */
export function showFigures({ now: { totals, threshold, isAsking } }, detail) {
  const lines = [
    ["IDC", figure.mm2(totals.idc_mm2)],
    ["Tissue", figure.mm2(totals.tissue_mm2)],
    ["Share", figure.percent(totals.idc_share)],
  ];
  byId("figures").replaceChildren(...lines.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  byId("figures").setAttribute("aria-busy", String(isAsking));
  byId("figuresat").hidden = !detail.map;
  byId("figuresat").textContent = figuresAt(threshold, detail.threshold);
}
