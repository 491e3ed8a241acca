// @ts-check
/** Measuring a distance on the slide: drag from one place to another; or Space at both by keys. */

import { drawWords } from "./regions.js";
import { lengthLabel } from "./scale.js";
import { drawHandle, strokeLine } from "./tools.js";

/** @typedef {import("../types").Point} Point */
/** @typedef {import("./tools.js").ToolPart} ToolPart */

/** The distance of two places of the image.
 * @param {Point} from
 * @param {Point} to
 * @param {Point | null} mpp  µm per image px
 * @returns {string} with its unit; in px where the scale is unknown */
export function measured(from, to, mpp) {
  const [right, down] = [to[0] - from[0], to[1] - from[1]];
  if (!mpp) return `${Math.round(Math.hypot(right, down))} px`;
  return lengthLabel(Math.hypot(right * mpp[0], down * mpp[1]), 3);
}

/** @implements {ToolPart} */
export class RulerTool {
  words = "Drag from one place to another; Esc ends. By keys: move with the arrows, Space sets both ends at the crosshair.";
  isUnfinished = false;
  /** @type {Point[]} */
  #ends = [];
  #isDragging = false;

  /**
   * @param {import("./view.js").SlideView} view
   * @param {Point | null} mpp
   * @param {(words: string) => void} tell  the length, for all to hear
   */
  constructor(view, mpp, tell) {
    this.view = view;
    this.mpp = mpp;
    this.tell = tell;
    this.keys = { " ": () => this.#setEnd([view.center.x, view.center.y]) };
  }

  start() {
    this.#ends = [];
    return true;
  }

  stop() {
    this.#ends = [];
    this.view.paint();
  }

  /** @param {Point} at */
  down(at) {
    this.#isDragging = true;
    this.#ends = [at, at];
  }

  /** @param {Point} at */
  move(at) {
    if (!this.#isDragging) return;
    this.#ends = [this.#ends[0], at];
    this.view.paint();
  }

  up() {
    this.#isDragging = false;
    this.tell(this.#label());
  }

  twice() {}

  undo() {
    return false;
  }

  redo() {
    return false;
  }

  /** @param {CanvasRenderingContext2D} context */
  paint(context) {
    if (!this.#ends.length) return;
    const px = 1 / this.view.pixelsPerImagePx;
    strokeLine(context, this.#ends, px);
    for (const end of this.#ends) drawHandle(context, end, px);
    if (this.#ends.length < 2) return;
    const to = new DOMPoint(...this.#ends[1]).matrixTransform(context.getTransform());
    const ratio = devicePixelRatio;
    drawWords(context, this.#label(), to.x / ratio + 10, to.y / ratio - 8, ratio);
  }

  #label() {
    return this.#ends.length < 2 ? "" : measured(this.#ends[0], this.#ends[1], this.mpp);
  }

  /** @param {Point} at */
  #setEnd(at) {
    this.#ends = this.#ends.length === 1 ? [this.#ends[0], at] : [at];
    this.view.paint();
    if (this.#ends.length === 2) this.tell(this.#label());
  }
}
