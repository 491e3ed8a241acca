import assert from "node:assert/strict";
import { test } from "node:test";
import * as shapes from "../../../wsi_pipeline/web/static/shapes.js";

const SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]];

test("the area of a square of 1000 px at 0.5 by 0.25 µm/px", () => {
  const ring = SQUARE.map(([x, y]) => [100 * x, 100 * y]);
  assert.ok(Math.abs(shapes.areaMm2(ring, [0.5, 0.25]) - 0.125) < 1e-12);
  assert.equal(shapes.areaMm2(ring, null), null, "unknown is not zero");
});

test("corners on a straight line are left out, real ones stay", () => {
  const dense = [];
  SQUARE.forEach(([x, y], i) => {
    const [x2, y2] = SQUARE[(i + 1) % 4];
    for (let k = 0; k < 10; k++) dense.push([x + ((x2 - x) * k) / 10, y + ((y2 - y) * k) / 10]);
  });
  assert.deepEqual(shapes.simplified(dense, 0.5), SQUARE);
});

test("a thin ring does not collapse below a triangle", () => {
  const thin = [[0, 0], [5, 0.01], [10, 0], [5, -0.01]];
  assert.ok(shapes.simplified(thin, 1).length >= 3);
  assert.deepEqual(shapes.simplified(SQUARE.slice(0, 3), 100), SQUARE.slice(0, 3));
});

test("the nearest corner counts only within reach", () => {
  assert.equal(shapes.nearestCorner(SQUARE, [9, 1], 2), 1);
  assert.equal(shapes.nearestCorner(SQUARE, [5, 5], 2), -1);
});

test("a corner is added on the edge that was pressed, the closing edge too", () => {
  assert.deepEqual(shapes.nearestEdge(SQUARE, [5, 1], 2), { index: 1, at: [5, 0] });
  assert.deepEqual(shapes.nearestEdge(SQUARE, [1, 5], 2), { index: 4, at: [0, 5] });
  assert.equal(shapes.nearestEdge(SQUARE, [5, 5], 2), null);
});

test("moving, adding and taking away leave the ring that was given as it was", () => {
  assert.deepEqual(shapes.withMoved(SQUARE, 2, [12, 12])[2], [12, 12]);
  assert.equal(shapes.withAdded(SQUARE, 1, [5, 0]).length, 5);
  assert.equal(shapes.withoutCorner(SQUARE, 0).length, 3);
  assert.equal(shapes.withoutCorner(SQUARE.slice(0, 3), 0).length, 3, "a triangle stays");
  assert.deepEqual(SQUARE, [[0, 0], [10, 0], [10, 10], [0, 10]]);
});

test("outlines with holes or several parts cannot be edited", () => {
  const closed = [...SQUARE, SQUARE[0]];
  assert.deepEqual(shapes.onlyRing({ type: "Polygon", coordinates: [closed] }), SQUARE);
  assert.deepEqual(shapes.onlyRing(shapes.polygonOf(SQUARE)), SQUARE);
  assert.equal(shapes.onlyRing({ type: "Polygon", coordinates: [closed, closed] }), null);
  assert.equal(shapes.onlyRing({ type: "MultiPolygon", coordinates: [[closed], [closed]] }), null);
});
