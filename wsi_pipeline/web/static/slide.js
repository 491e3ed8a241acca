/** The slide page: looking at one slide, its map and its regions, and reviewing them. */

import { ask, askJson, byId, el, errorBox, figure, pictureUrl, sentence, slideApi, slideIdOfPage, slideUrl, wireTheme } from "./common.js";
import { COLORMAPS, colorTable, drawRamp } from "./colormaps.js";
import { DrawTool } from "./draw.js";
import { Heatmap } from "./heatmap.js";
import { showHelp, wireKeys } from "./keys.js";
import { RegionPanel } from "./panel.js";
import { drawRegions, regionAt, regionOf } from "./regions.js";
import { Review } from "./review.js";
import { showScale } from "./scale.js";
import { facts, still } from "./still.js";
import { SlideView, link } from "./view.js";

const FLICKER_MS = 600; /* slower than three a second: no risk with photosensitive epilepsy */
const SETTLE_MS = 80; /* after the last move of the threshold the outlines are made anew */

const slideId = slideIdOfPage();
const api = slideApi(slideId);
const kept = JSON.parse(localStorage.getItem("view") ?? "{}");
const show = { map: true, outlines: kept.outlines ?? true, hatch: kept.hatch ?? true };

let detail, view, plain, heatmap, draw, flicker;
let regions = [];
let hovered = null;
const review = new Review(slideId);
const panel = new RegionPanel(review, {
  changed: () => view?.paint(),
  chosen: (region, fly) => {
    if (fly) view?.flyTo(region.box);
    view?.paint();
  },
});

const settings = () => ({
  opacity: Number(byId("opacity").value),
  threshold: Number(byId("thresholdvalue").value),
  colormap: byId("colormap").value,
  hideBelow: byId("hidebelow").checked,
});

async function layer(name) {
  const response = await ask(`${api}/layers/${name}?v=${detail.fingerprint}`);
  return new Float32Array(await response.arrayBuffer());
}

async function start() {
  detail = await askJson(api);
  byId("title").textContent = slideId;
  document.title = `${slideId} · wsi_pipeline`;
  byId("report").href = `${location.pathname}/report`;
  byId("geojson").href = `${api}/review.geojson`;
  showFigures();
  showNeighbors();
  await review.load();
  if (detail.map) {
    const [values, tissue] = await Promise.all([layer("probability"), layer("tissue")]);
    heatmap = new Heatmap(detail.map, values, tissue);
    wireMap();
  } else {
    byId("mapcontrols").hidden = true;
    byId("overlay").hidden = true;
  }
  if (!openView()) return;
  await loadRegions();
}

function openView() {
  const stillWhy = !detail.viewer || typeof OpenSeadragon === "undefined" ? "viewer" : detail.image.source === "none" ? "image" : null;
  if (stillWhy) {
    still(byId("stage"), detail, stillWhy);
    if (detail.map) loadRegions();
    return false;
  }
  view = new SlideView(byId("main"), detail, { ...sources(), minimap: byId("minimap") });
  view.painters.push(paintMap, paintRegions);
  draw = new DrawTool(view, {
    stage: byId("stage"),
    crosshair: byId("crosshair"),
    finished: addDrawn,
    stopped: () => press("draw", false),
  });
  view.viewer.addOnceHandler("open", () => {
    goToHash();
    document.body.dataset.ready = "true";
  });
  view.viewer.addHandler("open-failed", () => say(errorBox({ message: "The slide cannot be shown", advice: "Reload the page" })));
  view.viewer.addHandler("tile-load-failed", tileLost);
  view.viewer.addHandler("update-viewport", showPlace);
  view.viewer.addHandler("animation-finish", keepPlace);
  view.viewer.addHandler("canvas-click", (event) => {
    if (event.quick) clickRegion();
  });
  byId("main").addEventListener("pointermove", hover);
  byId("main").addEventListener("pointerleave", () => hover(null));
  return true;
}

function sources() {
  return {
    tileBase: `${api}/tiles`,
    query: `v=${detail.fingerprint}`,
    thumbnail: pictureUrl(detail.row, "thumbnail", 4096),
  };
}

/* ---- what is shown beside the slide ---- */

function showFigures() {
  const { row } = detail;
  const lines = [
    ["IDC", figure.mm2(row.idc_mm2)],
    ["Tissue", figure.mm2(row.tissue_mm2)],
    ["Share", figure.percent(row.idc_share)],
  ];
  byId("figures").replaceChildren(...lines.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  const problems = row.error ? [[row.error, row.advice].filter(Boolean).map(sentence).join(" ")] : [];
  byId("warnings").replaceChildren(
    ...problems.map((text) => el("div", { class: "notice error", role: "alert" }, text)),
    ...detail.warnings.map((text) => el("div", { class: "notice warn" }, text)),
  );
  byId("facts").replaceChildren(el("tbody", {}, facts(detail).map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)))));
}

