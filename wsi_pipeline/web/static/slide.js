// @ts-check
/** The slide page: looking at one slide, its map and its regions, and reviewing them. */

import { actionsOf } from "./actions.js";
import { ask, askJson, byId, choice, el, errorBox, pictureUrl, rooted, sentence, slideApi, slideIdOfPage, slideUrl, wireTheme } from "./common.js";
import { asThreshold, opacityAt, showFigures, showLegend, showOpacity, wireControls } from "./controls.js";
import { showCursor } from "./cursor.js";
import { DrawTool } from "./draw.js";
import { EditTool } from "./edit.js";
import { Heatmap } from "./heatmap.js";
import { wireKeys } from "./keys.js";
import { Latest } from "./latest.js";
import { RegionPanel } from "./panel.js";
import { goToHash, keepPlace, showPlace } from "./place.js";
import { drawRegions, isSameThreshold, regionsOf } from "./regions.js";
import { Review } from "./review.js";
import { RulerTool } from "./ruler.js";
import { ViewerState } from "./state.js";
import { facts, still } from "./still.js";
import { Toolbox } from "./tools.js";
import { SlideView, link } from "./view.js";

/** @typedef {import("../types").SlideDetail} SlideDetail */
/** @typedef {import("../types").LayerName} LayerName */

const SETTLE_MS = 80; /* after the last move of the threshold the outlines are made anew */
const LEAST_UNCERTAINTY = 0.05; /* of the legend's upper end */
const UNKNOWN = { idc_mm2: null, tissue_mm2: null, idc_share: null };

const slideId = slideIdOfPage();
const api = slideApi(slideId);
const state = new ViewerState(localStorage);
const review = new Review(slideId);
const askingRegions = new Latest();
const askingLayer = new Latest();

/** @type {SlideDetail} */
let detail;
/** @type {SlideView | null} */
let view = null;
/** @type {Heatmap | null} */
let heatmap = null;
/** @type {Toolbox | null} */
let tools = null;

const panel = new RegionPanel(review, state, {
  noted: () => view?.paint(),
  chosen: (region, fly) => fly && view?.flyTo(region.box),
  rebased: refreshRegions,
});

async function start() {
  detail = await askJson(api);
  byId("title").textContent = slideId;
  document.title = `${slideId} · wsi_pipeline`;
  byId("report").setAttribute("href", `${location.pathname}/report`);
  byId("geojson").setAttribute("href", `${api}/review.geojson`);
  const { idc_mm2, tissue_mm2, idc_share } = detail.row;
  state.set({ threshold: detail.threshold ?? 0.5, colormap: detail.colormap, totals: { idc_mm2, tissue_mm2, idc_share } });
  showAbout();
  showNeighbors();
  const stillWhy = !detail.viewer || typeof OpenSeadragon === "undefined" ? "viewer" : detail.image.source === "none" ? "image" : null;
  const opened = stillWhy ? still(byId("stage"), detail, stillWhy) : openView();
  byId("mapcontrols").hidden = !detail.map;
  if (detail.map) wireControls(state, detail, detail.map);
  /* The slide is there before its map, the map before its regions. */
  await Promise.all([opened, review.load(), loadMap(), loadRegions(), welcome()]);
  refreshRegions();
  document.body.dataset.ready = "true";
}

async function welcome() {
  panel.welcome(await askJson(rooted("api/session")));
}

/* ---- the view ---- */

/** @returns {Promise<void>} when the slide can be moved */
function openView() {
  const minimap = byId("minimap");
  const shown = (view = new SlideView(byId("main"), detail, { ...sources(), minimap }));
  shown.painters.push(paintMap, paintRegions);
  const stopped = () => state.set({ tool: null });
  tools = new Toolbox(shown, state, {
    draw: new DrawTool(shown, addDrawn, stopped),
    edit: new EditTool(shown, state, reshape, stopped),
    measure: new RulerTool(shown, detail.image.mpp, (length) => say(el("div", { class: "notice", role: "status" }, `Distance: ${length}`))),
  });
  state.on(["tool"], showTool);
  state.on(["regions", "selectedId", "hoveredId", "outlines", "hatch", "isMapShown"], () => shown.paint());
  state.on(["hoveredId"], () => (byId("osd").style.cursor = state.now.hoveredId ? "pointer" : ""));
  state.on(["isBeside"], showBeside);
  const { viewer } = shown;
  viewer.addHandler("open-failed", () => say(errorBox({ message: "The slide cannot be shown", advice: "Reload the page" })));
  viewer.addHandler("tile-load-failed", tileLost);
  viewer.addHandler("update-viewport", () => {
    showPlace(shown);
    showOpacity(state, shown.umPerPixel);
  });
  viewer.addHandler("animation-finish", () => keepPlace(shown));
  viewer.addHandler("canvas-click", (event) => event.quick && state.hovered && panel.select(state.hovered, false));
  const under = () => ({ view: shown, state, heatmap, review, mpp: detail.image.mpp });
  byId("main").addEventListener("pointermove", (event) => showCursor(event, under()));
  byId("main").addEventListener("pointerleave", () => showCursor(null, under()));
  addEventListener("hashchange", () => shown.isOpen && goToHash(shown));
  return new Promise((resolve) => {
    viewer.addOnceHandler("open", () => {
      goToHash(shown);
      resolve();
    });
  });
}

