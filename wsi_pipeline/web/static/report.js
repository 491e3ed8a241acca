// @ts-check
/** One slide on paper: what was found, what the reviewers say, and by what it was made. */

import { addColormap, colorTable, drawRamp } from "./colormaps.js";
import { ask, askJson, byId, el, errorBox, figure, pen, pictureUrl, sentence, slideApi, slideIdOfPage, slideUrl, wireTheme } from "./common.js";
import { outlineRules, twoThresholds } from "./explain.js";
import { Heatmap } from "./heatmap.js";
import { COLORS, drawRegions, regionsOf } from "./regions.js";
import { Review } from "./review.js";
import { facts } from "./still.js";

/** @typedef {import("../types").SlideDetail} SlideDetail */
/** @typedef {import("../types").Region} Region */
/** @typedef {{ title: string, kind?: "number" | "free" }} Column */

const PICTURE_PX = 2000; /* 280 dots an inch on A4 */
const PICTURE_CSS_PX = 680; /* what lines and numbers are sized for */
const LONGEST_SIDE = 1.5; /* a picture is at most so many times as high as it is wide */
const OPACITY = 0.6;
const DECISIONS = { accepted: "✓ accepted", rejected: "✕ rejected", undecided: "undecided" };

const slideId = slideIdOfPage();
const api = slideApi(slideId);

/** @param {Column[]} columns
 * @param {string[][]} rows */
function table(columns, rows) {
  return el(
    "table",
    { class: "wide" },
    el("thead", {}, el("tr", {}, columns.map(({ title, kind }) => el("th", { scope: "col", class: kind }, title)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((text, i) => el("td", { class: columns[i].kind, "data-title": columns[i].title }, text))))),
  );
}

/** @param {string} title
 * @param {(HTMLElement | string | null)[]} content */
const section = (title, ...content) => el("section", {}, el("h2", {}, title), ...content);

/** @param {Region[]} regions
 * @param {Review} review */
function regionTable(regions, review) {
  /** @type {Column[]} */
  const columns = [
    { title: "No." },
    { title: "Region" },
    { title: "Area", kind: "number" },
    { title: "Mean p", kind: "number" },
    { title: "Max. p", kind: "number" },
    { title: "Decision" },
    { title: "Label" },
    { title: "Reviewer", kind: "free" },
    { title: "Comment", kind: "free" },
  ];
  const rows = regions.map(({ id, number, name, area, mean, max, decidedAt, isElsewhere }) => {
    const item = review.saved.items[id];
    const at = decidedAt !== null && !isElsewhere ? ` at p ≥ ${decidedAt.toFixed(3)}` : "";
    const said = item ? [DECISIONS[item.decision] + at, item.label, item.reviewer, item.comment] : ["–", "", "", ""];
    return [number || "–", name, figure.mm2(area), figure.probability(mean), figure.probability(max), ...said];
  });
  return rows.length ? table(columns, rows) : el("p", {}, "No region reaches the threshold, and none was drawn.");
}

/** @param {SlideDetail} detail
 * @param {Review} review */
function summary({ row }, { saved }) {
  const accepted = Object.values(saved.items).filter(({ decision }) => decision === "accepted");
  const area = accepted.reduce((sum, { measurements }) => sum + (measurements["Area mm^2"] ?? 0), 0);
  const reviewed = saved.revision ? `${accepted.length} (${figure.mm2(area)})` : "not reviewed";
  const columns = ["Tissue", "IDC by the program", "Share of tissue", "Regions", "Accepted by reviewers"].map((title) => ({ title }));
  return table(columns, [[figure.mm2(row.tissue_mm2), figure.mm2(row.idc_mm2), figure.percent(row.idc_share), figure.count(row.regions), reviewed]]);
}

/** The slide with its map, the outlines in the color of what was decided, and the numbers of the table.
 * @param {SlideDetail} detail
 * @param {import("../types").Grid} grid
 * @param {Region[]} regions
 * @param {Review} review */