/** Lead to the neighbors in the order that the archive page was last shown in. */
function showNeighbors() {
  const order = JSON.parse(sessionStorage.getItem("order") ?? "[]");
  const at = order.indexOf(slideId);
  for (const [id, neighbor] of [["before", order[at - 1]], ["after", at < 0 ? undefined : order[at + 1]]]) {
    byId(id).hidden = neighbor === undefined;
    if (neighbor !== undefined) byId(id).href = slideUrl(neighbor);
  }
}

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

function wireMap() {
  byId("colormap").append(...COLORMAPS.map((name) => el("option", { value: name }, name[0].toUpperCase() + name.slice(1))));
  byId("colormap").value = COLORMAPS.includes(kept.colormap) ? kept.colormap : "inferno";
  byId("opacity").value = kept.opacity ?? 0.6;
  byId("hidebelow").checked = kept.hideBelow ?? true;
  for (const name of ["outlines", "hatch"]) byId(name).checked = show[name];
  const isNamed = Object.values(detail.operating_points).includes(detail.threshold);
  const points = { ...(isNamed ? {} : { run: detail.threshold }), ...detail.operating_points };
  byId("points").append(
    ...Object.entries(points).map(([name, value]) =>
      el("button", { type: "button", onclick: () => setThreshold(value) }, `${name.replaceAll("_", " ")} ${figure.probability3(value)}`),
    ),
  );
  const layers = detail.map.layers.filter((name) => name !== "tissue");
  byId("layerrow").hidden = layers.length < 2;
  byId("layer").append(...layers.map((name) => el("option", { value: name }, name[0].toUpperCase() + name.slice(1))));
  byId("layer").addEventListener("change", changeLayer);
  for (const id of ["opacity", "colormap", "hidebelow"]) byId(id).addEventListener("input", recolor);
  for (const id of ["outlines", "hatch"]) {
    byId(id).addEventListener("input", () => {
      show[id] = byId(id).checked;
      recolor();
    });
  }
  byId("threshold").addEventListener("input", () => setThreshold(Number(byId("threshold").value)));
  byId("thresholdvalue").addEventListener("change", () => setThreshold(Number(byId("thresholdvalue").value)));
  setThreshold(detail.threshold);
}

function setThreshold(value) {
  const threshold = Math.min(1, Math.max(0, Number.isFinite(value) ? value : detail.threshold));
  byId("threshold").value = threshold;
  byId("thresholdvalue").value = Number(threshold.toFixed(4));
  byId("rampmark").style.left = `${100 * threshold}%`;
  for (const button of byId("points").children) {
    button.setAttribute("aria-pressed", String(button.textContent.endsWith(figure.probability3(threshold))));
  }
  recolor();
  if (view) settleRegions();
}

async function changeLayer() {
  const name = byId("layer").value;
  const values = name === "probability" ? heatmap.values : await layer(name);
  const highest = values.reduce((most, v) => (v > most ? v : most), 0);
  const max = name === "uncertainty" ? Math.max(0.05, Math.ceil(highest * 20) / 20) : 1;
  heatmap.setLayer(values, max);
  byId("legendname").textContent = { uncertainty: "Spread over eight views", raw: "Probability before refinement" }[name] ?? "Probability of IDC";
  byId("legendmax").textContent = String(max);
  byId("rampmark").hidden = name === "uncertainty";
  recolor();
}

function recolor() {
  if (!heatmap) return;
  const now = settings();
  heatmap.recolor(now);
  byId("opacityvalue").textContent = `${Math.round(100 * now.opacity)} %`;
  drawRamp(byId("ramp"), colorTable(now.colormap));
  localStorage.setItem("view", JSON.stringify({ ...now, threshold: undefined, outlines: show.outlines, hatch: show.hatch }));
  view?.paint();
}

function paintMap(context) {
  if (!heatmap || !show.map) return;
  heatmap.draw(context, settings().opacity);
  if (show.hatch) heatmap.drawUnseen(context);
}

function paintRegions(context, on) {
  if (!show.outlines) return;
  drawRegions(context, panel.regions, {
    pixelsPerImagePx: on.pixelsPerImagePx,
    selected: panel.selected?.id,
    hovered: hovered?.id,
    stateOf: (region) => review.stateOf(region),
  });
}