function sources() {
  return {
    tileBase: `${api}/tiles`,
    query: `v=${detail.fingerprint}`,
    thumbnail: pictureUrl(detail.row, "thumbnail", 4096),
  };
}

/** @type {SlideView | null} */
let plain = null;
function showBeside() {
  byId("plain").hidden = !state.now.isBeside;
  if (!view || plain || !state.now.isBeside) return;
  const [first, second] = [view, (plain = new SlideView(byId("plain"), detail, sources()))];
  second.viewer.addOnceHandler("open", () => link(first, second));
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let hiding;
function showTool() {
  clearTimeout(hiding);
  if (!state.now.tool || !tools) {
    say();
    return;
  }
  say(el("div", { class: "notice", role: "status" }, tools.words));
  hiding = setTimeout(say, 10_000);
}

/* ---- what is shown beside the slide ---- */

function showAbout() {
  const { row } = detail;
  const problems = row.error ? [[row.error, row.advice ?? ""].filter(Boolean).map(sentence).join(" ")] : [];
  byId("warnings").replaceChildren(
    ...problems.map((text) => el("div", { class: "notice error", role: "alert" }, text)),
    ...detail.warnings.map((text) => el("div", { class: "notice warn" }, warningWords(text, row))),
  );
  const lines = facts(detail).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)));
  byId("facts").replaceChildren(el("tbody", {}, lines));
  showFigures(state, detail);
  state.on(["totals", "threshold", "isAsking"], () => showFigures(state, detail));
}

/** A warning; a duplicate leads to the slide whose results it shows.
 * @param {string} text
 * @param {import("../types").Row} row
 */
function warningWords(text, { duplicate_of: first }) {
  if (!first || text !== `the same content as ${first}`) return sentence(text);
  return el("span", {}, "The same content as ", el("a", { href: slideUrl(first) }, first), ", whose results these are. Each of the two has a review of its own. Is one of the names wrong?");
}

/** Lead to the neighbors in the order that the archive page was last shown in. */
function showNeighbors() {
  /** @type {string[]} */
  const order = JSON.parse(sessionStorage.getItem("order") ?? "[]");
  const at = order.indexOf(slideId);
  const neighbors = { before: order[at - 1], after: at < 0 ? undefined : order[at + 1] };
  for (const [id, neighbor] of Object.entries(neighbors)) {
    byId(id).hidden = neighbor === undefined;
    if (neighbor !== undefined) byId(id).setAttribute("href", slideUrl(neighbor));
  }
}

/** @param {HTMLElement[]} content */
function say(...content) {
  byId("banner").replaceChildren(...content);
}

let tilesLost = 0;
function tileLost() {
  tilesLost += 1;
  const words = `${tilesLost} ${tilesLost === 1 ? "part" : "parts"} of the slide could not be loaded. `;
  say(el("div", { class: "notice warn", role: "status" }, words, el("button", { type: "button", onclick: () => location.reload() }, "Try again")));
}

/* ---- the map ---- */

/** @param {LayerName} name
 * @param {AbortSignal} [signal] */
async function layer(name, signal) {
  const response = await ask(`${api}/layers/${name}?v=${detail.fingerprint}`, { signal });
  return new Float32Array(await response.arrayBuffer());
}

/** 1 = tissue. */
async function maskPixels() {
  const response = await ask(`${api}/layers/mask?v=${detail.fingerprint}`);
  return new Uint8Array(await response.arrayBuffer());
}

