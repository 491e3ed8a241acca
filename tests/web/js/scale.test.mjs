import assert from "node:assert/strict";
import { test } from "node:test";
import { placeOf } from "../../../wsi_pipeline/web/static/place.js";
import { measured } from "../../../wsi_pipeline/web/static/ruler.js";
import { lengthLabel, magnification, niceLength, tintShare } from "../../../wsi_pipeline/web/static/scale.js";

test("0.5 µm/px is ×20, 0.25 is ×40, 8 is ×1.3", () => {
  assert.deepEqual([0.5, 0.25, 1, 8].map(magnification), ["×20", "×40", "×10", "×1.3"]);
});

test("lengths are 1, 2 or 5 times a power of ten and never longer than asked", () => {
  assert.deepEqual([1, 7.3, 4.9, 1999.99, 2000].map(niceLength), [1, 5, 2, 1000, 2000]);
  assert.deepEqual([lengthLabel(500), lengthLabel(2000)], ["500 µm", "2 mm"]);
});

test("the map fades from 2 µm/px inwards to a fifth at ×20, and not where the scale is unknown", () => {
  assert.deepEqual([8, 2, 0.5, 0.1].map(tintShare), [1, 1, 0.2, 0.2]);
  assert.equal(tintShare(null), 1);
  assert.ok(tintShare(1) > 0.2 && tintShare(1) < 1);
});

test("a distance counts each direction at its own scale; in px where there is none", () => {
  assert.equal(measured([0, 0], [300, 400], [1, 1]), "500 µm");
  assert.equal(measured([0, 0], [300, 400], [2, 0.5]), "632 µm");
  assert.equal(measured([0, 0], [3000, 4000], [0.5, 0.5]), "2.5 mm");
  assert.equal(measured([0, 0], [3, 4], null), "5 px");
});

test("an address that names no place leads nowhere", () => {
  assert.deepEqual(placeOf("#x=10&y=20&z=2&r=90"), { x: 10, y: 20, pixelsPerImagePx: 0.5, rotation: 90 });
  for (const hash of ["", "#x=words&y=1&z=1", "#x=1&y=1&z=-1", "#x=1&y=1&z=0"]) assert.equal(placeOf(hash), null);
});
