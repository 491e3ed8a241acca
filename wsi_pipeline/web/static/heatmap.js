/** The probability map as colors: one pixel a cell, scaled by the browser without smoothing. */

import { colorTable } from "./colormaps.js";

const FAINT = 0.3; /* opacity of what lies just below the threshold, of the whole */
const TISSUE_SHOWN = 0.05; /* a cell not classified is hatched from this tissue share on */

export class Heatmap {
  constructor(grid, values, tissue) {
    this.grid = grid;
    this.values = values;
    this.tissue = tissue;
    this.layer = values;
    this.layerMax = 1;
    this.canvas = Object.assign(document.createElement("canvas"), { width: grid.cols, height: grid.rows });
    this.unseen = this.#hatchCells();
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
  drawUnseen(context, pixelsPerImagePx) {
    if (!this.unseen) return;
    context.save();
    context.clip(this.unseen);
    const { origin, step, cols, rows } = this.grid;
    const gap = 8 / pixelsPerImagePx;
    const [width, height] = [cols * step[0], rows * step[1]];
    context.beginPath();
    for (let at = -height; at < width; at += Math.max(gap, (width + height) / 2000)) {
      context.moveTo(origin[0] + at, origin[1]);
      context.lineTo(origin[0] + at + height, origin[1] + height);
    }
    context.lineWidth = 1.5 / pixelsPerImagePx;
    context.strokeStyle = "rgb(60 60 60 / 0.7)";
    context.stroke();
    context.restore();
  }

  #hatchCells() {
    if (!this.tissue) return null;
    const { origin, step, cols } = this.grid;
    const path = new Path2D();
    let any = false;
    this.values.forEach((value, i) => {
      if (!Number.isNaN(value) || !(this.tissue[i] >= TISSUE_SHOWN)) return;
      any = true;
      path.rect(origin[0] + (i % cols) * step[0], origin[1] + Math.floor(i / cols) * step[1], step[0], step[1]);
    });
    return any ? path : null;
  }
}
