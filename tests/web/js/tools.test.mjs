import assert from "node:assert/strict";
import { test } from "node:test";
import { DrawTool } from "../../../wsi_pipeline/web/static/draw.js";
import { cellAt, cellOpacity } from "../../../wsi_pipeline/web/static/heatmap.js";

/** A view of one screen px an image px. */
const view = { pixelsPerImagePx: 1, center: { x: 50, y: 50 }, paint() {} };

function drawing() {
  const told = { outlines: [], stopped: 0 };
  const tool = new DrawTool(view, (outline) => told.outlines.push(outline), () => (told.stopped += 1));
  tool.start();
  return { tool, told };
}

test("a line drawn in one go closes when it is let go", () => {
  const { tool, told } = drawing();
  tool.down([0, 0]);
  for (const at of [[50, 0], [100, 0], [100, 50], [100, 100], [0, 100]]) tool.move(at);
  assert.ok(tool.isUnfinished);
  tool.up();
  assert.deepEqual(told.outlines, [[[0, 0], [100, 0], [100, 100], [0, 100]]]);
  assert.equal(told.stopped, 1);
  assert.equal(tool.isUnfinished, false);
});

test("clicked corners stay open until one is put on the first", () => {
  const { tool, told } = drawing();
  for (const at of [[0, 0], [100, 0], [100, 100]]) {
    tool.down(at);
    tool.up();
  }
  assert.deepEqual(told.outlines, []);
  tool.down([3, 3]);
  assert.deepEqual(told.outlines, [[[0, 0], [100, 0], [100, 100]]]);
});

test("the last corner is taken back and brought again", () => {
  const { tool } = drawing();
  tool.down([0, 0]);
  tool.up();
  assert.ok(tool.undo());
  assert.equal(tool.isUnfinished, false);
  assert.ok(tool.redo());
  assert.ok(tool.isUnfinished);
  assert.equal(tool.redo(), false);
});

test("the second click of a double click is no corner, and less than a triangle is no outline", () => {
  const { tool, told } = drawing();
  for (const at of [[0, 0], [100, 0], [100, 1]]) {
    tool.down(at);
    tool.up();
  }
  tool.twice();
  assert.deepEqual(told, { outlines: [], stopped: 1 });
});

test("cells count from the grid's origin, and there is none outside", () => {
  const grid = { origin: [100, 0], step: [50, 50], cols: 2, rows: 3 };
  assert.equal(cellAt(grid, 149, 149), 4);
  assert.equal(cellAt(grid, 99, 0), -1);
  assert.equal(cellAt(grid, 200, 0), -1);
});

test("below the threshold a cell is hidden or faint, never full", () => {
  assert.equal(cellOpacity(0.5, 0.5, true), 1);
  assert.equal(cellOpacity(0.4, 0.5, true), 0);
  assert.ok(cellOpacity(0.4, 0.5, false) < 0.3);
  assert.equal(cellOpacity(0, 0, true), 1);
});
