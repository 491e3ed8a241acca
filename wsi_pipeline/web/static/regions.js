// @ts-check
/** Outlines of regions: which there are, drawing them with their numbers, the one under the cursor. */

import { pen } from "./common.js";
import { areaMm2, onlyRing, polygonOf } from "./shapes.js";

/** @typedef {import("../types").Region} Region */
/** @typedef {import("../types").Feature} Feature */
/** @typedef {import("../types").Box} Box */
/** @typedef {import("../types").Geometry} Geometry */
/** @typedef {import("../types").Measurements} Measurements */

/** @type {Record<string, string>} */
export const COLORS = { undecided: "#ffd84d", accepted: "#3ddc84", rejected: "#c9ced3", drawn: "#5cc8ff" };
export const MOST_NUMBERS = 99; /* drawn, as on the overlay */
const SAME_THRESHOLD = 5e-4;

/** @param {number | null | undefined} a
 * @param {number | null | undefined} b */
export const isSameThreshold = (a, b) => typeof a === "number" && typeof b === "number" && Math.abs(a - b) < SAME_THRESHOLD;

/** @param {Geometry} geometry
 * @returns {number[][][]} */
const rings = ({ type, coordinates }) => (type === "Polygon" ? [coordinates] : coordinates).flat();

/** @param {Geometry} geometry
 * @returns {Box} */
export function boxOf(geometry) {
  /** @type {Box} */
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of rings(geometry).flat()) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

/** The outlines of the map at a threshold and those of the review, the largest first.
 * @param {Feature[]} found
 * @param {import("./review.js").Review} review
 * @param {number} threshold  at which they were found
 * @param {import("../types").Point | null} mpp
 * @returns {Region[]} */
export function regionsOf(found, review, threshold, mpp) {
  const known = new Set(found.map(({ id }) => id));
  const items = review.saved.items;
  const detected = found.map((feature) => {
    const said = items[feature.id]?.threshold;
    const number = /\d+$/.exec(feature.properties.name)?.[0] ?? "";
    return region(feature.id, feature.geometry, feature.properties.measurements, {
      kind: "detected",
      name: feature.properties.name,
      number,
      threshold,
      decidedAt: typeof said === "number" && !isSameThreshold(said, threshold) ? said : null,
    });
  });
  const elsewhere = Object.entries(items)
    .filter(([id, { kind }]) => kind === "detected" && !known.has(id))
    .map(([id, { geometry, measurements, threshold: at }]) => fromElsewhere(id, geometry, at, measurements));
  const unsaved = [...review.pending.keys()].flatMap((id) => {
    const item = known.has(id) || items[id] ? undefined : review.decided.get(id);
    return item ? [{ ...fromElsewhere(id, item.geometry, item.threshold), area: item.area, mean: item.mean, max: item.max }] : [];
  });
  return [...detected, ...elsewhere, ...unsaved, ...drawnOf(review, mpp)]
    .filter(({ id }) => !review.isRemoved(id))
    .sort((a, b) => (b.area ?? 0) - (a.area ?? 0));
}

/** A region that was decided on at another threshold.
 * @param {string} id
 * @param {Geometry} geometry
 * @param {number | null | undefined} at
 * @param {Measurements} measurements */
function fromElsewhere(id, geometry, at, measurements = { "Area mm^2": null }) {
  return region(id, geometry, measurements, {
    kind: "detected",
    name: typeof at === "number" ? `IDC at p ≥ ${at.toFixed(3)}` : "IDC at another threshold",
    threshold: at ?? null,
    isElsewhere: true,
    decidedAt: at ?? null,
  });
}

/** Saved outlines drawn by hand, then those not saved yet; numbered in this order.
 * @param {import("./review.js").Review} review
 * @param {import("../types").Point | null} mpp
 * @returns {Region[]} */
function drawnOf(review, mpp) {
  const saved = Object.entries(review.saved.items).filter(([, { kind }]) => kind === "drawn");
  const ids = new Set(saved.map(([id]) => id));
  for (const [id, { outline }] of review.pending) if (outline) ids.add(id);
  return [...ids].map((id, i) => {
    const outline = review.pending.get(id)?.outline;
    const geometry = outline ? polygonOf(outline) : review.saved.items[id].geometry;
    const measurements = outline ? { "Area mm^2": areaMm2(outline, mpp) } : review.saved.items[id].measurements;
    return region(id, geometry, measurements, { kind: "drawn", name: `Annotation ${i + 1}`, number: `A${i + 1}` });
  });
}

/** @param {string} id
 * @param {Geometry} geometry
 * @param {Measurements} measurements
 * @param {Pick<Region, "kind" | "name"> & Partial<Region>} words
 * @returns {Region} */
function region(id, geometry, measurements, words) {
  return {
    id,
    geometry,
    box: boxOf(geometry),
    area: measurements["Area mm^2"],
    mean: measurements["Mean probability"] ?? null,
    max: measurements["Max probability"] ?? null,
    number: "",
    threshold: null,
    isElsewhere: false,
    decidedAt: null,
    ...words,
  };
}

/** True where the corners of an outline can be moved.
 * @param {Region | null} region */
export const isEditable = (region) => region?.kind === "drawn" && onlyRing(region.geometry) !== null;

/** The upper right corner of an outline, where the overlay has its number too.
 * @param {Geometry} geometry
 * @returns {[number, number]} */
