import assert from "node:assert/strict";
import { test } from "node:test";
import { smoothed } from "../../../wsi_pipeline/web/static/smooth.js";

const grid = { rows: 1, cols: 3, origin: [0, 0], step: [10, 10], cell_mm2: 0.16, layers: [], mask: null };
const near = (found, expected) => assert.ok(Math.abs(found - expected) < 1e-3, `${found}, not ${expected}`);

test("between the centers of two cells the logit runs in a straight line, and stays beyond the last", () => {
  const found = smoothed(new Float32Array([0.1, 0.9, 0.9]), grid, { factor: 4, mask: null, isProbability: true });
  assert.equal(found.length, 4 * 12);
  near(found[0], 0.1);
  near(found[3] + found[4], 1); /* on either side of the middle, where it is one half */
  near(found[11], 0.9);
});

test("a cell without a value has none anywhere, and takes no part in its neighbors", () => {
  const found = smoothed(new Float32Array([0.2, NaN, 0.9]), grid, { factor: 2, mask: null, isProbability: true });
  assert.ok(Number.isNaN(found[2]) && Number.isNaN(found[3]));
  near(found[1], 0.2);
  near(found[4], 0.9);
});

test("nothing is shown off the tissue", () => {
  const masked = { ...grid, mask: { rows: 1, cols: 2, origin: [0, 0], step: [15, 10] } };
  const found = smoothed(new Float32Array([0.2, 0.3, 0.9]), masked, { factor: 2, mask: new Uint8Array([1, 0]), isProbability: true });
  assert.deepEqual([...found.slice(0, 6)].map(Number.isNaN), [false, false, false, true, true, true]);
});

test("other layers than probabilities are interpolated as they are", () => {
  const found = smoothed(new Float32Array([0, 0.4, 0.4]), grid, { factor: 2, mask: null, isProbability: false });
  near(found[1], 0.1);
  near(found[2], 0.3);
});
