// @ts-check
/** The patch page: a picture goes in, the model's answer is shown with what it rests on. */

import { colorTable, drawRamp } from "./colormaps.js";
import { ask, askJson, byId, el, errorBox, figure, input, pen, rooted, sentence, wireTheme } from "./common.js";
import { Latest } from "./latest.js";

/** @typedef {import("../types").Classification} Classification */
/** @typedef {import("../types").ModelCard} ModelCard */

const SHOWN_PX = 400; /* side of the explained patch on the screen */
const FIELD_PX = 1040; /* longer side of a field's pictures; they are shown at half of it */
const SMALLEST_NUMBERED_PX = 84; /* cells with room for their probability */
const ORANGE = [214, 96, 20];
const BLUE = [35, 110, 200];
const COLORMAP = "viridis"; /* as a run's pictures have it */

/** @type {ModelCard} */
let model;
const asking = new Latest();

const pointName = (/** @type {string} */ name) => name.replaceAll("_", " ");

/** @param {File | undefined} file */
async function classify(file) {
  if (!file) return;
  byId("result").hidden = true;
  byId("problem").replaceChildren(el("div", { class: "notice", role: "status" }, `${file.name} is being classified …`));
  const body = new FormData();
  body.append("file", file);
  const um = input("um").value;
  const address = rooted(`api/classify${um ? `?um_px=${encodeURIComponent(um)}` : ""}`);
  await asking.ask(
    async (signal) => {
      const response = await ask(address, { method: "POST", body, signal });
      const [answer, bitmap] = await Promise.all([response.json(), createImageBitmap(file).catch(() => null)]);
      return { answer, bitmap };
    },
    ({ answer, bitmap }) => {
      byId("problem").replaceChildren();
      show(answer, bitmap);
    },
    (error) => byId("problem").replaceChildren(errorBox(error)),
  );
}

/** @param {Classification} answer
 * @param {ImageBitmap | null} bitmap */
function show(answer, bitmap) {
  const { rows, cols, calls, probability } = answer;
  const many = rows * cols > 1;
  byId("what").textContent = many ? `Probability of IDC, highest of ${rows * cols} patches (${cols} × ${rows})` : "Probability of IDC";
  byId("probability").textContent = figure.probability3(probability);
  byId("spread").textContent = `Mean of eight flips and turns; they differ by ± ${figure.probability3(answer.spread)}`;
  const bar = el("b");
  bar.style.width = `${100 * probability}%`;
  const marks = calls.flatMap(({ threshold, operating_point: name }, i) => {
    const [line, words] = [el("i"), el("span", {}, pointName(name))];
    line.style.left = words.style.left = `${100 * threshold}%`;
    if (i % 2) words.style.top = "32px";
    words.style.transform = threshold < 0.15 ? "none" : "";
    return [line, words];
  });
  byId("gauge").replaceChildren(bar, ...marks);
  byId("calls").replaceChildren(
    ...calls.map(({ operating_point: name, threshold, is_idc: isIdc }) =>
      el("tr", {}, el("td", {}, pointName(name)), el("td", { class: "number" }, figure.probability3(threshold)), el("td", { class: "number" }, el("strong", {}, isIdc ? "IDC" : "not IDC"))),
    ),
  );
  byId("cautions").replaceChildren(...cautions(answer).map((text) => el("div", { class: "notice warn" }, text)));
  byId("result").hidden = false;
  drawPatch(bitmap, answer);
  drawExplained(bitmap, answer);
  drawField(bitmap, answer);
  byId("result").scrollIntoView({ block: "nearest", behavior: "smooth" });
}

/** @param {Classification} answer */
function cautions({ is_scale_assumed: assumed, is_padded: padded, um_px: um, stain, notice, notes }) {
  return [
    notice,
    ...notes.map((note) => sentence(note)),
    assumed ? `No scale was given: ${um} µm per pixel, the model's own, was assumed. At another scale the answer means nothing.` : null,
    stain ? `${sentence(stain)} A slide's stain is fitted on all of its tissue: expect other figures there.` : null,
    padded ? "The picture does not fill whole patches; the rest was taken for glass." : null,
  ].filter((words) => words !== null);
}

/** Side of a patch in px of the uploaded picture.
 * @param {Classification} answer */
const patchSide = ({ um_px: um }) => (model.patch_size_px * model.spacing_um_px) / um;

/** Draw the explained patch as it was uploaded.
 * @param {ImageBitmap | null} bitmap
 * @param {Classification} answer */
function drawPatch(bitmap, answer) {
  const canvas = byId("picture", HTMLCanvasElement);
  canvas.width = canvas.height = SHOWN_PX;
  drawPart(pen(canvas), bitmap, answer);
  const where = answer.rows * answer.cols > 1 ? "The patch of the highest probability, framed below" : "As uploaded";
  byId("picturewords").textContent = bitmap ? where : "This browser cannot show the file; the model has read it";
}

/** @param {CanvasRenderingContext2D} context
 * @param {ImageBitmap | null} bitmap
 * @param {Classification} answer */
function drawPart(context, bitmap, answer) {
  const side = patchSide(answer);
  const { patch } = answer.occlusion;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SHOWN_PX, SHOWN_PX);
  context.imageSmoothingEnabled = false;
  if (bitmap) context.drawImage(bitmap, (patch % answer.cols) * side, Math.floor(patch / answer.cols) * side, side, side, 0, 0, SHOWN_PX, SHOWN_PX);
}

/** Draw a field twice: as it was uploaded, and with the probability of each patch over it.
 * @param {ImageBitmap | null} bitmap
 * @param {Classification} answer */
