// @ts-check
/** Words on thresholds and outlines, said where they are shown. */

import { figure } from "./common.js";
import { isSameThreshold } from "./regions.js";

/** @typedef {import("../types").SlideDetail} SlideDetail */
/** @typedef {import("../types").Rules} Rules */

/** The thresholds that have a name, the results' own first.
 * @param {Pick<SlideDetail, "threshold" | "neighbor_threshold" | "operating_points">} detail
 * @returns {{ name: string, value: number }[]} */
export function namedThresholds({ threshold, neighbor_threshold: neighbors, operating_points: points }) {
  const named = Object.entries(points).map(([name, value]) => ({ name: name.replaceAll("_", " "), value }));
  if (neighbors !== null) {
    for (const point of named) point.name = `patch, ${point.name}`;
    named.unshift({ name: "with neighbors", value: neighbors });
  }
  if (threshold !== null && !named.some(({ value }) => isSameThreshold(value, threshold))) {
    named.unshift({ name: "results", value: threshold });
  }
  return named;
}

/** Why there are two thresholds, where the model has two.
 * @param {Pick<SlideDetail, "neighbor_threshold" | "operating_points">} detail
 * @returns {string | null} */
export function twoThresholds({ neighbor_threshold: neighbors, operating_points: points }) {
  if (neighbors === null || points.balanced === undefined) return null;
  return (
    `${figure.probability3(neighbors)} is the model's threshold for this map, in which each cell was refined by its ` +
    `neighbors; ${figure.probability3(points.balanced)} is for a patch alone: the layer Raw and the page Single patch.`
  );
}

/** Why an outline may enclose cells below the threshold.
 * @param {Rules | null} rules
 * @returns {string | null} */
export function outlineRules(rules) {
  if (!rules) return null;
  const { threshold, low_threshold: low, smoothing_cells: smoothing, min_area_mm2: least } = rules;
  const map = smoothing > 0 ? "the map, smoothed over neighboring cells," : "the map";
  const reach =
    low < threshold && !isSameThreshold(low, threshold)
      ? `begins where ${map} reaches ${figure.probability3(threshold)} and goes on over touching cells down to ${figure.probability3(low)}`
      : `is drawn around cells where ${map} reaches ${figure.probability3(threshold)}`;
  const why = smoothing > 0 || low < threshold ? ": so it may enclose cells below the threshold" : "";
  return `An outline ${reach}${why}.${least > 0 ? ` Regions below ${+least.toPrecision(3)} mm² are left out.` : ""}`;
}

/** What the figures above belong to.
 * @param {number} shown
 * @param {number | null} standing */
export function figuresAt(shown, standing) {
  if (isSameThreshold(shown, standing)) return `At p ≥ ${figure.probability3(shown)}, as the results stand`;
  return `At p ≥ ${figure.probability3(shown)}; the results on disk stand at ${figure.probability3(standing)}`;
}
