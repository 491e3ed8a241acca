// @ts-check
/** Keyboard shortcuts: one table, from which the help is made too. */

import { byId, el } from "./common.js";

/** @typedef {{ keys: string[], words: string, action: string, argument?: unknown, shown?: string[] }} Shortcut */

/** What a keyboard event says of itself.
 * @typedef {Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey">} Press */

/** Letters, digits and signs that German, French and Mac keyboards have without AltGr; [ and ] also.
 * @type {Shortcut[]} */
export const KEYS = [
  { keys: ["+", "="], words: "Zoom in", action: "zoom", argument: 1.4, shown: ["+"] },
  { keys: ["-", "_"], words: "Zoom out", action: "zoom", argument: 1 / 1.4, shown: ["−"] },
  { keys: ["0"], words: "Whole slide", action: "home" },
  { keys: ["1"], words: "Full resolution", action: "native" },
  { keys: ["ArrowLeft"], words: "Move left", action: "pan", argument: [-0.12, 0], shown: ["←"] },
  { keys: ["ArrowRight"], words: "Move right", action: "pan", argument: [0.12, 0], shown: ["→"] },
  { keys: ["ArrowUp"], words: "Move up", action: "pan", argument: [0, -0.12], shown: ["↑"] },
  { keys: ["ArrowDown"], words: "Move down", action: "pan", argument: [0, 0.12], shown: ["↓"] },
  { keys: ["r"], words: "Rotate right", action: "rotate", argument: 90 },
  { keys: ["R"], words: "Rotate left", action: "rotate", argument: -90 },
  { keys: ["g"], words: "Full screen", action: "full" },
  { keys: ["o"], words: "Map on, off", action: "overlay" },
  { keys: ["f"], words: "Flicker", action: "flicker" },
  { keys: ["s"], words: "Side by side", action: "beside" },
  { keys: ["l"], words: "Outlines on, off", action: "outlines" },
  { keys: ["j", "["], words: "Lower opacity", action: "opacity", argument: -1 },
  { keys: ["k", "]"], words: "Higher opacity", action: "opacity", argument: 1 },
  { keys: [","], words: "Lower threshold", action: "threshold", argument: -1 },
  { keys: ["."], words: "Higher threshold", action: "threshold", argument: 1 },
  { keys: ["n"], words: "Next region", action: "step", argument: 1 },
  { keys: ["p"], words: "Previous region", action: "step", argument: -1 },
  { keys: ["a"], words: "Accept the region", action: "decide", argument: "accepted" },
  { keys: ["x"], words: "Reject it", action: "decide", argument: "rejected" },
  { keys: ["u"], words: "Leave it undecided", action: "decide", argument: "undecided" },
  { keys: ["c"], words: "Comment on it (Esc leaves)", action: "comment" },
  { keys: ["d"], words: "Draw a region", action: "draw" },
  { keys: ["e"], words: "Edit a drawn outline", action: "edit" },
  { keys: ["Delete", "Backspace"], words: "Remove a drawn outline", action: "remove", shown: ["Del"] },
  { keys: ["m"], words: "Measure a distance", action: "measure" },
  { keys: [">"], words: "Next slide", action: "slide", argument: 1 },
  { keys: ["<"], words: "Previous slide", action: "slide", argument: -1 },
  { keys: ["?"], words: "This help", action: "help" },
];

/** With Ctrl, or ⌘ on a Mac.
 * @type {Shortcut[]} */
export const CTRL_KEYS = [
  { keys: ["z"], words: "Undo", action: "undo" },
  { keys: ["y", "Z"], words: "Redo", action: "redo", shown: ["Ctrl+Y"] },
  { keys: ["s"], words: "Save the review", action: "save" },
];

/** The shortcut of a key press, if any. AltGr comes as Ctrl with Alt, a Mac's Option as Alt: with
 * them only signs count, as they are how some keyboards type "[".
 * @param {Press} press
 * @returns {Shortcut | undefined} */
export function shortcutOf({ key, ctrlKey, metaKey, altKey }) {
  if (altKey) return /^[^\p{L}\p{N}]$/u.test(key) ? KEYS.find(({ keys }) => keys.includes(key)) : undefined;
  const table = ctrlKey || metaKey ? CTRL_KEYS : KEYS;
  return table.find(({ keys }) => keys.includes(key));
}

const TYPED_INTO = "textarea, select, input:not([type=checkbox], [type=range])";

/** Run the action of a key unless somebody is typing. Esc leaves a field; Ctrl+S saves everywhere.
 * @param {Record<string, (argument?: any) => unknown>} actions */
export function wireKeys(actions) {
  addEventListener("keydown", (event) => {
    const target = event.target instanceof HTMLElement ? event.target : document.body;
    const isTyping = target.matches(TYPED_INTO);
    if (isTyping && event.key === "Escape") {
      target.blur();
      return;
    }
    const found = byId("help", HTMLDialogElement).open ? undefined : shortcutOf(event);
    if (!found || (isTyping && found.action !== "save")) return;
    if (target.matches("[type=range]") && event.key.startsWith("Arrow")) return;
    event.preventDefault();
    actions[found.action](found.argument);
  });
}

export function showHelp() {
  const ctrl = CTRL_KEYS.map((shortcut) => ({ ...shortcut, shown: shortcut.shown ?? [`Ctrl+${shortcut.keys[0].toUpperCase()}`] }));
  const rows = [...KEYS, ...ctrl].map(({ keys, words, shown }) =>
    el("tr", {}, el("td", {}, (shown ?? keys).flatMap((key) => [el("kbd", {}, key), " "])), el("td", {}, words)),
  );
  const half = Math.ceil(rows.length / 2);
  byId("keys").replaceChildren(
    el("table", {}, el("tbody", {}, rows.slice(0, half))),
    el("table", {}, el("tbody", {}, rows.slice(half))),
  );
  byId("help", HTMLDialogElement).showModal();
}
