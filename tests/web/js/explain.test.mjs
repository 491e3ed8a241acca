import assert from "node:assert/strict";
import { test } from "node:test";
import { figuresAt, namedThresholds, outlineRules, twoThresholds } from "../../../wsi_pipeline/web/static/explain.js";

const REFINED = { threshold: 0.2784, neighbor_threshold: 0.2784, operating_points: { balanced: 0.3714, high_sensitivity: 0.1371 } };
const RULES = { threshold: 0.278, low_threshold: 0.223, smoothing_cells: 0.4, min_area_mm2: 0 };

test("on a refined map the thresholds of a patch are named as such", () => {
  assert.deepEqual(namedThresholds(REFINED).map(({ name }) => name), ["with neighbors", "patch, balanced", "patch, high sensitivity"]);
  assert.match(twoThresholds(REFINED), /0\.278 .* neighbors; 0\.371 is for a patch alone/);
});

test("results that stand at a threshold without a name have a button of their own", () => {
  assert.deepEqual(namedThresholds({ ...REFINED, threshold: 0.6 })[0], { name: "results", value: 0.6 });
  assert.equal(twoThresholds({ neighbor_threshold: null, operating_points: { balanced: 0.5 } }), null);
});

test("it is said why an outline encloses cells below the threshold, and only where it does", () => {
  assert.match(outlineRules(RULES), /reaches 0\.278 and goes on over touching cells down to 0\.223: so it may enclose/);
  const plain = outlineRules({ ...RULES, low_threshold: 0.278, smoothing_cells: 0 });
  assert.doesNotMatch(plain, /enclose/);
  assert.match(outlineRules({ ...RULES, min_area_mm2: 0.16 }), /below 0\.16 mm² are left out/);
  assert.equal(outlineRules(null), null);
});

test("figures say which threshold they belong to", () => {
  assert.equal(figuresAt(0.6, 0.6), "At p ≥ 0.600, as the results stand");
  assert.equal(figuresAt(0.4, 0.6), "At p ≥ 0.400; the results on disk stand at 0.600");
});
