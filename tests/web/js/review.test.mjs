import assert from "node:assert/strict";
import { test } from "node:test";
import { regionsOf } from "../../../wsi_pipeline/web/static/regions.js";
import { Review } from "../../../wsi_pipeline/web/static/review.js";

const RING = [[0, 0], [1000, 0], [1000, 1000], [0, 1000]];
const geometry = { type: "Polygon", coordinates: [[...RING, RING[0]]] };
const FOUND = { id: "f", kind: "detected", threshold: 0.4, geometry, area: 2, mean: 0.7, max: 0.9 };
const feature = (id, name) => ({ id, geometry, properties: { name, measurements: { "Area mm^2": 1 } } });
const item = (more) => ({ decision: "accepted", label: "IDC", comment: "", geometry, measurements: { "Area mm^2": 1 }, ...more });

function reviewed(items = {}, answer = null) {
  const review = new Review("s", answer);
  review.saved = { revision: 1, items, history: [] };
  return review;
}

test("undo takes decisions, outlines and removals back one by one, redo brings them again", () => {
  const review = reviewed();
  review.change(FOUND, { decision: "rejected" });
  review.draw("d", RING);
  review.remove("d");
  assert.equal(review.pending.has("d"), false);
  assert.ok(review.undo());
  assert.deepEqual(review.pending.get("d").outline, RING);
  assert.ok(review.undo() && review.undo());
  assert.equal(review.isDirty, false);
  assert.equal(review.undo(), false, "nothing is left");
  assert.ok(review.redo() && review.redo() && review.redo());
  assert.equal(review.redo(), false);
  assert.equal(review.wordsOf("f").decision, "rejected");
});

test("a comment that is typed is one step, not one a letter", () => {
  const review = reviewed();
  for (const comment of ["n", "no", "not"]) review.change(FOUND, { comment });
  review.undo();
  assert.equal(review.wordsOf("f").comment, "");
});

test("a new change after an undo ends what could be redone", () => {
  const review = reviewed();
  review.change(FOUND, { decision: "rejected" });
  review.undo();
  review.change(FOUND, { decision: "accepted" });
  assert.equal(review.redo(), false);
});

test("a decision is sent with the threshold that it was made at", () => {
  const review = reviewed();
  review.change(FOUND, { decision: "accepted" });
  assert.equal(review.pending.get("f").threshold, 0.4);
});

test("a saved outline keeps its words when it gets another shape", () => {
  const review = reviewed({ d: item({ kind: "drawn", comment: "rim" }) });
  review.reshape("d", RING);
  assert.deepEqual(review.pending.get("d"), { id: "d", decision: "accepted", label: "IDC", comment: "rim", outline: RING });
});

test("what is changed while a save is under way is not lost", async () => {
  let answer;
  const review = reviewed({}, () => new Promise((resolve) => (answer = resolve)));
  review.change(FOUND, { decision: "accepted" });
  const saving = review.save("Dr. A");
  review.change(FOUND, { comment: "later" });
  answer({ revision: 2, items: { f: item({ kind: "detected" }) }, history: [] });
  await saving;
  assert.equal(review.pending.get("f").comment, "later");
});

test("a save that fails leaves everything pending", async () => {
  const review = reviewed({}, async () => { throw new Error("409"); });
  review.change(FOUND, { decision: "accepted" });
  await assert.rejects(review.save("Dr. A"));
  assert.ok(review.isDirty);
});

test("decisions of another threshold are shown as such", () => {
  const review = reviewed({
    old: item({ kind: "detected", threshold: 0.6 }),
    ancient: item({ kind: "detected", threshold: null }),
    same: item({ kind: "detected", threshold: 0.6 }),
  });
  const shown = Object.fromEntries(regionsOf([feature("same", "IDC 1")], review, 0.278, [1, 1]).map((region) => [region.id, region]));
  assert.equal(shown.old.name, "IDC at p ≥ 0.600");
  assert.equal(shown.ancient.name, "IDC at another threshold");
  assert.ok(shown.old.isElsewhere && shown.ancient.isElsewhere && !shown.same.isElsewhere);
  assert.equal(shown.same.decidedAt, 0.6);
  assert.equal(shown.same.number, "1");
});

test("drawn outlines are numbered, the removed one is not shown, the new shape is", () => {
  const review = reviewed({ a: item({ kind: "drawn" }), b: item({ kind: "drawn" }) });
  review.draw("c", RING.map(([x, y]) => [2 * x, 2 * y]));
  review.remove("a");
  review.reshape("b", RING.slice(0, 3));
  const shown = regionsOf([], review, 0.5, [1, 1]);
  assert.deepEqual(shown.map(({ number, area }) => [number, area]), [["A3", 4], ["A2", 0.5]]);
});

test("a decision that is not saved yet stays in the list at another threshold", () => {
  const review = reviewed();
  review.change(FOUND, { decision: "rejected" });
  const [shown, ...more] = regionsOf([], review, 0.8, [1, 1]);
  assert.deepEqual(more, []);
  assert.deepEqual([shown.id, shown.name, shown.area, shown.isElsewhere], ["f", "IDC at p ≥ 0.400", 2, true]);
  review.change({ ...shown }, { comment: "still" });
  assert.equal(review.pending.get("f").threshold, 0.4, "that of the decision");
  review.undo();
  review.undo();
  assert.deepEqual(regionsOf([], review, 0.8, [1, 1]), []);
});
