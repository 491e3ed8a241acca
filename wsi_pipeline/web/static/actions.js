// @ts-check
/** What keys and buttons of the slide page do, by name. */

import { byId, el } from "./common.js";
import { showHelp } from "./keys.js";
import { isEditable } from "./regions.js";

/** @typedef {import("../types").Tool} Tool */

/**
 * @typedef {object} Page
 * @property {import("./state.js").ViewerState} state
 * @property {import("./review.js").Review} review
 * @property {import("./panel.js").RegionPanel} panel
 * @property {(...content: HTMLElement[]) => void} say
 * @property {() => void} refreshRegions
 * @property {() => import("./view.js").SlideView | null} view
 * @property {() => import("./tools.js").Toolbox | null} tools
 * @property {(value: number) => void} setThreshold
 */

const FLICKER_MS = 600; /* slower than three a second: no risk with photosensitive epilepsy */
const OPACITY_STEP = 0.05;
const THRESHOLD_STEP = 0.01;

/** @param {Page} page
 * @returns {Record<string, (argument?: any) => unknown>} */
export function actionsOf(page) {
  const { state, panel } = page;
  const toggleTool = (/** @type {Tool} */ tool) => state.set({ tool: state.now.tool === tool ? null : tool });
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let flicker;
  state.on(["isMapShown", "isBeside", "tool"], () => {
    press("overlay", state.now.isMapShown);
    press("beside", state.now.isBeside);
    press("draw", state.now.tool === "draw");
    press("measure", state.now.tool === "measure");
    byId("edit").setAttribute("aria-pressed", String(state.now.tool === "edit"));
  });
  return {
    ...looking(page),
    overlay: () => state.set({ isMapShown: !state.now.isMapShown }),
    flicker: () => {
      clearInterval(flicker);
      flicker = flicker ? undefined : setInterval(() => state.set({ isMapShown: !state.now.isMapShown }), FLICKER_MS);
      press("flicker", Boolean(flicker));
      if (!flicker) state.set({ isMapShown: true });
    },
    beside: () => page.view() && state.set({ isBeside: !state.now.isBeside }),
    outlines: () => state.set({ outlines: !state.now.outlines }),
    opacity: (by) => state.set({ opacity: Math.min(1, Math.max(0, Math.round((state.now.opacity + by * OPACITY_STEP) * 100) / 100)) }),
    threshold: (by) => page.setThreshold(state.now.threshold + by * THRESHOLD_STEP),
    step: (by) => panel.step(by),
    decide: (decision) => panel.decide(decision),
    comment: () => state.selected && byId("comment").focus(),
    draw: () => page.view() && toggleTool("draw"),
    measure: () => page.view() && toggleTool("measure"),
    edit: () => editing(page, () => toggleTool("edit")),
    remove: () => removing(page),
    undo: () => stepping(page, () => page.tools()?.undo() || page.review.undo(), "undo"),
    redo: () => stepping(page, () => page.tools()?.redo() || page.review.redo(), "redo"),
    save: async () => {
      if (await panel.save()) page.refreshRegions();
    },
    help: showHelp,
  };
}

/** Where to look.
 * @param {Page} page
 * @returns {Record<string, (argument?: any) => unknown>} */
function looking({ view }) {
  return {
    zoom: (factor) => view()?.zoomBy(factor),
    in: () => view()?.zoomBy(1.6),
    out: () => view()?.zoomBy(1 / 1.6),
    home: () => view()?.viewer.viewport.goHome(),
    native: () => {
      const shown = view();
      shown?.moveTo({ ...shown.center, pixelsPerImagePx: 1 });
    },
    pan: ([right, down]) => view()?.panBy(right, down),
    rotate: (degrees) => {
      const viewport = view()?.viewer.viewport;
      viewport?.setRotation(viewport.getRotation() + (degrees || 90));
    },
    full: () => (document.fullscreenElement ? document.exitFullscreen() : document.querySelector(".viewer")?.requestFullscreen()),
    slide: (by) => {
      const link = byId(by > 0 ? "after" : "before");
      if (!link.hidden) link.click();
    },
  };
}

/** @param {Page} page
 * @param {() => void} toggle */
function editing({ state, view, say }, toggle) {
  if (!view() || !state.selected) return;
  if (isEditable(state.selected)) toggle();
  else say(note("Only outlines drawn by hand, in one piece and without holes, can be edited."));
}

/** @param {Page} page */
function removing({ state, review, refreshRegions, say }) {
  const { selected } = state;
  if (!selected) return;
  if (selected.kind !== "drawn") {
    say(note("This region was found by the program: reject it (x), it then stays on record."));
    return;
  }
  review.remove(selected.id);
  state.set({ selectedId: null });
  refreshRegions();
}

/** @param {Page} page
 * @param {() => boolean} step
 * @param {string} name */
function stepping({ refreshRegions, say }, step, name) {
  if (step()) refreshRegions();
  else say(note(`Nothing to ${name}: what was saved stays on record.`));
}

/** @param {string} words */
const note = (words) => el("div", { class: "notice", role: "status" }, words);

/** @param {string} name
 * @param {boolean} pressed */
function press(name, pressed) {
  document.querySelector(`[data-do="${name}"]`)?.setAttribute("aria-pressed", String(pressed));
}
