/** Keyboard shortcuts: one table, from which the help is made too. */

import { byId, el } from "./common.js";

/** [keys, words, name of the action, argument] */
export const KEYS = [
  [["+", "="], "Zoom in", "zoom", 1.4],
  [["-", "_"], "Zoom out", "zoom", 1 / 1.4],
  [["0"], "Whole slide", "home"],
  [["1"], "Full resolution", "native"],
  [["ArrowLeft"], "Move left", "pan", [-0.12, 0]],
  [["ArrowRight"], "Move right", "pan", [0.12, 0]],
  [["ArrowUp"], "Move up", "pan", [0, -0.12]],
  [["ArrowDown"], "Move down", "pan", [0, 0.12]],
  [["r"], "Rotate right", "rotate", 90],
  [["R"], "Rotate left", "rotate", -90],
  [["g"], "Full screen", "full"],
  [["o"], "Map on, off", "overlay"],
  [["f"], "Flicker", "flicker"],
  [["s"], "Side by side", "beside"],
  [["l"], "Outlines on, off", "outlines"],
  [["[", "]"], "Opacity down, up", "opacity"],
  [[",", "."], "Threshold down, up", "threshold"],
  [["n"], "Next region", "step", 1],
  [["p"], "Previous region", "step", -1],
  [["a"], "Accept the region", "decide", "accepted"],
  [["x"], "Reject it", "decide", "rejected"],
  [["u"], "Leave it undecided", "decide", "undecided"],
  [["c"], "Comment on it", "comment"],
  [["d"], "Draw a region", "draw"],
  [[">"], "Next slide", "slide", 1],
  [["<"], "Previous slide", "slide", -1],
  [["?"], "This help", "help"],
];
const SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", "-": "−", _: null, "=": null };

/** Run the action of a key unless somebody is typing; Ctrl+S saves everywhere. */
export function wireKeys(actions) {
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault();
      actions.save();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const { target } = event;
    if (target.matches("textarea, select, input:not([type=checkbox], [type=range])")) return;
    if (target.matches("[type=range]") && event.key.startsWith("Arrow")) return;
    const found = KEYS.find(([keys]) => keys.includes(event.key));
    if (!found) return;
    event.preventDefault();
    actions[found[2]](found[3] ?? found[0].indexOf(event.key));
  });
}

export function showHelp() {
  const rows = [...KEYS.map(([keys, words]) => [keys, words]), [["Ctrl+S"], "Save the review"]];
  const row = ([keys, words]) => {
    const shown = keys.map((key) => (key in SIGNS ? SIGNS[key] : key)).filter(Boolean);
    return el("tr", {}, el("td", {}, shown.flatMap((key) => [el("kbd", {}, key), " "])), el("td", {}, words));
  };
  const half = Math.ceil(rows.length / 2);
  byId("keys").replaceChildren(
    el("table", {}, el("tbody", {}, rows.slice(0, half).map(row))),
    el("table", {}, el("tbody", {}, rows.slice(half).map(row))),
  );
  byId("help").showModal();
}
