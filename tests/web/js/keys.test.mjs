import assert from "node:assert/strict";
import { test } from "node:test";
import { CTRL_KEYS, KEYS, shortcutOf } from "../../../wsi_pipeline/web/static/keys.js";

const press = (key, more = {}) => shortcutOf({ key, ctrlKey: false, metaKey: false, altKey: false, shiftKey: false, ...more });

test("brackets are taken as German, French and Mac keyboards send them", () => {
  assert.equal(press("[")?.action, "opacity");
  assert.equal(press("[", { ctrlKey: true, altKey: true })?.argument, -1, "AltGr on Windows");
  assert.equal(press("]", { altKey: true })?.argument, 1, "Option on a Mac, AltGr on Linux");
});

test("opacity has keys that need no AltGr anywhere", () => {
  assert.equal(press("j")?.argument, -1);
  assert.equal(press("k")?.argument, 1);
});

test("letters with Alt belong to the browser's menus, letters with Ctrl to undo, redo and save", () => {
  assert.equal(press("d", { altKey: true }), undefined);
  assert.equal(press("q", { ctrlKey: true, altKey: true }), undefined);
  assert.equal(press("z", { ctrlKey: true })?.action, "undo");
  assert.equal(press("y", { ctrlKey: true })?.action, "redo");
  assert.equal(press("Z", { metaKey: true, shiftKey: true })?.action, "redo");
  assert.equal(press("r", { ctrlKey: true }), undefined, "reload stays the browser's");
});

test("no key has two meanings", () => {
  for (const table of [KEYS, CTRL_KEYS]) {
    const keys = table.flatMap((shortcut) => shortcut.keys);
    assert.equal(new Set(keys).size, keys.length);
  }
});
