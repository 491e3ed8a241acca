// @ts-check
/** The probability map as colors: between the centers of cells on the tissue, or one pixel a cell. */

import { colorTable } from "./colormaps.js";
import { pen } from "./common.js";
import { smoothed } from "./smooth.js";

/** @typedef {import("../types").Grid} Grid */

const FAINT = 0.3; /* opacity of what lies just below the threshold, of the whole */
const TISSUE_SHOWN = 0.05; /* a cell not classified is hatched from this tissue share on */
const HATCH_PX = 8;
const SMOOTH_SIDE_PX = 1024; /* of a smooth map's longer side, at most */
const MOST_PX_PER_CELL = 16;

/** The opacity of a cell, 0 to 1: full from the threshold on, faint or nothing below it.
 * @param {number} probability
 * @param {number} threshold
 * @param {boolean} hideBelow */
export function cellOpacity(probability, threshold, hideBelow) {
  if (probability >= threshold) return 1;
  return hideBelow ? 0 : FAINT * (probability / threshold);
}

/** Index of the cell at a place of the image, -1 outside.
 * @param {Grid} grid
 * @param {number} x
 * @param {number} y */
export function cellAt({ origin, step, cols, rows }, x, y) {
  const col = Math.floor((x - origin[0]) / step[0]);
  const row = Math.floor((y - origin[1]) / step[1]);
  return col >= 0 && row >= 0 && col < cols && row < rows ? row * cols + col : -1;
}

/** @param {number} width
 * @param {number} height */
const blank = (width, height) => Object.assign(document.createElement("canvas"), { width, height });

export class Heatmap {
  #canvas;
  #fine;
  #factor;
  #mask;
  /** @type {Float32Array | null} made when first shown */
  #fineValues = null;
  /** @type {Float32Array | null} */
  #fineLayer = null;
  #isSmooth = false;
  #unseen;
  #scratch = document.createElement("canvas");
  #lines = lines(HATCH_PX);

  /** @param {Grid} grid
   * @param {Float32Array} values  NaN = not classified
   * @param {Float32Array} tissue  share of each cell
   * @param {Uint8Array | null} mask  1 = tissue, as `grid.mask` lies */
  constructor(grid, values, tissue, mask = null) {
    this.grid = grid;
    this.values = values;
    this.layer = values;
    this.layerMax = 1;
    this.#mask = mask;
    this.#canvas = blank(grid.cols, grid.rows);
    this.#factor = Math.max(1, Math.min(MOST_PX_PER_CELL, Math.floor(SMOOTH_SIDE_PX / Math.max(grid.cols, grid.rows))));
    this.#fine = blank(grid.cols * this.#factor, grid.rows * this.#factor);
    this.#unseen = this.#hatchCells(tissue);
  }

  /** Show another layer, e.g. the uncertainty, with its own upper limit.
   * @param {Float32Array} values
   * @param {number} max */
  setLayer(values, max) {
    this.layer = values;
    this.layerMax = max;
    this.#fineLayer = null;
  }

  /** Paint the map.
   * @param {{ colormap: string, threshold: number, hideBelow: boolean, smooth: boolean }} look */
  recolor({ smooth, ...look }) {
    this.#isSmooth = smooth;
    if (!smooth) return this.#paint(this.#canvas, this.values, this.layer, look);
    const { grid } = this;
    const place = { factor: this.#factor, mask: this.#mask };
    this.#fineValues ??= smoothed(this.values, grid, { ...place, isProbability: true });
    if (this.layer === this.values) this.#fineLayer = this.#fineValues;
    this.#fineLayer ??= smoothed(this.layer, grid, { ...place, isProbability: false });
    this.#paint(this.#fine, this.#fineValues, this.#fineLayer, look);
  }

  /** @param {HTMLCanvasElement} canvas
   * @param {Float32Array} values
   * @param {Float32Array} layer
   * @param {{ colormap: string, threshold: number, hideBelow: boolean }} look */
  #paint(canvas, values, layer, { colormap, threshold, hideBelow }) {
    const table = colorTable(colormap);
    const context = pen(canvas);
    const image = context.createImageData(canvas.width, canvas.height);
    const pixels = image.data;
    for (let i = 0; i < values.length; i++) {
      if (Number.isNaN(values[i]) || Number.isNaN(layer[i])) continue;
      const k = 3 * Math.round(255 * Math.min(1, Math.max(0, layer[i] / this.layerMax)));
      pixels[4 * i] = table[k];
      pixels[4 * i + 1] = table[k + 1];
      pixels[4 * i + 2] = table[k + 2];
      pixels[4 * i + 3] = Math.round(255 * cellOpacity(values[i], threshold, hideBelow));
    }
    context.putImageData(image, 0, 0);
  }

  /** Draw in image px; the context is transformed to them.
   * @param {CanvasRenderingContext2D} context
   * @param {number} opacity */
  draw(context, opacity) {
    context.save();
    context.globalAlpha = opacity;
    context.imageSmoothingEnabled = this.#isSmooth;
    this.#place(context, this.#isSmooth ? this.#fine : this.#canvas);
    context.restore();
  }

  /** Hatch tissue that was not classified: no data must not look like "no tumor".
   * @param {CanvasRenderingContext2D} context */
  drawUnseen(context) {
    if (!this.#unseen) return;
    const { width, height } = context.canvas;
    const place = context.getTransform();
    Object.assign(this.#scratch, { width, height }); /* which also clears it */
    const hatched = pen(this.#scratch);
    hatched.setTransform(place);
    hatched.imageSmoothingEnabled = false;
    this.#place(hatched, this.#unseen);
    hatched.globalCompositeOperation = "source-in";
    hatched.resetTransform();
    const pattern = /** @type {CanvasPattern} */ (hatched.createPattern(this.#lines, "repeat"));
    pattern.setTransform(new DOMMatrix().translate(place.e, place.f)); /* moves with the slide */
    hatched.fillStyle = pattern;
    hatched.fillRect(0, 0, width, height);
    context.save();
    context.resetTransform();
    context.drawImage(this.#scratch, 0, 0);
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context
   * @param {HTMLCanvasElement} cells */
  #place(context, cells) {
    const { origin, step, cols, rows } = this.grid;
    context.drawImage(cells, origin[0], origin[1], cols * step[0], rows * step[1]);
  }

  /** What of the cells without a value is tissue, by the mask where there is one.
   * @param {Float32Array} tissue */
  #hatchCells(tissue) {
    const unseen = this.values.map((value, i) => (Number.isNaN(value) && tissue[i] >= TISSUE_SHOWN ? 1 : NaN));
    if (!unseen.includes(1)) return null;
    const shown = smoothed(unseen, this.grid, { factor: this.#factor, mask: this.#mask, isProbability: false });
    const canvas = blank(this.#fine.width, this.#fine.height);
    const image = new ImageData(canvas.width, canvas.height);
    for (let i = 0; i < shown.length; i++) if (shown[i] === 1) image.data[4 * i + 3] = 255;
    pen(canvas).putImageData(image, 0, 0);
    return canvas;
  }
}

/** One period of the hatching.
 * @param {number} side */
function lines(side) {
  const canvas = blank(side, side);
  const context = pen(canvas);
  context.strokeStyle = "rgb(60 60 60 / 0.75)";
  context.lineWidth = 1.5;
  for (const shift of [-side, 0, side]) {
    context.moveTo(shift - 1, -1);
    context.lineTo(shift + side + 1, side + 1);
  }
  context.stroke();
  return canvas;
}
