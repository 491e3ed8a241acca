// @ts-check
/** The state of the slide page: one object. Whoever shows a part of it says so and is told of changes. */

/** @typedef {import("../types").ViewState} ViewState */
/** @typedef {keyof ViewState} Key */

/** Remembered on this machine. Not the colors: card, overlay and report have those of the run.
 * @type {Key[]} */
export const KEPT = ["opacity", "hideBelow", "smooth", "fade", "outlines", "hatch"];
const KEPT_AS = "view";

/** @type {ViewState} */
const FIRST = {
  threshold: 0.5,
  opacity: 0.6,
  colormap: "viridis",
  hideBelow: true,
  smooth: true,
  fade: true,
  outlines: true,
  hatch: true,
  isMapShown: true,
  isBeside: false,
  layer: "probability",
  tool: null,
  found: [],
  rules: null,
  totals: { idc_mm2: null, tissue_mm2: null, idc_share: null },
  regions: [],
  isAsking: false,
  selectedId: null,
  hoveredId: null,
};

export class ViewerState {
  /** @type {{ keys: Key[], listener: () => void }[]} */
  #listeners = [];
  #storage;

  /** @param {Pick<Storage, "getItem" | "setItem">} storage */
  constructor(storage) {
    this.#storage = storage;
    this.now = /** @type {Readonly<ViewState>} */ (Object.freeze({ ...FIRST, ...this.#remembered() }));
  }

  /** Change some of it; those who show what has changed are told, once.
   * @param {Partial<ViewState>} changes */
  set(changes) {
    const keys = /** @type {Key[]} */ (Object.keys(changes));
    const changed = keys.filter((key) => !Object.is(this.now[key], changes[key]));
    if (!changed.length) return;
    this.now = Object.freeze({ ...this.now, ...changes });
    if (changed.some((key) => KEPT.includes(key))) this.#remember();
    for (const { keys: shown, listener } of this.#listeners) {
      if (shown.some((key) => changed.includes(key))) listener();
    }
  }

  /** @param {Key[]} keys
   * @param {() => void} listener  called after each change of any of them */
  on(keys, listener) {
    this.#listeners.push({ keys, listener });
  }

  /** The outline that is chosen, if it is still there. */
  get selected() {
    return this.now.regions.find(({ id }) => id === this.now.selectedId) ?? null;
  }

  get hovered() {
    return this.now.regions.find(({ id }) => id === this.now.hoveredId) ?? null;
  }

  /** @returns {Partial<ViewState>} */
  #remembered() {
    try {
      const kept = JSON.parse(this.#storage.getItem(KEPT_AS) ?? "{}");
      const usable = KEPT.filter((key) => typeof kept[key] === typeof FIRST[key]);
      return Object.fromEntries(usable.map((key) => [key, kept[key]]));
    } catch {
      return {}; /* written by another version */
    }
  }

  #remember() {
    this.#storage.setItem(KEPT_AS, JSON.stringify(Object.fromEntries(KEPT.map((key) => [key, this.now[key]]))));
  }
}