/* ---- regions ---- */

let asking = null;
let settling = 0;
function settleRegions() {
  clearTimeout(settling);
  settling = setTimeout(loadRegions, SETTLE_MS);
}

async function loadRegions() {
  asking?.abort();
  asking = new AbortController();
  if (!detail.map) {
    panel.setRegions([]);
    return;
  }
  const { threshold } = settings();
  const isRun = Math.abs(threshold - detail.threshold) < 5e-4;
  try {
    const address = isRun ? `${api}/regions` : `${api}/regions?threshold=${threshold}`;
    const { features } = await askJson(address, { signal: asking.signal });
    regions = features.map((feature) =>
      regionOf({
        id: feature.id,
        geometry: feature.geometry,
        measurements: feature.properties.measurements,
        name: feature.properties.name,
        kind: "detected",
        threshold: isRun ? null : threshold,
      }),
    );
    refreshRegions();
  } catch (error) {
    if (error.name !== "AbortError") say(errorBox(error));
  }
}

/** Show the map's regions at this threshold and those of the review that are not among them. */
function refreshRegions() {
  const known = new Set(regions.map((region) => region.id));
  const reviewed = Object.entries(review.saved.items)
    .filter(([id]) => !known.has(id))
    .map(([id, item]) =>
      regionOf({ id, ...item, name: item.kind === "drawn" ? "Drawn" : `At p ≥ ${item.threshold?.toFixed(2) ?? "run"}` }),
    );
  panel.setRegions([...regions, ...reviewed, ...unsavedDrawn]);
  view?.paint();
}

let unsavedDrawn = [];
function addDrawn(corners) {
  const id = uuid();
  const geometry = { type: "Polygon", coordinates: [[...corners, corners[0]]] };
  const measurements = { "Area mm^2": areaMm2(corners) };
  const region = regionOf({ id, geometry, measurements, name: "Drawn", kind: "drawn" });
  review.draw(region, corners);
  unsavedDrawn.push(region);
  refreshRegions();
  panel.select(region, false);
}

function areaMm2(corners) {
  const twice = corners.reduce((sum, [x, y], i) => {
    const [x2, y2] = corners[(i + 1) % corners.length];
    return sum + x * y2 - x2 * y;
  }, 0);
  const { mpp } = detail.image;
  return mpp ? (Math.abs(twice) / 2) * mpp[0] * mpp[1] * 1e-6 : null;
}

/** A random UUID; crypto.randomUUID is missing where the server is reached over plain http. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/* ---- the cursor ---- */

function hover(event) {
  const tip = byId("tip");
  if (!event || !view?.isOpen) {
    tip.hidden = byId("cursor").hidden = true;
    setHovered(null);
    return;
  }
  const { x, y } = view.imagePoint(event);
  const cell = heatmap ? heatmap.cellAt(x, y) : -1;
  const probability = cell >= 0 ? heatmap.values[cell] : NaN;
  const place = detail.image.mpp
    ? `x ${((x * detail.image.mpp[0]) / 1000).toFixed(2)}, y ${((y * detail.image.mpp[1]) / 1000).toFixed(2)} mm`
    : `x ${Math.round(x)}, y ${Math.round(y)} px`;
  byId("cursor").hidden = false;
  byId("cursor").textContent = `${place} · ${Number.isNaN(probability) ? "not classified" : `p ${probability.toFixed(3)}`}`;
  const isOnSlide = event.target.closest(".tools, .banner, .minimap") === null;
  setHovered(show.outlines && isOnSlide && !draw.isActive ? regionAt(panel.regions, x, y) : null);
  tip.hidden = !hovered;
  if (!hovered) return;
  const { decision, label, comment } = review.stateOf(hovered);
  const frame = byId("main").getBoundingClientRect();
  tip.style.left = `${Math.min(event.clientX - frame.left, frame.width - 230)}px`;
  tip.style.top = `${Math.min(event.clientY - frame.top, frame.height - 70)}px`;
  tip.replaceChildren(
    el("strong", {}, hovered.name),
    el("div", {}, `${figure.mm2(hovered.area)} · mean p ${figure.probability(hovered.mean)}`),
    el("div", { class: "muted" }, [label, decision, comment].filter(Boolean).join(" · ")),
  );
}

function setHovered(region) {
  if (!view || hovered?.id === region?.id) return;
  hovered = region;
  byId("osd").style.cursor = region ? "pointer" : "";
  view.paint();
}

function clickRegion() {
  if (hovered) panel.select(hovered, false);
}

/* ---- the place: scale bar, zoom, deep link ---- */

