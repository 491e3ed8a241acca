// @ts-check
import { pen } from "./common.js";

/** Color maps as 33 stops each, from matplotlib (CC0): perceptually uniform, limits always 0 and 1.
 * @type {Record<string, string>} */
const STOPS = {
  inferno:
    "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315bbc3754c73e4cd24644db503be45a31eb6628f1731df68013f98e09fb9d07fcac11fbbc21f9cb35f5db4cf2ea69f3f68afcffa4",
  viridis:
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23898e21918c1f988b1fa08822a78528ae8032b67a3fbc734ec36b5ec96270cf5784d44b98d83eaddc30c2df23d8e219ece51bfde725",
  magma:
    "0000040303120a0822130d341d114729115a36106b440f7651127c5d177f6a1c81762181832681902a819c2e7faa337db73779c43c75d0416fdc4869e75263ef5d5ef56b5cf9795dfc8961fd9869fea772feb67cfec488fed395fde2a3fcf0b2fcfdbf",
  cividis:
    "00224e00285b002e6a0533711a386f273e6e32436d3b496c434e6c4b546c535a6d5a5f6e61656f686a716f70737676767d7c788482798c8878938e789b9476a39a74aba072b4a76fbcae6cc4b468cdbb63d5c25edec958e7d150f0d846f9e03afee838",
  plasma:
    "0d08872206903105973f049c4c02a15901a56600a77201a87e03a88a09a59511a1a01a9caa2395b32c8ebc3587c43e7fcc4778d35171da5a6ae06363e66c5ceb7655f0804ef58b47f89540fba139fdac33feb82cfdc527fcd225f8df25f4ed27f0f921",
};

export const COLORMAPS = Object.keys(STOPS);

/** Make one more known: a run may have any of matplotlib's.
 * @param {string} name
 * @param {string} hex  33 stops */
export function addColormap(name, hex) {
  STOPS[name] = hex;
  if (!COLORMAPS.includes(name)) COLORMAPS.push(name);
}

/** Return 256 x 3 bytes, probability 0 to 1; viridis where a name is not among ours.
 * @param {string} name */
export function colorTable(name) {
  const hex = STOPS[name] ?? STOPS.viridis;
  const stop = (/** @type {number} */ i, /** @type {number} */ c) => parseInt(hex.slice(6 * i + 2 * c, 6 * i + 2 * c + 2), 16);
  const table = new Uint8Array(256 * 3);
  for (let k = 0; k < 256; k++) {
    const at = (k / 255) * 32;
    const i = Math.min(31, Math.floor(at));
    for (let c = 0; c < 3; c++) {
      table[3 * k + c] = Math.round(stop(i, c) + (at - i) * (stop(i + 1, c) - stop(i, c)));
    }
  }
  return table;
}

/** Fill a canvas of 256 x 1 px with the colors from 0 to 1.
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} table */
export function drawRamp(canvas, table) {
  const context = pen(canvas);
  const image = context.createImageData(256, 1);
  for (let k = 0; k < 256; k++) image.data.set([...table.subarray(3 * k, 3 * k + 3), 255], 4 * k);
  context.putImageData(image, 0, 0);
}
