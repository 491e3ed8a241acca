/** The review of a slide: what the server holds, and what has not been saved yet. */

import { askJson, slideApi } from "./common.js";

const FRESH = { decision: "undecided", label: "IDC", comment: "" };

export class Review {
  constructor(slideId) {
    this.url = `${slideApi(slideId)}/review`;
    this.pending = new Map();
    this.saved = { revision: 0, items: {}, history: [] };
  }

  async load() {
    this.saved = await askJson(this.url);
  }

  get isDirty() {
    return this.pending.size > 0;
  }

  /** What is said about a region: unsaved words stand above saved ones. */
  stateOf(region) {
    return this.pending.get(region.id) ?? this.saved.items[region.id] ?? FRESH;
  }

  /** Note a change; the server knows of it after `save`. */
  change(region, words) {
    const { decision, label, comment } = this.stateOf(region);
    const outline = this.pending.get(region.id)?.outline;
    const change = { id: region.id, decision, label, comment, ...words };
    if (outline) change.outline = outline;
    if (region.kind === "detected" && !this.saved.items[region.id]) change.threshold = region.threshold;
    this.pending.set(region.id, change);
  }

  draw(region, outline) {
    this.pending.set(region.id, { id: region.id, ...FRESH, decision: "accepted", outline });
  }

  remove(region) {
    if (this.saved.items[region.id]) this.pending.set(region.id, { id: region.id, removed: true });
    else this.pending.delete(region.id);
  }

  isRemoved(id) {
    return this.pending.get(id)?.removed === true;
  }

  /** Save all changes; a conflict leaves them pending. */
  async save(reviewer) {
    const changes = [...this.pending.values()];
    const body = { revision: this.saved.revision, reviewer, changes };
    this.saved = await askJson(this.url, { method: "PUT", body });
    this.pending.clear();
  }
}
