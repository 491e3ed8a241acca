import assert from "node:assert/strict";
import { test } from "node:test";
import { Latest } from "../../../wsi_pipeline/web/static/latest.js";
import { ViewerState } from "../../../wsi_pipeline/web/static/state.js";

function storage(first = {}) {
  const kept = new Map(Object.entries(first));
  return { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value), kept };
}

test("who shows a part of the state hears of its changes only, and of none that changes nothing", () => {
  const state = new ViewerState(storage());
  const heard = [];
  state.on(["threshold"], () => heard.push(state.now.threshold));
  state.set({ opacity: 0.3 });
  state.set({ threshold: 0.7 });
  state.set({ threshold: 0.7 });
  assert.deepEqual(heard, [0.7]);
});

test("what is read from the state cannot be changed behind its back", () => {
  const state = new ViewerState(storage());
  assert.throws(() => (state.now.opacity = 1), TypeError);
});

test("opacity is remembered, threshold and colors are not", () => {
  const kept = storage();
  new ViewerState(kept).set({ opacity: 0.25, threshold: 0.9, colormap: "plasma", hatch: false });
  const again = new ViewerState(kept).now;
  assert.equal(again.opacity, 0.25);
  assert.equal(again.hatch, false);
  assert.equal(again.threshold, 0.5);
  assert.equal(again.colormap, "viridis");
});

for (const [what, text] of [["no JSON", "{"], ["another type", '{"opacity": "much", "hatch": 1}'], ["null", "null"]]) {
  test(`a memory that holds ${what} is passed over`, () => {
    assert.equal(new ViewerState(storage({ view: text })).now.opacity, 0.6);
  });
}

test("a slow answer to an abandoned question never wins", async () => {
  const latest = new Latest();
  const delivered = [];
  let answerSlowly;
  const slow = latest.ask(() => new Promise((resolve) => (answerSlowly = resolve)), (a) => delivered.push(a), assert.fail);
  await latest.ask(async () => "quick", (a) => delivered.push(a), assert.fail);
  answerSlowly("slow");
  await slow;
  assert.deepEqual(delivered, ["quick"]);
});

test("the failure of an abandoned question is not shown, that of the last one is", async () => {
  const latest = new Latest();
  const failed = [];
  let fail;
  const slow = latest.ask((signal) => new Promise((_, reject) => (fail = () => reject(new Error(String(signal.aborted))))), assert.fail, (e) => failed.push(e));
  await latest.ask(async () => { throw new Error("last"); }, assert.fail, (e) => failed.push(e.message));
  fail();
  await slow;
  assert.deepEqual(failed, ["last"]);
});