async function picture(detail, grid, regions, review) {
  const { width, height } = detail.image;
  const shown = Math.min(1, (LONGEST_SIDE * width) / height);
  const canvas = Object.assign(document.createElement("canvas"), {
    width: Math.round(PICTURE_PX * shown),
    height: Math.round((PICTURE_PX * shown * height) / width),
  });
  const layer = async (/** @type {string} */ name) => {
    const response = await ask(`${api}/layers/${name}?v=${detail.fingerprint}`);
    return response.arrayBuffer();
  };
  const wanted = [layer("probability"), layer("tissue"), grid.mask ? layer("mask") : null];
  const [[values, tissue, mask], thumbnail] = await Promise.all([Promise.all(wanted), loaded(pictureUrl(detail.row, "thumbnail", 4096))]);
  const context = pen(canvas);
  const ratio = PICTURE_PX / PICTURE_CSS_PX;
  context.drawImage(thumbnail, 0, 0, canvas.width, canvas.height);
  context.scale(canvas.width / width, canvas.height / height);
  const heatmap = new Heatmap(grid, new Float32Array(values ?? []), new Float32Array(tissue ?? []), mask && new Uint8Array(mask));
  heatmap.recolor({ colormap: detail.colormap, threshold: detail.threshold ?? 0, hideBelow: true, smooth: true });
  heatmap.draw(context, OPACITY);
  heatmap.drawUnseen(context);
  const wordsOf = (/** @type {string} */ id) => review.wordsOf(id);
  drawRegions(context, regions, { pixelsPerImagePx: canvas.width / width / ratio, selected: null, hovered: null, wordsOf, ratio });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Map and outlines over ${slideId}`);
  return el("figure", {}, canvas, legend(detail));
}

/** @param {string} address
 * @returns {Promise<HTMLImageElement>} */
async function loaded(address) {
  const image = el("img", { src: address });
  await image.decode();
  return image;
}

/** @param {SlideDetail} detail */
function legend({ colormap, threshold }) {
  const ramp = el("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  drawRamp(ramp, colorTable(colormap));
  const mark = el("i");
  mark.style.left = `${100 * (threshold ?? 0)}%`;
  const key = (/** @type {string} */ name, /** @type {string} */ words) => {
    const line = el("i", { class: name === "rejected" ? "line dashed" : "line" });
    line.style.borderColor = COLORS[name];
    return el("span", { class: "key" }, line, words);
  };
  return el(
    "figcaption",
    { class: "legend" },
    el("div", { class: "scalebar" }, "0", el("div", { class: "ramp" }, ramp, mark), `1  Probability of IDC; shown from ${figure.probability3(threshold)} on`),
    el("div", { class: "keys" }, key("undecided", "found, undecided"), key("accepted", "accepted ✓"), key("rejected", "rejected ✕"), key("drawn", "drawn by hand (A)"), "hatched: tissue not classified"),
  );
}

async function show() {
  const review = new Review(slideId);
  /** @type {[SlideDetail, unknown]} */
  const [detail] = await Promise.all([askJson(api), review.load()]);
  if (detail.color_stops) addColormap(detail.colormap, detail.color_stops);
  /** @type {import("../types").RegionsAnswer | null} */
  const answer = detail.map ? await askJson(`${api}/regions`) : null;
  const regions = regionsOf(answer?.features ?? [], review, detail.threshold ?? 0, detail.image.mpp);
  document.title = `${slideId} report`;
  byId("back").setAttribute("href", slideUrl(slideId));
  const last = review.saved.history.at(-1);
  const hasPicture = detail.map && detail.row.has_overlay;
  const words = [`Threshold ${figure.probability3(detail.threshold)}.`, outlineRules(answer?.wsi_pipeline ?? null), twoThresholds(detail), ...detail.warnings.map(sentence)];
  byId("report").replaceChildren(
    el("header", {}, el("h1", {}, slideId), el("span", { class: "disclaimer" }, detail.notice)),
    detail.row.error ? el("p", {}, `Failed: ${[detail.row.error, detail.row.advice ?? ""].filter(Boolean).map(sentence).join(" ")}`) : "",
    detail.row.familiarity_caution ? el("p", { class: "caution" }, sentence(detail.row.familiarity_caution)) : "",
    summary(detail, review),
    detail.map && hasPicture ? await picture(detail, detail.map, regions, review) : "",
    section("Regions", regionTable(regions, review), el("p", { class: "muted" }, words.filter(Boolean).join(" "))),
    section("Made by", factsTable(detail)),
    el("div", { class: "sign" }, el("div", {}, last ? `Last review: ${last.reviewer}, ${figure.time(last.time)}` : "Reviewer"), el("div", {}, "Date, signature")),
  );
  document.body.dataset.ready = "true";
}

/** @param {SlideDetail} detail */
function factsTable(detail) {
  const rows = facts(detail).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: "free" }, value)));
  return el("table", { class: "facts" }, el("tbody", {}, rows));
}

wireTheme();
byId("print").addEventListener("click", () => print());
show().catch((error) => byId("report").replaceChildren(errorBox(error)));