export function numberPlace(geometry) {
  let [right, top] = [-Infinity, Infinity];
  for (const [x, y] of rings(geometry).flat()) {
    if (y < top || (y === top && x > right)) [right, top] = [x, y];
  }
  return [right, top];
}

/** @type {WeakMap<Geometry, Path2D>} */
const paths = new WeakMap();

/** @param {Geometry} geometry */
function pathOf(geometry) {
  const known = paths.get(geometry);
  if (known) return known;
  const path = new Path2D();
  for (const ring of rings(geometry)) {
    ring.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  paths.set(geometry, path);
  return path;
}

/**
 * @typedef {object} Look
 * @property {number} pixelsPerImagePx
 * @property {string | null} selected
 * @property {string | null} hovered
 * @property {(id: string) => import("../types").Words} wordsOf
 * @property {number} [ratio]  canvas px per css px
 */

/** @type {Record<import("../types").Decision, string>} */
const MARKS = { undecided: "", accepted: " ✓", rejected: " ✕" };

/** Draw outlines in image px: light on dark, so that they show on pink and on white alike.
 * @param {CanvasRenderingContext2D} context
 * @param {Region[]} regions
 * @param {Look} look */
export function drawRegions(context, regions, { pixelsPerImagePx, selected, hovered, wordsOf, ratio = devicePixelRatio }) {
  const px = 1 / pixelsPerImagePx;
  const view = visibleBox(context);
  const seen = regions.filter(({ box }) => overlap(box, view));
  context.save();
  context.lineJoin = "round";
  for (const { id, kind, geometry, isElsewhere } of seen) {
    const { decision } = wordsOf(id);
    const isActive = id === selected || id === hovered;
    context.setLineDash([]);
    context.lineWidth = (isActive ? 6 : 4) * px;
    context.strokeStyle = "rgb(0 0 0 / 0.6)";
    context.stroke(pathOf(geometry));
    if (decision === "rejected") context.setLineDash([7 * px, 5 * px]);
    else if (isElsewhere) context.setLineDash([2 * px, 4 * px]);
    context.lineWidth = (isActive ? 3.5 : 2) * px;
    context.strokeStyle = kind === "drawn" && decision !== "rejected" ? COLORS.drawn : COLORS[decision];
    context.stroke(pathOf(geometry));
  }
  context.restore();
  drawNumbers(context, seen.slice(0, MOST_NUMBERS), wordsOf, ratio);
}

/** Numbers with the mark of the decision: it is not told by color alone.
 * @param {CanvasRenderingContext2D} context
 * @param {Region[]} regions
 * @param {Look["wordsOf"]} wordsOf
 * @param {number} ratio */
function drawNumbers(context, regions, wordsOf, ratio) {
  for (const { id, number, geometry } of regions) {
    const words = `${number}${MARKS[wordsOf(id).decision]}`;
    const at = new DOMPoint(...numberPlace(geometry)).matrixTransform(context.getTransform());
    const { width, height } = context.canvas;
    if (at.x < 0 || at.y < 0 || at.x > width || at.y > height) continue; /* its corner is out of sight */
    drawWords(context, words, at.x / ratio + 4, at.y / ratio - 4, ratio);
  }
}

/** Words on the slide, dark on a light halo, at a place in css px.
 * @param {CanvasRenderingContext2D} context
 * @param {string} words
 * @param {number} x
 * @param {number} y
 * @param {number} ratio  canvas px per css px */
export function drawWords(context, words, x, y, ratio) {
  context.save();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = "700 14px system-ui, sans-serif";
  context.lineJoin = "round";
  context.lineWidth = 4;
  context.strokeStyle = "#fff";
  context.fillStyle = "#17191b";
  const width = context.measureText(words).width;
  const [left, base] = [Math.max(2, Math.min(x, context.canvas.width / ratio - width - 2)), Math.max(14, y)];
  context.strokeText(words, left, base);
  context.fillText(words, left, base);
  context.restore();
}

/** The part of the image that the canvas shows.
 * @param {CanvasRenderingContext2D} context
 * @returns {Box} */
function visibleBox(context) {
  const inverse = context.getTransform().inverse();
  const { width, height } = context.canvas;
  const corners = [[0, 0], [width, 0], [0, height], [width, height]].map(([x, y]) => new DOMPoint(x, y).matrixTransform(inverse));
  const [x, y] = [corners.map((corner) => corner.x), corners.map((corner) => corner.y)];
  return [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)];
}

/** @param {Box} a
 * @param {Box} b */
function overlap(a, b) {
  return a[0] <= b[2] && a[2] >= b[0] && a[1] <= b[3] && a[3] >= b[1];
}

/** isPointInPath sees a path as the context's transform places it: this one has none.
 * @type {CanvasRenderingContext2D | null} */
let probe = null;

/** The smallest region that holds a place of the image.
 * @param {Region[]} regions
 * @param {number} x
 * @param {number} y */
export function regionAt(regions, x, y) {
  probe ??= pen(document.createElement("canvas"));
  /** @type {Region | null} */
  let found = null;
  for (const region of regions) {
    const [left, top, right, bottom] = region.box;
    if (x < left || y < top || x > right || y > bottom) continue;
    if (!probe.isPointInPath(pathOf(region.geometry), x, y, "evenodd")) continue;
    if (!found || (region.area ?? 0) < (found.area ?? 0)) found = region;
  }
  return found;
}
