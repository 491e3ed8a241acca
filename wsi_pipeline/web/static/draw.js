/** Drawing an outline: clicks set corners, dragging draws freehand; or by keys at the crosshair. */

const CLOSE_PX = 12; /* a click this near the first corner closes the outline */
const SPACING_PX = 4; /* between the corners of a freehand line */
const MOST_CORNERS = 4000;

export class DrawTool {
  /**
   * @param {SlideView} view
   * @param {(corners: number[][]) => void} finished  called with image px
   * @param {() => void} stopped  called when drawing ends, however
   */
  constructor(view, { stage, crosshair, finished, stopped }) {
    Object.assign(this, { view, stage, crosshair, finished, stopped });
    this.corners = [];
    this.isActive = false;
    this.pointer = null;
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", () => (this.isDragging = false));
    canvas.addEventListener("dblclick", () => this.finish());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      view.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2);
    });
    addEventListener("keydown", (event) => this.#key(event), true);
    view.painters.push((context) => this.#paint(context));
  }

  start() {
    this.corners = [];
    this.#setActive(true);
  }

  cancel() {
    this.#setActive(false);
    this.corners = [];
    this.view.paint();
    this.stopped();
  }

  finish() {
    const { corners } = this;
    if (corners.length >= 3) this.finished(corners.map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]));
    this.cancel();
  }

  #setActive(active) {
    this.isActive = active;
    this.stage.classList.toggle("drawing", active);
    this.crosshair.hidden = !active;
  }

  #add(x, y) {
    if (this.corners.length < MOST_CORNERS) this.corners.push([x, y]);
    this.view.paint();
  }

  #down(event) {
    if (!this.isActive || event.button !== 0) return;
    this.crosshair.hidden = true;
    const { x, y } = this.view.imagePoint(event);
    const first = this.corners[0];
    if (this.corners.length >= 3 && this.#distancePx(first, [x, y]) < CLOSE_PX) {
      this.finish();
      return;
    }
    this.view.canvas.setPointerCapture(event.pointerId);
    this.isDragging = true;
    this.#add(x, y);
  }

  #move(event) {
    if (!this.isActive) return;
    const { x, y } = this.view.imagePoint(event);
    this.pointer = [x, y];
    const last = this.corners.at(-1);
    if (this.isDragging && this.#distancePx(last, [x, y]) >= SPACING_PX) this.#add(x, y);
    else this.view.paint();
  }

  #key(event) {
    if (!this.isActive || event.target.matches("input, textarea, select")) return;
    const { x, y } = this.view.center;
    const acts = {
      Enter: () => this.finish(),
      Escape: () => this.cancel(),
      " ": () => {
        this.crosshair.hidden = false;
        this.#add(x, y);
      },
      Backspace: () => {
        this.corners.pop();
        this.view.paint();
      },
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    acts[event.key]();
  }

  #distancePx([x1, y1], [x2, y2]) {
    return Math.hypot(x2 - x1, y2 - y1) * this.view.pixelsPerImagePx;
  }

  #paint(context) {
    if (!this.isActive || !this.corners.length) return;
    const px = 1 / this.view.pixelsPerImagePx;
    const ends = this.pointer && !this.isDragging ? [...this.corners, this.pointer] : this.corners;
    const path = new Path2D();
    ends.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    for (const [width, color] of [[5, "rgb(0 0 0 / 0.6)"], [2.5, "#5cc8ff"]]) {
      context.lineWidth = width * px;
      context.strokeStyle = color;
      context.stroke(path);
    }
    context.fillStyle = "#fff";
    const [x, y] = this.corners[0];
    context.fillRect(x - 4 * px, y - 4 * px, 8 * px, 8 * px);
  }
}
