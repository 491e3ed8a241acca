// @ts-check
/** Arithmetic on outlines: rings of corners in image px, the last joined to the first. */

/** @typedef {import("../types").Point} Point */
/** @typedef {import("../types").Ring} Ring */

/** @param {Point} a
 * @param {Point} b */
export const distance = (a, b) => Math.hypot(b[0] - a[0], b[1] - a[1]);

/** @param {Ring} ring
 * @param {Point | null} mpp  µm per image px
 * @returns {number | null} mm²; null where the scale is unknown */
export function areaMm2(ring, mpp) {
  const twice = ring.reduce((sum, [x, y], i) => {
    const [x2, y2] = ring[(i + 1) % ring.length];
    return sum + x * y2 - x2 * y;
  }, 0);
  return mpp ? (Math.abs(twice) / 2) * mpp[0] * mpp[1] * 1e-6 : null;
}

/** Leave out corners that lie within a tolerance of the line without them.
 *
 * Douglas & Peucker, "Algorithms for the reduction of the number of points", Cartographica 10(2),
 * 1973; on the ring cut at its first corner and at the one farthest from it.
 * @param {Ring} ring
 * @param {number} tolerance
 * @returns {Ring} */
export function simplified(ring, tolerance) {
  if (ring.length <= 3) return ring;
  let far = 1;
  ring.forEach((corner, i) => {
    if (distance(ring[0], corner) > distance(ring[0], ring[far])) far = i;
  });
  const keep = new Set([0, far]);
  const closed = [...ring, ring[0]];
  const spans = [[0, far], [far, ring.length]];
  while (spans.length) {
    const [from, to] = /** @type {number[]} */ (spans.pop());
    let [worst, most] = [-1, tolerance];
    for (let i = from + 1; i < to; i++) {
      const off = distanceToEdge(closed[i], closed[from], closed[to]).off;
      if (off > most) [worst, most] = [i, off];
    }
    if (worst < 0) continue;
    keep.add(worst);
    spans.push([from, worst], [worst, to]);
  }
  const kept = ring.filter((_, i) => keep.has(i));
  return kept.length >= 3 ? kept : ring;
}

/** @param {Point} point
 * @param {Point} a
 * @param {Point} b
 * @returns {{ off: number, at: Point }} the distance from an edge and its nearest point */
export function distanceToEdge(point, a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const length2 = dx * dx + dy * dy;
  const along = length2 ? ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / length2 : 0;
  const t = Math.min(1, Math.max(0, along));
  /** @type {Point} */
  const at = [a[0] + t * dx, a[1] + t * dy];
  return { off: distance(point, at), at };
}

/** @param {Ring} ring
 * @param {Point} point
 * @param {number} within
 * @returns {number} index of the nearest corner, -1 where none is so near */
export function nearestCorner(ring, point, within) {
  let [found, least] = [-1, within];
  ring.forEach((corner, i) => {
    const off = distance(corner, point);
    if (off <= least) [found, least] = [i, off];
  });
  return found;
}

/** @param {Ring} ring
 * @param {Point} point
 * @param {number} within
 * @returns {{ index: number, at: Point } | null} where a corner would be added */
export function nearestEdge(ring, point, within) {
  let found = null;
  let least = within;
  for (let i = 0; i < ring.length; i++) {
    const { off, at } = distanceToEdge(point, ring[i], ring[(i + 1) % ring.length]);
    if (off > least) continue;
    least = off;
    found = { index: i + 1, at };
  }
  return found;
}

/** @param {Ring} ring
 * @param {number} index
 * @param {Point} to
 * @returns {Ring} */
export const withMoved = (ring, index, to) => ring.map((corner, i) => (i === index ? to : corner));

/** @param {Ring} ring
 * @param {number} index
 * @param {Point} corner
 * @returns {Ring} */
export const withAdded = (ring, index, corner) => [...ring.slice(0, index), corner, ...ring.slice(index)];

/** A triangle stays as it is: less would enclose nothing.
 * @param {Ring} ring
 * @param {number} index
 * @returns {Ring} */
export const withoutCorner = (ring, index) => (ring.length > 3 ? ring.filter((_, i) => i !== index) : ring);

/** The one ring of an outline that can be edited; null where it has holes or several parts.
 * @param {import("../types").Geometry} geometry
 * @returns {Ring | null} */
export function onlyRing({ type, coordinates }) {
  const polygons = type === "Polygon" ? [coordinates] : coordinates;
  if (polygons.length !== 1 || polygons[0].length !== 1) return null;
  return polygons[0][0].slice(0, -1).map((/** @type {Point} */ [x, y]) => [x, y]);
}

/** @param {Ring} ring
 * @returns {import("../types").Geometry} */
export const polygonOf = (ring) => ({ type: "Polygon", coordinates: [[...ring, ring[0]]] });
