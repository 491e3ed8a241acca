/** The probability map as colors: one pixel a cell, scaled by the browser without smoothing. */

import { colorTable } from "./colormaps.js";

const FAINT = 0.3; /* opacity of what lies just below the threshold, of the whole */
const TISSUE_SHOWN = 0.05; /* a cell not classified is hatched from this tissue share on */

const LINES = lines(8);

export class Heatmap {
  constructor(grid, values, tissue) {
    this.grid = grid;
    this.values = values;
    this.tissue = tissue;
    this.layer = values;
    this.layerMax = 1;
    this.canvas = Object.assign(document.createElement("canvas"), { width: grid.cols, height: grid.rows });
    this.unseen = this.#hatchCells();
    this.scratch = document.createElement("canvas");
  }

  /** Show another layer, e.g. the uncertainty, with its own upper limit. */
  setLayer(values, max) {
    this.layer = values;
    this.layerMax = max;
  }

  /** Paint the cells: full from the threshold on, faint or nothing below it. */
  recolor({ colormap, threshold, hideBelow }) {
    const { cols, rows } = this.grid;
    const table = colorTable(colormap);
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(cols, rows);
    const pixels = image.data;
    for (let i = 0; i < this.values.length; i++) {
      const probability = this.values[i];
      const shown = this.layer[i];
      if (Number.isNaN(probability) || Number.isNaN(shown)) continue;
      const k = 3 * Math.round(255 * Math.min(1, Math.max(0, shown / this.layerMax)));
      const alpha = probability >= threshold ? 1 : hideBelow ? 0 : FAINT * (probability / threshold);
      pixels.set([table[k], table[k + 1], table[k + 2], Math.round(255 * alpha)], 4 * i);
    }
    context.putImageData(image, 0, 0);
  }

  /** Index of the cell at a place of the image, -1 outside. */
  cellAt(x, y) {
    const { origin, step, cols, rows } = this.grid;
    const col = Math.floor((x - origin[0]) / step[0]);
    const row = Math.floor((y - origin[1]) / step[1]);
    return col >= 0 && row >= 0 && col < cols && row < rows ? row * cols + col : -1;
  }

  /** Draw in image px; the context is transformed to them. */
  draw(context, opacity) {
    const { origin, step, cols, rows } = this.grid;
    context.save();
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.canvas, origin[0], origin[1], cols * step[0], rows * step[1]);
    context.restore();
  }

  /** Hatch tissue that was not classified: no data must not look like "no tumor". */
  drawUnseen(context) {
    if (!this.unseen) return;
    const { origin, step, cols, rows } = this.grid;
    const { width, height } = context.canvas;
    const place = context.getTransform();
    Object.assign(this.scratch, { width, height }); /* which also clears it */
    const hatched = this.scratch.getContext("2d");
    hatched.setTransform(place);
    hatched.imageSmoothingEnabled = false;
    hatched.drawImage(this.unseen, origin[0], origin[1], cols * step[0], rows * step[1]);
    hatched.globalCompositeOperation = "source-in";
    hatched.resetTransform();
    const pattern = hatched.createPattern(LINES, "repeat");
    pattern.setTransform(new DOMMatrix().translate(place.e, place.f)); /* moves with the slide */
    hatched.fillStyle = pattern;
    hatched.fillRect(0, 0, width, height);
    context.save();
    context.resetTransform();
    context.drawImage(this.scratch, 0, 0);
    context.restore();
  }

  #hatchCells() {
    const { cols, rows } = this.grid;
    const image = new ImageData(cols, rows);
    let any = false;
    this.values.forEach((value, i) => {
      if (!Number.isNaN(value) || !(this.tissue[i] >= TISSUE_SHOWN)) return;
      any = true;
      image.data[4 * i + 3] = 255;
    });
    if (!any) return null;
    const mask = Object.assign(document.createElement("canvas"), { width: cols, height: rows });
    mask.getContext("2d").putImageData(image, 0, 0);
    return mask;
  }
}

/** One period of the hatching. */
function lines(side) {
  const canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d");
  context.strokeStyle = "rgb(60 60 60 / 0.75)";
  context.lineWidth = 1.5;
  for (const shift of [-side, 0, side]) {
    context.moveTo(shift - 1, -1);
    context.lineTo(shift + side + 1, side + 1);
  }
  context.stroke();
  return canvas;
}
