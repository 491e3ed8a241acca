// @ts-check
/** A layer of the map between the centers of its cells. */

/** @typedef {import("../types").Grid} Grid */

const LEAST = 1e-6; /* probabilities are kept this far from 0 and 1 where a logit is taken */

const logit = (/** @type {number} */ p) => {
  const inside = Math.min(1 - LEAST, Math.max(LEAST, p));
  return Math.log(inside / (1 - inside));
};

/** Which cells a finer pixel lies between, and how near it is to the second.
 * @param {number} i
 * @param {number} factor
 * @param {number} n
 * @returns {[number, number, number]} */
function neighbors(i, factor, n) {
  const place = Math.min(n - 1, Math.max(0, (i + 0.5) / factor - 0.5));
  const before = Math.floor(place);
  return [before, Math.min(n - 1, before + 1), place - before];
}

/** For each row or column of finer pixels that of the mask.
 * @param {number} n  finer pixels
 * @param {number} factor
 * @param {[origin: number, step: number]} cells
 * @param {[origin: number, step: number, n: number]} mask */
function maskIndices(n, factor, [origin, step], [maskOrigin, maskStep, maskCount]) {
  return Array.from({ length: n }, (_, i) => {
    const place = Math.floor((origin + ((i + 0.5) / factor) * step - maskOrigin) / maskStep);
    return Math.min(maskCount - 1, Math.max(0, place));
  });
}

/** Values at `factor` pixels a cell, row by row: bilinear over the cells that have one, on logits where
 * they are probabilities. NaN in cells without a value, and off the tissue where there is a mask.
 * @param {Float32Array} values
 * @param {Grid} grid
 * @param {{ factor: number, mask: Uint8Array | null, isProbability: boolean }} how */
export function smoothed(values, grid, { factor, mask, isProbability }) {
  const { rows, cols, origin, step } = grid;
  const [height, width] = [rows * factor, cols * factor];
  const found = new Float32Array(height * width).fill(NaN);
  const source = isProbability ? values.map(logit) : values;
  const raster = mask ? grid.mask : null;
  const maskRow = raster && maskIndices(height, factor, [origin[1], step[1]], [raster.origin[1], raster.step[1], raster.rows]);
  const maskCol = raster && maskIndices(width, factor, [origin[0], step[0]], [raster.origin[0], raster.step[0], raster.cols]);
  const across = Array.from({ length: width }, (_, x) => neighbors(x, factor, cols));
  for (let y = 0; y < height; y++) {
    const [top, bottom, down] = neighbors(y, factor, rows);
    const own = Math.floor(y / factor) * cols;
    for (let x = 0; x < width; x++) {
      if (Number.isNaN(values[own + Math.floor(x / factor)])) continue;
      if (mask && raster && maskRow && maskCol && !mask[maskRow[y] * raster.cols + maskCol[x]]) continue;
      const [left, right, over] = across[x];
      let total = 0;
      let weight = 0;
      for (let corner = 0; corner < 4; corner++) {
        const value = source[(corner < 2 ? top : bottom) * cols + (corner % 2 ? right : left)];
        if (Number.isNaN(value)) continue;
        const share = (corner < 2 ? 1 - down : down) * (corner % 2 ? over : 1 - over);
        total += share * value;
        weight += share;
      }
      const mean = total / weight;
      found[y * width + x] = isProbability ? 1 / (1 + Math.exp(-mean)) : mean;
    }
  }
  return found;
}