function showPlace() {
  const um = view.umPerPixel;
  showScale(byId("scale"), um);
  byId("zoom").hidden = false;
  byId("zoom").textContent = um ? `${um.toPrecision(3)} µm/px` : `${(100 * view.pixelsPerImagePx).toPrecision(3)} %`;
}

function keepPlace() {
  const { x, y } = view.center;
  const parts = {
    x: x.toFixed(0),
    y: y.toFixed(0),
    z: (1 / view.pixelsPerImagePx).toPrecision(4),
    r: view.viewer.viewport.getRotation() % 360 || undefined,
  };
  const words = Object.entries(parts).filter(([, value]) => value !== undefined);
  history.replaceState(null, "", `#${words.map(([name, value]) => `${name}=${value}`).join("&")}`);
}

function goToHash() {
  const place = new URLSearchParams(location.hash.slice(1));
  const [x, y, z] = ["x", "y", "z"].map((name) => Number.parseFloat(place.get(name)));
  if (![x, y, z].every(Number.isFinite) || z <= 0) return;
  const rotation = Number.parseFloat(place.get("r") ?? "0") || 0;
  view.moveTo({ x, y, pixelsPerImagePx: 1 / z, rotation }, true);
}

/* ---- actions ---- */

function press(name, pressed) {
  document.querySelector(`[data-do="${name}"]`).setAttribute("aria-pressed", String(pressed));
}

function setMap(isOn) {
  show.map = isOn;
  press("overlay", isOn);
  view?.paint();
}

function nudge(id, change, apply) {
  const input = byId(id);
  input.value = Number(input.value) + change;
  apply();
}

const actions = {
  zoom: (factor) => view?.zoomBy(factor),
  in: () => view?.zoomBy(1.6),
  out: () => view?.zoomBy(1 / 1.6),
  home: () => view?.viewer.viewport.goHome(),
  native: () => view?.moveTo({ ...view.center, pixelsPerImagePx: 1 }),
  pan: ([right, down]) => view?.panBy(right, down),
  rotate: (degrees) => {
    if (view) view.viewer.viewport.setRotation(view.viewer.viewport.getRotation() + (degrees || 90));
  },
  full: () => (document.fullscreenElement ? document.exitFullscreen() : document.querySelector(".desk").requestFullscreen()),
  overlay: () => setMap(!show.map),
  flicker: () => {
    clearInterval(flicker);
    flicker = flicker ? 0 : setInterval(() => setMap(!show.map), FLICKER_MS);
    press("flicker", Boolean(flicker));
    if (!flicker) setMap(true);
  },
  beside: () => {
    if (!view) return;
    const element = byId("plain");
    element.hidden = !element.hidden;
    press("beside", !element.hidden);
    if (!plain && !element.hidden) {
      plain = new SlideView(element, detail, sources());
      plain.viewer.addOnceHandler("open", () => link(view, plain));
    }
  },
  outlines: () => byId("outlines").click(),
  opacity: (way) => nudge("opacity", way ? 0.05 : -0.05, recolor),
  threshold: (way) => setThreshold(settings().threshold + (way ? 0.01 : -0.01)),
  step: (by) => panel.step(by),
  decide: (decision) => panel.decide(decision),
  comment: () => panel.selected && byId("comment").focus(),
  draw: () => {
    if (!view || !detail.map) return;
    if (draw.isActive) draw.cancel();
    else {
      draw.start();
      press("draw", true);
      say(
        el("div", { class: "notice", role: "status" },
          "Click corners or drag a line; Enter or a double click closes it, Esc gives up. By keys: move with the arrows, Space sets a corner at the crosshair."),
      );
      setTimeout(() => say(), 8000);
    }
  },
  slide: (by) => {
    const link = byId(by > 0 ? "after" : "before");
    if (!link.hidden) link.click();
  },
  save: async () => {
    if (await panel.save()) {
      unsavedDrawn = [];
      refreshRegions();
    }
  },
  help: showHelp,
};

panel.wire({ save: actions.save, rebased: refreshRegions, removed: (region) => {
  unsavedDrawn = unsavedDrawn.filter(({ id }) => id !== region.id);
  refreshRegions();
} });
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) actions[button.dataset.do]();
});
addEventListener("beforeunload", (event) => {
  if (review.isDirty) event.preventDefault();
});
addEventListener("hashchange", () => view?.isOpen && goToHash());
wireTheme();
wireKeys(actions);
start().catch((error) => {
  byId("stage").replaceChildren(el("div", { class: "still" }, errorBox(error)));
  byId("panel").hidden = true;
});
