// @ts-check
/** The review of a slide: what the server holds, what has not been saved yet, and the way back. */

import { askJson, slideApi } from "./common.js";

/** @typedef {import("../types").Change} Change */
/** @typedef {import("../types").Words} Words */
/** @typedef {import("../types").SavedReview} SavedReview */
/** @typedef {Pick<import("../types").Region, "id" | "kind" | "threshold" | "geometry" | "area" | "mean" | "max">} Item */

/** @type {Words} */
const FRESH = { decision: "undecided", label: "IDC", comment: "" };
const MOST_STEPS = 200; /* back */

export class Review {
  /** Changes by item, not saved yet; replaced, never changed in place: that is what undo keeps.
   * @type {ReadonlyMap<string, Change>} */
  pending = new Map();
  /** @type {SavedReview} */
  saved = { revision: 0, items: {}, history: [] };
  /** Regions that were decided on and are not saved yet: at another threshold they are not found.
   * @type {Map<string, Item>} */
  decided = new Map();
  /** @type {{ before: ReadonlyMap<string, Change>, what: string }[]} */
  #done = [];
  /** @type {ReadonlyMap<string, Change>[]} */
  #undone = [];

  /** @param {string} slideId
   * @param {typeof askJson} ask */
  constructor(slideId, ask = askJson) {
    this.url = `${slideApi(slideId)}/review`;
    this.ask = ask;
  }

  async load() {
    this.saved = await this.ask(this.url);
  }

  get isDirty() {
    return this.pending.size > 0;
  }

  /** What is said about an item: unsaved words stand above saved ones.
   * @param {string} id
   * @returns {Words} */
  wordsOf(id) {
    return { ...FRESH, ...this.saved.items[id], ...this.pending.get(id) };
  }

  /** Note a change; the server knows of it after `save`. Typing one comment is one step back.
   * @param {Item} item
   * @param {Partial<Words>} words */
  change(item, words) {
    const { decision, label, comment } = this.wordsOf(item.id);
    const { outline } = this.pending.get(item.id) ?? {};
    /** @type {Change} */
    const change = { id: item.id, decision, label, comment, ...words };
    if (outline) change.outline = outline;
    if (item.kind === "detected" && !this.saved.items[item.id]) {
      if (!this.pending.has(item.id)) this.decided.set(item.id, item);
      change.threshold = this.decided.get(item.id)?.threshold ?? item.threshold;
    }
    this.#put(change, "comment" in words ? `comment on ${item.id}` : "");
  }

  /** @param {string} id  a fresh UUID
   * @param {import("../types").Ring} outline */
  draw(id, outline) {
    this.#put({ id, ...FRESH, decision: "accepted", outline });
  }

  /** Give a drawn outline another shape.
   * @param {string} id
   * @param {import("../types").Ring} outline */
  reshape(id, outline) {
    const { decision, label, comment } = this.wordsOf(id);
    this.#put({ id, decision, label, comment, outline });
  }

  /** Take a drawn outline away.
   * @param {string} id */
  remove(id) {
    const pending = new Map(this.pending);
    if (this.saved.items[id]) pending.set(id, { id, removed: true });
    else pending.delete(id);
    this.#step(pending);
  }

  /** @param {string} id */
  isRemoved(id) {
    return this.pending.get(id)?.removed === true;
  }

  /** Take the last change back; false where there is none. Saved ones stay: they are on record. */
  undo() {
    const last = this.#done.pop();
    if (!last) return false;
    this.#undone.push(this.pending);
    this.pending = last.before;
    return true;
  }

  redo() {
    const next = this.#undone.pop();
    if (!next) return false;
    this.#done.push({ before: this.pending, what: "" });
    this.pending = next;
    return true;
  }

  /** Save all changes; a conflict leaves them pending.
   * @param {string} reviewer */
  async save(reviewer) {
    const sent = this.pending;
    const body = { revision: this.saved.revision, reviewer, changes: [...sent.values()] };
    this.saved = await this.ask(this.url, { method: "PUT", body });
    const isNew = (/** @type {[string, Change]} */ [id, change]) => sent.get(id) !== change;
    this.pending = new Map([...this.pending].filter(isNew)); /* made while it was being saved */
    this.#done = [];
    this.#undone = [];
  }

  /** @param {Change} change
   * @param {string} what  two steps in a row of the same are one */
  #put(change, what = "") {
    this.#step(new Map(this.pending).set(change.id, change), what);
  }

  /** @param {ReadonlyMap<string, Change>} pending
   * @param {string} what */
  #step(pending, what = "") {
    if (!what || this.#done.at(-1)?.what !== what) {
      this.#done = [...this.#done, { before: this.pending, what }].slice(-MOST_STEPS);
    }
    this.#undone = [];
    this.pending = pending;
  }
}
