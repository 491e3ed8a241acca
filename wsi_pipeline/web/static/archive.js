// @ts-check
/** The archive page: every slide of the run as a card. */

import { askJson, byId, choice, el, errorBox, figure, input, pictureUrl, rooted, sentence, slideUrl, wireTheme } from "./common.js";

/** @typedef {import("../types").Row} Row */
/** @typedef {import("../types").Archive} Archive */

const REFRESH_MS = 10_000;
const STATES = ["done", "failed", "empty", "running", "queued"];
const TROUBLE_FIRST = ["failed", "empty", "running", "queued", "done"];
const A_PAGE = 96; /* cards made at a time: an archive has thousands */
const ORDER = new Intl.Collator("en", { numeric: true }); /* one for all: localeCompare makes one a call */
/** @type {Row[]} */
let slides = [];
/** Of them, what the filters leave, in order.
 * @type {Row[]} */
let rows = [];
/** @type {Record<string, string>} */
const INSTEAD = { failed: "Failed", empty: "No tissue found", running: "Running …" };

/** @param {Row} row */
function card(row) {
  const picture = row.has_gallery ? "gallery" : row.has_overlay ? "overlay" : null;
  const shown = picture
    ? el("img", {
        src: pictureUrl(row, picture, 520),
        alt: `Map over ${row.slide_id}`,
        loading: "lazy",
        decoding: "async",
      })
    : el("span", {}, INSTEAD[row.state] ?? "No picture");
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
      row.error ? el("p", { class: "muted" }, [row.error, row.advice ?? ""].filter(Boolean).map(sentence).join(" ")) : figures(row),
      row.familiarity_caution ? el("p", { class: "caution" }, sentence(row.familiarity_caution)) : null,
      row.duplicate_of ? el("p", { class: "muted" }, "The same content as ", el("a", { href: slideUrl(row.duplicate_of) }, row.duplicate_of)) : null,
      el("div", { class: "reviewed" }, reviewWords(row.review)),
    ),
  );
}

/** @param {Row} row */
function figures(row) {
  const lines = [
    ["IDC", figure.mm2(row.idc_mm2)],
    ["Share", figure.percent(row.idc_share)],
    ["Regions", figure.count(row.regions)],
    ["Max. p", figure.probability(row.max_probability)],
  ];
  return el("dl", {}, lines.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** @param {Row["review"]} review */
function reviewWords({ accepted, rejected, reviewer, time, problem }) {
  if (problem) return el("span", { class: "problem" }, problem);
  if (!reviewer) return "Not reviewed yet";
  return `${accepted} accepted, ${rejected} rejected · ${reviewer}, ${figure.time(time)}`;
}

function chosen() {
  const words = input("find").value.trim().toLowerCase();
  const [state, reviewed, key] = ["state", "reviewed", "sort"].map((id) => choice(id).value);
  const isShown = (/** @type {Row} */ row) =>
    row.slide_id.toLowerCase().includes(words) &&
    (!state || row.state === state) &&
    (!reviewed || Boolean(row.review.reviewer) === (reviewed === "yes"));
  /** @typedef {(a: Row, b: Row) => number} Order */
  /** @type {Order} */
  const byName = (a, b) => ORDER.compare(a.slide_id, b.slide_id);
  const value = (/** @type {Row} */ row) => Number(row[/** @type {keyof Row} */ (key)] ?? -1);
  /** @type {Order} */
  const byFigure = (a, b) => value(b) - value(a) || byName(a, b);
  const rank = (/** @type {Row} */ row) => TROUBLE_FIRST.indexOf(row.state) + 1 || TROUBLE_FIRST.length + 1;
  /** @type {Record<string, Order>} */
  const orders = { slide_id: byName, state: (a, b) => rank(a) - rank(b) || byName(a, b) };
  return slides.filter(isShown).sort(orders[key] ?? byFigure);
}

/** Show what the filters leave, from its beginning; `atLeast` cards of it. */
function show(atLeast = A_PAGE) {
  rows = chosen();
  const focused = document.activeElement?.closest(".card")?.getAttribute("data-id");
  byId("cards").replaceChildren(...rows.slice(0, atLeast).map(card));
  const again = focused ? byId("cards").querySelector(`[data-id="${CSS.escape(focused)}"] .title a`) : null;
  if (again instanceof HTMLElement) again.focus();
  showRest();
  byId("blank").hidden = rows.length > 0;
  byId("why").textContent = slides.length
    ? "No slide fits these filters."
    : "This output folder holds no slides yet. They appear here as the run goes on.";
  byId("clear").hidden = !slides.length;
  showSummary();
  sessionStorage.setItem("order", JSON.stringify(rows.map((row) => row.slide_id)));
}

function showSummary() {
  const count = (/** @type {string} */ state) => slides.filter((row) => row.state === state).length;
  const states = STATES.filter(count).map((state) => `${figure.count(count(state))} ${state}`);
  const reviewed = slides.filter((row) => row.review.reviewer).length;
  const total = slides.reduce((sum, row) => sum + (row.duplicate_of ? 0 : (row.idc_mm2 ?? 0)), 0);
  const shown = rows.length === slides.length ? "" : `${figure.count(rows.length)} of `;
  const words = [`${shown}${figure.count(slides.length)} ${slides.length === 1 ? "slide" : "slides"}`, states.join(", "), `${figure.count(reviewed)} reviewed`, `IDC ${figure.mm2(total)} in all`];
  byId("summary").textContent = words.filter(Boolean).join(" · ");
}

function showRest() {
  const left = rows.length - byId("cards").childElementCount;
  byId("more").hidden = left <= 0;
  byId("more").textContent = `Show ${figure.count(Math.min(A_PAGE, left))} more of ${figure.count(left)}`;
}

/** Add the next cards: on a click, or when the end of the list comes into view. */
function more() {
  const have = byId("cards").childElementCount;
  byId("cards").append(...rows.slice(have, have + A_PAGE).map(card));
  showRest();
}

async function load() {
  try {
    /** @type {Archive} */
    const archive = await askJson(rooted("api/archive"));
    const isNew = JSON.stringify(archive.slides) !== JSON.stringify(slides);
    slides = archive.slides;
    byId("title").textContent = archive.run.name;
    document.title = `${archive.run.name} · wsi_pipeline`;
    byId("problem").replaceChildren();
    if (isNew || !slides.length) show(Math.max(A_PAGE, byId("cards").childElementCount));
    if (archive.run.state === "running") setTimeout(load, REFRESH_MS);
  } catch (error) {
    byId("summary").textContent = "";
    byId("problem").replaceChildren(errorBox(error));
  }
}

const FILTERS = ["find", "state", "reviewed", "sort"];
const filter = (/** @type {string} */ id) => (id === "find" ? input(id) : choice(id));

function remember() {
  const kept = Object.fromEntries(FILTERS.map((id) => [id, filter(id).value]));
  sessionStorage.setItem("filters", JSON.stringify(kept));
}

wireTheme();
for (const [id, value] of Object.entries(JSON.parse(sessionStorage.getItem("filters") ?? "{}"))) filter(id).value = value;
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", more);
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more(), { rootMargin: "600px" }).observe(byId("more"));
byId("filters").addEventListener("input", () => {
  remember();
  show();
});
byId("clear").addEventListener("click", () => {
  byId("filters", HTMLFormElement).reset();
  remember();
  show();
});
load();
