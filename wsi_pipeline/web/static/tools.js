// @ts-check
/** Tools on the slide: one at a time has the pointer and the keys; the state says which. */

import { byId } from "./common.js";

/** @typedef {import("../types").Point} Point */
/** @typedef {import("./view.js").SlideView} SlideView */

/**
 * @typedef {object} ToolPart
 * @property {() => boolean} start  false where there is nothing to work on
 * @property {() => void} stop
 * @property {boolean} isUnfinished  leaving now would lose work
 * @property {string} words  how it is used
 * @property {(at: Point, event: PointerEvent) => void} down
 * @property {(at: Point, event: PointerEvent) => void} move
 * @property {(at: Point, event: PointerEvent) => void} up
 * @property {() => void} twice  after a double click
 * @property {Record<string, () => void>} keys
 * @property {() => boolean} undo  false where it has nothing to take back
 * @property {() => boolean} redo
 * @property {(context: CanvasRenderingContext2D) => void} paint
 */

export class Toolbox {
  /** @type {ToolPart | null} */
  #active = null;

  /**
   * @param {SlideView} view
   * @param {import("./state.js").ViewerState} state
   * @param {Record<import("../types").Tool, ToolPart>} tools
   */
  constructor(view, state, tools) {
    this.view = view;
    this.state = state;
    const { canvas } = view;
    const place = (/** @type {PointerEvent} */ event) => view.imagePoint(event);
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      byId("crosshair").hidden = true;
      this.#active?.down(place(event), event);
    });
    canvas.addEventListener("pointermove", (event) => this.#active?.move(place(event), event));
    canvas.addEventListener("pointerup", (event) => this.#active?.up(place(event), event));
    canvas.addEventListener("dblclick", () => this.#active?.twice());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      view.zoomAt(event.deltaY < 0 ? 1.2 : 1 / 1.2, view.imagePoint(event));
    });
    addEventListener("keydown", (event) => this.#key(event), true);
    view.painters.push((context) => this.#active?.paint(context));
    state.on(["tool"], () => this.#take(state.now.tool ? tools[state.now.tool] : null));
  }

  get isUnfinished() {
    return this.#active?.isUnfinished ?? false;
  }

  get words() {
    return this.#active?.words ?? "";
  }

  /** Take back a step of the tool that is in hand; false where it has none. */
  undo() {
    return this.#active?.undo() ?? false;
  }

  redo() {
    return this.#active?.redo() ?? false;
  }

  /** @param {ToolPart | null} tool */
  #take(tool) {
    this.#active?.stop();
    this.#active = tool;
    if (tool && !tool.start()) {
      this.#active = null;
      this.state.set({ tool: null });
      return;
    }
    byId("stage").classList.toggle("working", tool !== null);
    byId("crosshair").hidden = tool === null;
    this.view.paint();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const { target, key } = event;
    if (!this.#active || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target instanceof HTMLElement && target.matches("input, textarea, select, dialog *")) return;
    const act = key === "Escape" ? () => this.state.set({ tool: null }) : this.#active.keys[key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    if (key === " ") byId("crosshair").hidden = false;
    act();
  }
}

/** Lines in image px, light on dark.
 * @param {CanvasRenderingContext2D} context
 * @param {Point[]} corners
 * @param {number} px  image px per screen px
 * @param {boolean} isClosed */
export function strokeLine(context, corners, px, isClosed = false) {
  const path = new Path2D();
  corners.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
  if (isClosed) path.closePath();
  context.lineJoin = "round";
  for (const [width, color] of /** @type {[number, string][]} */ ([[5, "rgb(0 0 0 / 0.6)"], [2.5, "#5cc8ff"]])) {
    context.lineWidth = width * px;
    context.strokeStyle = color;
    context.stroke(path);
  }
}

/** A handle at a corner.
 * @param {CanvasRenderingContext2D} context
 * @param {Point} corner
 * @param {number} px
 * @param {boolean} isChosen */
export function drawHandle(context, [x, y], px, isChosen = false) {
  const half = (isChosen ? 6 : 4) * px;
  context.fillStyle = isChosen ? "#ffd84d" : "#fff";
  context.strokeStyle = "#17191b";
  context.lineWidth = px;
  context.fillRect(x - half, y - half, 2 * half, 2 * half);
  context.strokeRect(x - half, y - half, 2 * half, 2 * half);
}
