// @ts-check
/** What is under the cursor: the place, the probability of the cell, the region. */

import { byId, el, figure } from "./common.js";
import { cellAt } from "./heatmap.js";
import { regionAt } from "./regions.js";

/** @typedef {import("../types").Region} Region */

/**
 * @typedef {object} Under
 * @property {import("./view.js").SlideView} view
 * @property {import("./state.js").ViewerState} state
 * @property {import("./heatmap.js").Heatmap | null} heatmap
 * @property {import("./review.js").Review} review
 * @property {import("../types").Point | null} mpp
 */

/** @param {PointerEvent | null} event  null: the cursor has left
 * @param {Under} under */
export function showCursor(event, { view, state, heatmap, review, mpp }) {
  if (!event || !view.isOpen) {
    byId("tip").hidden = byId("cursor").hidden = true;
    state.set({ hoveredId: null });
    return;
  }
  const [x, y] = view.imagePoint(event);
  byId("cursor").hidden = false;
  byId("cursor").textContent = `${placeWords(x, y, mpp)} · ${probabilityWords(heatmap, x, y)}`;
  const isOnSlide = event.target instanceof Element && event.target.closest(".banner") === null;
  const canHover = state.now.outlines && isOnSlide && !state.now.tool;
  const region = canHover ? regionAt(state.now.regions, x, y) : null;
  state.set({ hoveredId: region?.id ?? null });
  byId("tip").hidden = !region;
  if (region) showTip(region, review, event, view.element.getBoundingClientRect());
}

/** @param {number} x
 * @param {number} y
 * @param {import("../types").Point | null} mpp */
function placeWords(x, y, mpp) {
  if (!mpp) return `x ${Math.round(x)}, y ${Math.round(y)} px`;
  return `x ${((x * mpp[0]) / 1000).toFixed(2)}, y ${((y * mpp[1]) / 1000).toFixed(2)} mm`;
}

/** @param {import("./heatmap.js").Heatmap | null} heatmap
 * @param {number} x
 * @param {number} y */
function probabilityWords(heatmap, x, y) {
  const cell = heatmap ? cellAt(heatmap.grid, x, y) : -1;
  const probability = heatmap && cell >= 0 ? heatmap.values[cell] : NaN;
  return Number.isNaN(probability) ? "not classified" : `cell p ${probability.toFixed(3)}`;
}

/** @param {Region} region
 * @param {import("./review.js").Review} review
 * @param {PointerEvent} event
 * @param {DOMRect} frame */
function showTip(region, review, event, frame) {
  const { decision, label, comment } = review.wordsOf(region.id);
  const tip = byId("tip");
  tip.style.left = `${Math.min(event.clientX - frame.left, frame.width - 230)}px`;
  tip.style.top = `${Math.min(event.clientY - frame.top, frame.height - 90)}px`;
  const at = region.decidedAt === null ? null : `decided at p ≥ ${region.decidedAt.toFixed(3)}`;
  tip.replaceChildren(
    el("strong", {}, region.name),
    el("div", {}, `${figure.mm2(region.area)} · mean p ${figure.probability(region.mean)}`),
    el("div", { class: "muted" }, [label, decision, at, comment].filter(Boolean).join(" · ")),
  );
}