async function loadMap() {
  if (!detail.map) return;
  const [values, tissue, mask] = await Promise.all([layer("probability"), layer("tissue"), detail.map.mask ? maskPixels() : null]);
  heatmap = new Heatmap(detail.map, values, tissue, mask);
  state.on(["colormap", "threshold", "hideBelow", "smooth"], recolor);
  state.on(["opacity", "fade"], () => {
    showOpacity(state, view?.isOpen ? view.umPerPixel : null);
    view?.paint();
  });
  state.on(["threshold"], settleRegions);
  state.on(["layer"], changeLayer);
  showOpacity(state, view?.isOpen ? view.umPerPixel : null);
  recolor();
}

function changeLayer() {
  const name = state.now.layer;
  const known = heatmap?.values;
  askingLayer.ask(
    async (signal) => (name === "probability" && known ? known : layer(name, signal)),
    (values) => {
      const highest = values.reduce((most, v) => (v > most ? v : most), 0);
      const max = name === "uncertainty" ? Math.max(LEAST_UNCERTAINTY, Math.ceil(highest * 20) / 20) : 1;
      heatmap?.setLayer(values, max);
      showLegend(name, max);
      recolor();
    },
    (error) => {
      say(errorBox(error));
      choice("layer").value = "probability";
      state.set({ layer: "probability" });
    },
  );
}

function recolor() {
  heatmap?.recolor(state.now);
  view?.paint();
}

/** @type {import("./view.js").Painter} */
function paintMap(context, on) {
  if (!heatmap || !state.now.isMapShown) return;
  heatmap.draw(context, opacityAt(state, on.umPerPixel));
  if (state.now.hatch) heatmap.drawUnseen(context);
}

/** @type {import("./view.js").Painter} */
function paintRegions(context, { pixelsPerImagePx }) {
  const { outlines, regions, selectedId, hoveredId } = state.now;
  if (!outlines) return;
  const wordsOf = (/** @type {string} */ id) => review.wordsOf(id);
  drawRegions(context, regions, { pixelsPerImagePx, selected: selectedId, hovered: hoveredId, wordsOf });
}

/* ---- regions ---- */

/** @type {ReturnType<typeof setTimeout> | undefined} */
let settling;
function settleRegions() {
  askingRegions.drop();
  state.set({ isAsking: true });
  clearTimeout(settling);
  settling = setTimeout(loadRegions, SETTLE_MS);
}

async function loadRegions() {
  if (!detail.map) return;
  const { threshold } = state.now;
  const address = isSameThreshold(threshold, detail.threshold) ? `${api}/regions` : `${api}/regions?threshold=${threshold}`;
  await askingRegions.ask(
    /** @returns {Promise<import("../types").RegionsAnswer>} */
    (signal) => askJson(address, { signal }),
    ({ features, wsi_pipeline: rules, totals }) => {
      state.set({ found: features, rules, totals, isAsking: false });
      refreshRegions();
    },
    (error) => {
      state.set({ found: [], rules: null, totals: UNKNOWN, isAsking: false });
      refreshRegions();
      say(errorBox(error));
    },
  );
}

/** Show the map's regions at this threshold and those of the review that are not among them. */
function refreshRegions() {
  const { found, rules, threshold } = state.now;
  state.set({ regions: regionsOf(found, review, rules?.threshold ?? threshold, detail.image.mpp) });
  panel.show();
  view?.paint();
}

/** @param {import("../types").Ring} outline */
function addDrawn(outline) {
  const id = uuid();
  review.draw(id, outline);
  refreshRegions();
  state.set({ selectedId: id });
}

/** @param {string} id
 * @param {import("../types").Ring} outline */
function reshape(id, outline) {
  review.reshape(id, outline);
  refreshRegions();
}

/** A random UUID; crypto.randomUUID is missing where the server is reached over plain http. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/* ---- actions ---- */

const actions = actionsOf({
  state,
  review,
  panel,
  say,
  refreshRegions,
  view: () => view,
  tools: () => tools,
  setThreshold: (value) => detail?.map && state.set({ threshold: asThreshold(value, detail) }),
});

panel.wire({ save: actions.save, remove: actions.remove, edit: actions.edit });
document.addEventListener("click", (event) => {
  const pressed = event.target instanceof Element ? event.target.closest("[data-do]") : null;
  if (pressed instanceof HTMLElement && pressed.dataset.do) actions[pressed.dataset.do]();
});
addEventListener("beforeunload", (event) => {
  if (review.isDirty || tools?.isUnfinished) event.preventDefault();
});
wireTheme();
wireKeys(actions);
start().catch((error) => {
  byId("stage").replaceChildren(el("div", { class: "still" }, errorBox(error)));
  byId("panel").hidden = true;
});
