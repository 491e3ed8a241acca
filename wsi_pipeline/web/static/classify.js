/** The patch page: a picture goes in, the model's answer is shown with what it rests on. */

import { ask, askJson, byId, el, errorBox, figure, wireTheme } from "./common.js";

const SHOWN_PX = 400; /* side of the explained patch on the screen */
const ORANGE = [214, 96, 20];
const BLUE = [35, 110, 200];
let model = null;

const pointName = (name) => name.replaceAll("_", " ");

async function classify(file) {
  if (!file) return;
  byId("result").hidden = true;
  byId("problem").replaceChildren(el("div", { class: "notice", role: "status" }, `${file.name} is being classified …`));
  const body = new FormData();
  body.append("file", file);
  const um = byId("um").value;
  try {
    const response = await ask(`/api/classify${um ? `?um_px=${encodeURIComponent(um)}` : ""}`, { method: "POST", body });
    const answer = await response.json();
    byId("problem").replaceChildren();
    await show(answer, file);
  } catch (error) {
    byId("problem").replaceChildren(errorBox(error));
  }
}

async function show(answer, file) {
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
  const bitmap = await createImageBitmap(file).catch(() => null);
  drawPicture(bitmap, answer);
  drawExplained(bitmap, answer);
  byId("result").scrollIntoView({ block: "nearest", behavior: "smooth" });
}

function cautions({ is_scale_assumed: assumed, is_padded: padded, um_px: um, notice }) {
  return [
    notice,
    assumed ? `No scale was given: ${um} µm per pixel, the model's own, was assumed. At another scale the answer means nothing.` : null,
    padded ? "The picture does not fill whole patches; the rest was taken for glass." : null,
  ].filter(Boolean);
}

/** Side of a patch in px of the uploaded picture. */
const patchSide = ({ um_px: um }) => (model.patch_size_px * model.spacing_um_px) / um;

function drawPicture(bitmap, answer) {
  const canvas = byId("picture");
  const side = patchSide(answer);
  const scale = Math.min(6, SHOWN_PX / Math.min(answer.cols * side, answer.rows * side));
  canvas.width = Math.round(answer.cols * side * scale);
  canvas.height = Math.round(answer.rows * side * scale);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = scale < 1;
  if (bitmap) context.drawImage(bitmap, 0, 0, bitmap.width * scale, bitmap.height * scale);
  byId("picturewords").textContent = bitmap ? "As uploaded" : "This browser cannot show the file; the model has read it";
  if (answer.rows * answer.cols === 1) return;
  byId("picturewords").textContent = "As uploaded, with the probability of each patch; the explained one is framed";
  answer.probabilities.forEach((probability, i) => {
    const [x, y] = [(i % answer.cols) * side * scale, Math.floor(i / answer.cols) * side * scale];
    const isBest = i === answer.occlusion.patch;
    context.strokeStyle = isBest ? "#ffd84d" : "rgb(0 0 0 / 0.35)";
    context.lineWidth = isBest ? 4 : 1;
    context.strokeRect(x + 1, y + 1, side * scale - 2, side * scale - 2);
    if (side * scale < 34) return;
    const words = probability.toFixed(2);
    context.font = "600 13px system-ui, sans-serif";
    context.fillStyle = "rgb(255 255 255 / 0.85)";
    context.fillRect(x + 3, y + 3, context.measureText(words).width + 8, 18);
    context.fillStyle = "#17191b";
    context.fillText(words, x + 7, y + 16);
  });
}

function drawExplained(bitmap, answer) {
  const canvas = byId("explained");
  canvas.width = canvas.height = SHOWN_PX;
  const context = canvas.getContext("2d");
  const side = patchSide(answer);
  const { patch, side: n, drop } = answer.occlusion;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SHOWN_PX, SHOWN_PX);
  context.imageSmoothingEnabled = false;
  const [x, y] = [(patch % answer.cols) * side, Math.floor(patch / answer.cols) * side];
  if (bitmap) context.drawImage(bitmap, x, y, side, side, 0, 0, SHOWN_PX, SHOWN_PX);
  const most = Math.max(0.2, ...drop.map(Math.abs));
  byId("explainedwords").textContent =
    "Occlusion: where hiding a part lowers (orange) or raises (blue) the probability, full color at " +
    `±${most.toFixed(1)} in log-odds`;
  const tint = new ImageData(n, n);
  drop.forEach((value, i) => tint.data.set([...(value > 0 ? ORANGE : BLUE), Math.round((190 * Math.abs(value)) / most)], 4 * i));
  const small = Object.assign(document.createElement("canvas"), { width: n, height: n });
  small.getContext("2d").putImageData(tint, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(small, 0, 0, SHOWN_PX, SHOWN_PX);
}

function showModel() {
  const { metrics = {}, training_data: data = {} } = model;
  const interval = (name) => (metrics[`${name}_ci95`] ? ` (95 % CI ${metrics[`${name}_ci95`].map((v) => v.toFixed(3)).join(" to ")})` : "");
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
  byId("card").replaceChildren(el("tbody", {}, rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)))));
  byId("um").placeholder = String(model.spacing_um_px);
  byId("curl").textContent = `curl -F file=@patch.png \\\n  "${location.origin}/api/classify?um_px=${model.spacing_um_px}"`;
  byId("scalewords").textContent = `Left empty, the model's own ${model.spacing_um_px} µm per pixel is assumed: a patch is then ${model.patch_size_px} px wide.`;
}

function wireDrop() {
  const drop = byId("drop");
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    drop.classList.remove("over");
    classify(event.dataTransfer.files[0]);
  });
  byId("file").addEventListener("change", () => classify(byId("file").files[0]));
  byId("um").addEventListener("change", () => classify(byId("file").files[0]));
}

wireTheme();
wireDrop();
askJson("/api/model").then(
  (card) => {
    model = card;
    showModel();
  },
  (error) => byId("problem").replaceChildren(errorBox(error)),
);
