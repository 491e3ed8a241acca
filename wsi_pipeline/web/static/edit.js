// @ts-check
/** Editing a drawn outline: corners are moved, added on an edge, and taken away. */

import { isEditable } from "./regions.js";
import { nearestCorner, nearestEdge, onlyRing, withAdded, withMoved, withoutCorner } from "./shapes.js";
import { drawHandle, strokeLine } from "./tools.js";

/** @typedef {import("../types").Point} Point */
/** @typedef {import("./tools.js").ToolPart} ToolPart */
/** @typedef {import("../types").Ring} Ring */

const NEAR_PX = 10; /* a press this near a corner takes it, this near an edge adds one */
const STEP_PX = 4; /* an arrow moves the chosen corner so far on the screen */

/** @implements {ToolPart} */
export class EditTool {
  words =
    "Drag a corner to move it, drag an edge to add one, Delete takes the chosen one away; Ctrl+Z undoes, Enter or Esc ends. " +
    "By keys: n and p choose a corner, the arrows move it, i adds one after it.";
  isUnfinished = false; /* each step is noted at once; unsaved changes are asked about anyway */
  /** @type {Ring} */
  #ring = [];
  #id = "";
  #chosen = -1;
  /** @type {"corner" | "slide" | null} */
  #drags = null;

  /**
   * @param {import("./view.js").SlideView} view
   * @param {import("./state.js").ViewerState} state
   * @param {(id: string, ring: Ring) => void} reshaped
   * @param {() => void} ended
   */
  constructor(view, state, reshaped, ended) {
    this.view = view;
    this.state = state;
    this.reshaped = reshaped;
    const arrow = (/** @type {number} */ right, /** @type {number} */ down) => () => this.#nudge(right, down);
    this.keys = {
      Enter: ended,
      Delete: () => this.#takeAway(),
      Backspace: () => this.#takeAway(),
      n: () => this.#choose(1),
      p: () => this.#choose(-1),
      i: () => this.#addAfter(),
      ArrowLeft: arrow(-STEP_PX, 0),
      ArrowRight: arrow(STEP_PX, 0),
      ArrowUp: arrow(0, -STEP_PX),
      ArrowDown: arrow(0, STEP_PX),
    };
    state.on(["regions", "selectedId"], () => {
      if (state.now.tool !== "edit") return;
      if (state.now.selectedId !== this.#id || !this.#read()) state.set({ tool: null });
    });
  }

  start() {
    this.#id = this.state.now.selectedId ?? "";
    this.#chosen = -1;
    return this.#read();
  }

  stop() {
    this.#ring = [];
  }

  /** Take the outline over as it is now, e.g. after an undo. */
  #read() {
    const region = this.state.selected;
    if (!isEditable(region) || !region) return false;
    this.#ring = onlyRing(region.geometry) ?? [];
    this.#chosen = Math.min(this.#chosen, this.#ring.length - 1);
    return true;
  }

  /** @param {Point} at */
  down(at) {
    const near = NEAR_PX / this.view.pixelsPerImagePx;
    this.#chosen = nearestCorner(this.#ring, at, near);
    const edge = this.#chosen < 0 ? nearestEdge(this.#ring, at, near) : null;
    if (edge) {
      this.#ring = withAdded(this.#ring, edge.index, edge.at);
      this.#chosen = edge.index;
    }
    this.#drags = this.#chosen >= 0 ? "corner" : "slide";
    this.view.paint();
  }

  /** @param {Point} at
   * @param {PointerEvent} event */
  move(at, event) {
    if (this.#drags === "slide") this.view.panByPixels(-event.movementX, -event.movementY, true);
    if (this.#drags !== "corner") return;
    this.#ring = withMoved(this.#ring, this.#chosen, at);
    this.view.paint();
  }

  up() {
    if (this.#drags === "corner") this.#note(this.#ring);
    this.#drags = null;
  }

  twice() {}

  undo() {
    return false; /* the steps are the review's */
  }

  redo() {
    return false;
  }

  /** @param {CanvasRenderingContext2D} context */
  paint(context) {
    const px = 1 / this.view.pixelsPerImagePx;
    strokeLine(context, this.#ring, px, true);
    this.#ring.forEach((corner, i) => drawHandle(context, corner, px, i === this.#chosen));
  }

  /** @param {Ring} ring */
  #note(ring) {
    this.#ring = ring;
    this.reshaped(this.#id, ring.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]));
  }

  #takeAway() {
    if (this.#chosen < 0 || this.#ring.length <= 3) return;
    const ring = withoutCorner(this.#ring, this.#chosen);
    this.#chosen = Math.min(this.#chosen, ring.length - 1);
    this.#note(ring);
  }

  /** @param {number} by */
  #choose(by) {
    const n = this.#ring.length;
    this.#chosen = this.#chosen < 0 ? 0 : (this.#chosen + by + n) % n;
    this.view.paint();
  }

  #addAfter() {
    if (this.#chosen < 0) return;
    const [a, b] = [this.#ring[this.#chosen], this.#ring[(this.#chosen + 1) % this.#ring.length]];
    this.#chosen += 1;
    this.#note(withAdded(this.#ring, this.#chosen, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]));
  }

  /** @param {number} right
   * @param {number} down */
  #nudge(right, down) {
    if (this.#chosen < 0) return;
    const { a, b, c, d } = this.view.transform().inverse();
    const [x, y] = this.#ring[this.#chosen];
    this.#note(withMoved(this.#ring, this.#chosen, [x + a * right + c * down, y + b * right + d * down]));
  }
}
