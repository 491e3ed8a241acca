// @ts-check
/** Where the view is: scale bar, zoom, the address that leads back there. */

import { byId } from "./common.js";
import { magnification, showScale } from "./scale.js";

/** @typedef {import("./view.js").SlideView} SlideView */

/** @param {SlideView} view */
export function showPlace(view) {
  const um = view.umPerPixel;
  showScale(byId("scale"), um);
  byId("zoom").hidden = false;
  byId("zoom").textContent = um ? `${um.toPrecision(3)} µm/px · ${magnification(um)}` : `${(100 * view.pixelsPerImagePx).toPrecision(3)} %`;
}

/** @param {SlideView} view */
export function keepPlace(view) {
  const { x, y } = view.center;
  const turned = view.viewer.viewport.getRotation() % 360;
  const parts = [["x", x.toFixed(0)], ["y", y.toFixed(0)], ["z", (1 / view.pixelsPerImagePx).toPrecision(4)]];
  if (turned) parts.push(["r", String(turned)]);
  history.replaceState(null, "", `#${parts.map(([name, value]) => `${name}=${value}`).join("&")}`);
}

/** The place that an address names; null where it names none.
 * @param {string} hash */
export function placeOf(hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const [x, y, z] = ["x", "y", "z"].map((name) => Number.parseFloat(words.get(name) ?? ""));
  if (![x, y, z].every(Number.isFinite) || z <= 0) return null;
  return { x, y, pixelsPerImagePx: 1 / z, rotation: Number.parseFloat(words.get("r") ?? "0") || 0 };
}

/** @param {SlideView} view */
export function goToHash(view) {
  const place = placeOf(location.hash);
  if (place) view.moveTo(place, true);
}
