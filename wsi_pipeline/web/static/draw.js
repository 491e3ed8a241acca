// @ts-check
/** Drawing an outline: clicks set corners, a line drawn in one go closes when it is let go; or by keys. */

import { distance, simplified } from "./shapes.js";
import { drawHandle, strokeLine } from "./tools.js";

/** @typedef {import("../types").Point} Point */
/** @typedef {import("./tools.js").ToolPart} ToolPart */

const CLOSE_PX = 12; /* a click this near the first corner closes the outline */
const SPACING_PX = 4; /* between the corners of a line drawn freehand */
const TOLERANCE_PX = 1; /* of a freehand outline when its corners are thinned out */
const SAME_PX = 2; /* the second click of two is no new corner */
const MOST_CORNERS = 4000;

/** @implements {ToolPart} */
export class DrawTool {
  words =
    "Draw around a region and let go: it closes. Or click its corners; Enter or a double click closes, Ctrl+Z takes one back, " +
    "Esc gives up. By keys: move with the arrows, Space sets a corner at the crosshair.";
  /** @type {Point[]} */
  #corners = [];
  /** @type {Point[]} */
  #undone = [];
  /** @type {Point | null} */
  #pointer = null;
  #isDragging = false;
  #isFreehand = false;

  /**
   * @param {import("./view.js").SlideView} view
   * @param {(outline: Point[]) => void} finished  called with image px, to a tenth
   * @param {() => void} stopped
   */
  constructor(view, finished, stopped) {
    this.view = view;
    this.finished = finished;
    this.stopped = stopped;
    this.keys = {
      Enter: () => this.#finish(),
      " ": () => this.#add([view.center.x, view.center.y]),
      Backspace: () => this.undo(),
      Delete: () => this.undo(),
    };
  }

  get isUnfinished() {
    return this.#corners.length > 0;
  }

  start() {
    this.#corners = [];
    this.#undone = [];
    this.#pointer = null;
    return true;
  }

  stop() {
    this.start();
  }

  /** @param {Point} at */
  down(at) {
    const [first, last] = [this.#corners[0], this.#corners.at(-1)];
    if (this.#corners.length >= 3 && this.#px(first, at) < CLOSE_PX) {
      this.#finish();
      return;
    }
    this.#isDragging = true;
    this.#isFreehand = !last;
    if (!last || this.#px(last, at) > SAME_PX) this.#add(at);
  }

  /** @param {Point} at */
  move(at) {
    this.#pointer = at;
    const last = this.#corners.at(-1);
    if (this.#isDragging && last && this.#px(last, at) >= SPACING_PX) this.#add(at);
    else this.view.paint();
  }

  up() {
    const isWhole = this.#isDragging && this.#isFreehand && this.#corners.length >= 3;
    this.#isDragging = false;
    if (isWhole) this.#finish(TOLERANCE_PX / this.view.pixelsPerImagePx);
  }

  twice() {
    this.#finish();
  }

  undo() {
    const last = this.#corners.pop();
    if (last) this.#undone.push(last);
    this.view.paint();
    return last !== undefined;
  }

  redo() {
    const next = this.#undone.pop();
    if (next) this.#corners.push(next);
    this.view.paint();
    return next !== undefined;
  }

  /** @param {CanvasRenderingContext2D} context */
  paint(context) {
    if (!this.#corners.length) return;
    const px = 1 / this.view.pixelsPerImagePx;
    const ends = this.#pointer && !this.#isDragging ? [...this.#corners, this.#pointer] : this.#corners;
    strokeLine(context, ends, px);
    drawHandle(context, this.#corners[0], px);
  }

  /** @param {Point} at */
  #add(at) {
    if (this.#corners.length < MOST_CORNERS) this.#corners.push(at);
    this.#undone = [];
    this.view.paint();
  }

  #finish(tolerance = 0) {
    const corners = tolerance ? simplified(this.#corners, tolerance) : this.#corners;
    this.start();
    if (corners.length >= 3) this.finished(corners.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]));
    this.stopped();
  }

  /** @param {Point} a
   * @param {Point} b */
  #px(a, b) {
    return distance(a, b) * this.view.pixelsPerImagePx;
  }
}