function drawField(bitmap, answer) {
  const { rows, cols, probabilities, occlusion } = answer;
  byId("field").hidden = rows * cols === 1;
  if (byId("field").hidden) return;
  const side = Math.min(FIELD_PX / cols, FIELD_PX / rows);
  const scale = side / patchSide(answer);
  const table = colorTable(COLORMAP);
  const lowest = Math.min(...answer.calls.map(({ threshold }) => threshold));
  /* Full from the most sensitive operating point on, fading below it: glass does not turn black. */
  const tint = (/** @type {number} */ probability) => {
    const k = 3 * Math.round(255 * probability);
    return `rgb(${table[k]} ${table[k + 1]} ${table[k + 2]} / ${0.65 * Math.min(1, probability / lowest) ** 2})`;
  };
  for (const id of ["fieldpicture", "fieldmap"]) {
    const canvas = Object.assign(byId(id, HTMLCanvasElement), { width: Math.round(cols * side), height: Math.round(rows * side) });
    const context = pen(canvas);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = scale < 1;
    if (bitmap) context.drawImage(bitmap, 0, 0, bitmap.width * scale, bitmap.height * scale);
    probabilities.forEach((probability, i) => {
      const [x, y] = [(i % cols) * side, Math.floor(i / cols) * side];
      if (id === "fieldmap") drawCell(context, { color: tint(probability), probability, x, y, side });
      context.strokeStyle = i === occlusion.patch ? "#5cc8ff" : "rgb(0 0 0 / 0.3)";
      context.lineWidth = i === occlusion.patch ? 6 : 1;
      context.strokeRect(x + 1, y + 1, side - 2, side - 2);
    });
  }
  drawRamp(byId("fieldramp", HTMLCanvasElement), table);
}

/** @param {CanvasRenderingContext2D} context
 * @param {{ color: string, probability: number, x: number, y: number, side: number }} cell */
function drawCell(context, { color, probability, x, y, side }) {
  context.fillStyle = color;
  context.fillRect(x, y, side, side);
  if (side < SMALLEST_NUMBERED_PX) return;
  const words = probability.toFixed(2);
  context.font = "600 24px system-ui, sans-serif";
  context.fillStyle = "rgb(255 255 255 / 0.88)";
  context.fillRect(x + 5, y + 5, context.measureText(words).width + 12, 32);
  context.fillStyle = "#17191b";
  context.fillText(words, x + 11, y + 30);
}

/** @param {ImageBitmap | null} bitmap
 * @param {Classification} answer */
function drawExplained(bitmap, answer) {
  const canvas = byId("explained", HTMLCanvasElement);
  canvas.width = canvas.height = SHOWN_PX;
  const context = pen(canvas);
  const { side: n, drop } = answer.occlusion;
  drawPart(context, bitmap, answer);
  const most = Math.max(0.2, ...drop.map(Math.abs));
  byId("explainedwords").textContent =
    "Occlusion: where hiding a part lowers (orange) or raises (blue) the probability, full color at " +
    `±${most.toFixed(1)} in log-odds`;
  const tint = new ImageData(n, n);
  drop.forEach((value, i) => tint.data.set([...(value > 0 ? ORANGE : BLUE), Math.round((190 * Math.abs(value)) / most)], 4 * i));
  const small = Object.assign(document.createElement("canvas"), { width: n, height: n });
  pen(small).putImageData(tint, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(small, 0, 0, SHOWN_PX, SHOWN_PX);
}

function showModel() {
  const { metrics = {}, training_data: data = {} } = model;
  const interval = (/** @type {string} */ name) => (metrics[`${name}_ci95`] ? ` (95 % CI ${metrics[`${name}_ci95`].map((/** @type {number} */ v) => v.toFixed(3)).join(" to ")})` : "");
  /** @type {Record<string, string | number | undefined>} */
  const lines = {
    Name: `${model.name}, sha256 ${model.sha256.slice(0, 12)}`,
    Sees: `${model.patch_size_px} × ${model.patch_size_px} px at ${model.spacing_um_px} µm/px: ${(model.patch_size_px * model.spacing_um_px) / 1000} mm wide`,
    "Trained on": data.patches && `${figure.count(data.patches)} patches of ${figure.count(data.patients)} patients`,
    AUC: metrics.auc && `${metrics.auc.toFixed(3)}${interval("auc")}`,
    "Balanced accuracy": metrics.balanced_accuracy && `${metrics.balanced_accuracy.toFixed(3)}${interval("balanced_accuracy")}`,
    Sensitivity: metrics.sensitivity && `${metrics.sensitivity.toFixed(3)}${interval("sensitivity")}`,
    Specificity: metrics.specificity && `${metrics.specificity.toFixed(3)}${interval("specificity")}`,
    "Measured on": metrics.on,
    Notice: model.notice,
  };
  const rows = Object.entries(lines).filter(([, value]) => value);
  byId("card").replaceChildren(el("tbody", {}, rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, String(value))))));
  input("um").placeholder = String(model.spacing_um_px);
  byId("curl").textContent = `curl -F file=@patch.png \\\n  "${location.origin}${rooted("api/classify")}?um_px=${model.spacing_um_px}"`;
  byId("scalewords").textContent = `Left empty, the model's own ${model.spacing_um_px} µm per pixel is assumed: a patch is then ${model.patch_size_px} px wide.`;
}

function wireDrop() {
  const drop = byId("drop");
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    drop.classList.remove("over");
    classify(event.dataTransfer?.files[0]);
  });
  byId("file").addEventListener("change", () => classify(input("file").files?.[0]));
  byId("um").addEventListener("change", () => classify(input("file").files?.[0]));
}

wireTheme();
wireDrop();
askJson(rooted("api/model")).then(
  (card) => {
    model = card;
    showModel();
  },
  (error) => byId("problem").replaceChildren(errorBox(error)),
);
