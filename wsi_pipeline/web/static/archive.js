/** The archive page: every slide of the run as a card. */

import { askJson, byId, el, errorBox, figure, pictureUrl, sentence, slideUrl, wireTheme } from "./common.js";

const REFRESH_MS = 10_000;
const STATES = ["done", "failed", "empty", "running", "queued"];
let slides = [];

function card(row) {
  const shown = row.has_overlay
    ? el("img", {
        src: pictureUrl(row, "overlay", 520),
        alt: `Overlay of ${row.slide_id}`,
        loading: "lazy",
        decoding: "async",
      })
    : el("span", {}, { failed: "Failed", empty: "No tissue found", running: "Running …" }[row.state] ?? "No picture");
  const state = STATES.includes(row.state) ? row.state : "unknown";
  return el(
    "li",
    { class: "card", "data-id": row.slide_id },
    el("a", { class: "picture", href: slideUrl(row.slide_id), tabindex: "-1", "aria-hidden": "true" }, shown),
    el(
      "div",
      { class: "text" },
      el(
        "div",
        { class: "title" },
        el("a", { href: slideUrl(row.slide_id) }, row.slide_id),
        el("span", { class: `badge ${state}` }, state),
      ),
      row.error ? el("p", { class: "muted" }, [row.error, row.advice].filter(Boolean).map(sentence).join(" ")) : figures(row),
      el("div", { class: "reviewed" }, reviewWords(row.review)),
    ),
  );
}

function figures(row) {
  const lines = [
    ["IDC", figure.mm2(row.idc_mm2)],
    ["Share", figure.percent(row.idc_share)],
    ["Regions", figure.count(row.regions)],
    ["Max. p", figure.probability(row.max_probability)],
  ];
  return el("dl", {}, lines.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function reviewWords({ accepted, rejected, reviewer, time, problem }) {
  if (problem) return el("span", { class: "problem" }, problem);
  if (!reviewer) return "Not reviewed yet";
  return `${accepted} accepted, ${rejected} rejected · ${reviewer}, ${figure.time(time)}`;
}

function chosen() {
  const words = byId("find").value.trim().toLowerCase();
  const [state, reviewed, key] = ["state", "reviewed", "sort"].map((id) => byId(id).value);
  const isShown = (row) =>
    row.slide_id.toLowerCase().includes(words) &&
    (!state || row.state === state) &&
    (!reviewed || Boolean(row.review.reviewer) === (reviewed === "yes"));
  const byName = (a, b) => a.slide_id.localeCompare(b.slide_id, "en", { numeric: true });
  const byFigure = (a, b) => (b[key] ?? -1) - (a[key] ?? -1) || byName(a, b);
  return slides.filter(isShown).sort(key === "slide_id" ? byName : byFigure);
}

function show() {
  const rows = chosen();
  byId("cards").replaceChildren(...rows.map(card));
  byId("blank").hidden = rows.length > 0;
  byId("why").textContent = slides.length
    ? "No slide fits these filters."
    : "This output folder holds no slides yet. They appear here as the run goes on.";
  byId("clear").hidden = !slides.length;
  const count = (state) => slides.filter((row) => row.state === state).length;
  const states = STATES.filter(count).map((state) => `${count(state)} ${state}`);
  const total = slides.reduce((sum, row) => sum + (row.idc_mm2 ?? 0), 0);
  const shown = rows.length === slides.length ? "" : `${rows.length} of `;
  byId("summary").textContent = `${shown}${slides.length} slides · ${states.join(", ")} · IDC ${figure.mm2(total)} in all`;
  sessionStorage.setItem("order", JSON.stringify(rows.map((row) => row.slide_id)));
}

async function load() {
  try {
    const archive = await askJson("/api/archive");
    slides = archive.slides;
    byId("title").textContent = archive.run.name;
    document.title = `${archive.run.name} · wsi_pipeline`;
    byId("problem").replaceChildren();
    show();
    if (archive.run.state === "running") setTimeout(load, REFRESH_MS);
  } catch (error) {
    byId("summary").textContent = "";
    byId("problem").replaceChildren(errorBox(error));
  }
}

function remember() {
  const kept = Object.fromEntries(["find", "state", "reviewed", "sort"].map((id) => [id, byId(id).value]));
  sessionStorage.setItem("filters", JSON.stringify(kept));
}

wireTheme();
for (const [id, value] of Object.entries(JSON.parse(sessionStorage.getItem("filters") ?? "{}"))) byId(id).value = value;
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("filters").addEventListener("input", () => {
  remember();
  show();
});
byId("clear").addEventListener("click", () => {
  byId("filters").reset();
  remember();
  show();
});
load();
