/** One slide on paper: what was found, what the reviewers say, and by what it was made. */

import { askJson, byId, el, errorBox, figure, pictureUrl, sentence, slideApi, slideIdOfPage, slideUrl, wireTheme } from "./common.js";
import { facts } from "./still.js";

const slideId = slideIdOfPage();

function table(head, rows, numeric = []) {
  const cell = (tag) => (text, i) => el(tag, { class: numeric.includes(i) ? "number" : null }, text);
  return el(
    "table",
    {},
    head.length ? el("thead", {}, el("tr", {}, head.map(cell("th")))) : null,
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell("td"))))),
  );
}

function section(title, ...content) {
  return el("section", {}, el("h2", {}, title), ...content);
}

/** The run's regions with what was said about them, then what reviewers added. */
function regionRows(features, items) {
  const found = features.map((feature) => ({ id: feature.id, name: feature.properties.name, measurements: feature.properties.measurements }));
  const known = new Set(found.map(({ id }) => id));
  const added = Object.entries(items)
    .filter(([id]) => !known.has(id))
    .map(([id, { kind, measurements }]) => ({ id, measurements, name: kind === "drawn" ? "Drawn" : "Other threshold" }));
  return [...found, ...added].map(({ id, name, measurements }) => {
    const said = items[id];
    return [
      name,
      figure.mm2(measurements["Area mm^2"]),
      figure.probability(measurements["Mean probability"]),
      figure.probability(measurements["Max probability"]),
      said ? { accepted: "✓ accepted", rejected: "✕ rejected", undecided: "undecided" }[said.decision] : "–",
      said?.label ?? "",
      [said?.comment, said?.reviewer && `(${said.reviewer})`].filter(Boolean).join(" "),
    ];
  });
}

function summary(detail, review) {
  const { row } = detail;
  const accepted = Object.values(review.items).filter(({ decision }) => decision === "accepted");
  const area = accepted.reduce((sum, { measurements }) => sum + measurements["Area mm^2"], 0);
  return table(
    ["Tissue", "IDC by the program", "Share of tissue", "Regions", "Accepted by reviewers"],
    [[figure.mm2(row.tissue_mm2), figure.mm2(row.idc_mm2), figure.percent(row.idc_share), figure.count(row.regions), review.revision ? `${accepted.length} (${figure.mm2(area)})` : "not reviewed"]],
  );
}

async function show() {
  const [detail, review] = await Promise.all([askJson(slideApi(slideId)), askJson(`${slideApi(slideId)}/review`)]);
  const regions = detail.map ? await askJson(`${slideApi(slideId)}/regions`) : { features: [] };
  document.title = `${slideId} report`;
  byId("back").href = slideUrl(slideId);
  const rows = regionRows(regions.features, review.items);
  const last = review.history.at(-1);
  byId("report").replaceChildren(
    el("header", {}, el("h1", {}, slideId), el("span", { class: "disclaimer" }, detail.notice)),
    detail.row.error ? el("p", {}, `Failed: ${[detail.row.error, detail.row.advice].filter(Boolean).map(sentence).join(" ")}`) : "",
    summary(detail, review),
    detail.row.has_overlay ? el("img", { src: pictureUrl(detail.row, "overlay", 2400), alt: `Probability map over ${slideId}` }) : "",
    section(
      "Regions",
      rows.length
        ? table(["Region", "Area", "Mean p", "Max. p", "Decision", "Label", "Comment"], rows, [1, 2, 3])
        : el("p", {}, "No region reaches the threshold."),
      el("p", { class: "muted" }, `Threshold ${figure.probability3(detail.threshold)}${detail.warnings.length ? `. ${detail.warnings.join(" ")}` : ""}`),
    ),
    section("Made by", table([], facts(detail))),
    el("div", { class: "sign" }, el("div", {}, last ? `Last review: ${last.reviewer}, ${figure.time(last.time)}` : "Reviewer"), el("div", {}, "Date, signature")),
  );
}

wireTheme();
byId("print").addEventListener("click", () => print());
show().catch((error) => byId("report").replaceChildren(errorBox(error)));
