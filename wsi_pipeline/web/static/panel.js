/** The list of regions, the editor of the chosen one, and saving. */

import { byId, el, errorBox, figure } from "./common.js";

const MARKS = { undecided: "", accepted: "✓", rejected: "✕" };

export class RegionPanel {
  constructor(review, { changed, chosen }) {
    Object.assign(this, { review, changed, chosen });
    this.regions = [];
    this.selected = null;
  }

  wire({ save, rebased, removed }) {
    Object.assign(this, { rebased, removed });
    for (const button of document.querySelectorAll("[data-decide]")) {
      button.addEventListener("click", () => this.decide(button.dataset.decide));
    }
    byId("label").addEventListener("change", () => this.#note({ label: byId("label").value.trim() || "IDC" }));
    byId("comment").addEventListener("input", () => this.#note({ comment: byId("comment").value }));
    byId("remove").addEventListener("click", () => this.#remove());
    byId("save").addEventListener("click", save);
    byId("reviewer").value = localStorage.getItem("reviewer") ?? "";
    byId("reviewer").addEventListener("change", () => localStorage.setItem("reviewer", byId("reviewer").value.trim()));
  }

  /** Show these regions, the largest first. */
  setRegions(regions) {
    this.regions = regions.filter(({ id }) => !this.review.isRemoved(id)).sort((a, b) => b.area - a.area);
    if (this.selected) this.selected = this.regions.find(({ id }) => id === this.selected.id) ?? null;
    this.#showList();
    this.#showEditor();
  }

  select(region, fly = true) {
    this.selected = region;
    this.#showList();
    this.#showEditor();
    byId("regions").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    this.chosen(region, fly);
  }

  /** Go to the next region of the list, or the one before. */
  step(by) {
    if (!this.regions.length) return;
    const at = this.regions.findIndex(({ id }) => id === this.selected?.id);
    const next = at < 0 ? (by > 0 ? 0 : this.regions.length - 1) : at + by;
    this.select(this.regions[(next + this.regions.length) % this.regions.length]);
  }

  decide(decision) {
    this.#note({ decision });
    this.#showEditor();
  }

  /** Save; returns true where that went well. */
  async save() {
    if (!this.review.isDirty) return false;
    const reviewer = byId("reviewer").value.trim();
    if (!reviewer) {
      this.#conflict(errorBox({ message: "Your name is missing", advice: "It goes on record with each decision" }));
      byId("reviewer").focus();
      return false;
    }
    localStorage.setItem("reviewer", reviewer);
    byId("save").disabled = true;
    try {
      await this.review.save(reviewer);
      this.#conflict();
      return true;
    } catch (error) {
      this.#conflict(errorBox(error), error.status === 409 ? this.#rebaseButton() : null);
      return false;
    } finally {
      this.#showState();
    }
  }

  #rebaseButton() {
    const rebase = async () => {
      await this.review.load();
      this.#conflict(el("div", { class: "notice", role: "status" }, "Their version is loaded, your changes are kept. Look at them and save again."));
      this.rebased();
    };
    return el("button", { type: "button", onclick: rebase }, "Load their version, keep my changes");
  }

  #conflict(...content) {
    byId("conflict").replaceChildren(...content.filter(Boolean));
  }

  #note(words) {
    if (!this.selected) return;
    this.review.change(this.selected, words);
    const old = byId("regions").querySelector(`[data-id="${this.selected.id}"]`);
    const hadFocus = old === document.activeElement;
    const line = this.#line(this.selected);
    old.parentElement.replaceWith(line);
    if (hadFocus) line.firstElementChild.focus();
    this.#showCount();
    this.changed();
  }

  #remove() {
    const region = this.selected;
    this.review.remove(region);
    this.selected = null;
    this.removed(region);
  }

  #showList() {
    const hadFocus = byId("regions").contains(document.activeElement);
    byId("regions").replaceChildren(...this.regions.map((region) => this.#line(region)));
    if (hadFocus) byId("regions").querySelector("[aria-current]")?.focus();
    this.#showCount();
  }

  #showCount() {
    const decided = this.regions.filter((region) => this.review.stateOf(region).decision !== "undecided").length;
    byId("listhead").hidden = !this.regions.length;
    byId("regioncount").textContent = this.regions.length ? `${decided} of ${this.regions.length} decided` : "None at this threshold";
    this.#showState();
  }

  #line(region) {
    const { decision, label, comment } = this.review.stateOf(region);
    const name = label === "IDC" ? region.name : `${region.name} · ${label}`;
    const title = comment ? `${decision}; ${comment}` : decision;
    return el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          title,
          "data-id": region.id,
          "aria-current": region.id === this.selected?.id ? "true" : null,
          onclick: () => this.select(region),
        },
        el("span", { class: `mark ${decision}` }, MARKS[decision], decision === "undecided" ? null : el("span", { class: "visually-hidden" }, decision)),
        el("span", { class: decision === "rejected" ? "rejected-name" : "" }, comment ? `${name} ✎` : name),
        el("span", { class: "number" }, figure.mm2(region.area)),
        el("span", { class: "number" }, figure.probability(region.mean)),
      ),
    );
  }

  #showEditor() {
    byId("editor").hidden = !this.selected;
    if (!this.selected) return;
    const { decision, label, comment } = this.review.stateOf(this.selected);
    byId("selectedname").textContent = this.selected.name;
    byId("selectedfigures").textContent = `${figure.mm2(this.selected.area)} · max. p ${figure.probability(this.selected.max)}`;
    for (const button of document.querySelectorAll("[data-decide]")) {
      button.setAttribute("aria-pressed", String(button.dataset.decide === decision));
    }
    if (document.activeElement !== byId("label")) byId("label").value = label;
    if (document.activeElement !== byId("comment")) byId("comment").value = comment;
    byId("remove").hidden = this.selected.kind !== "drawn";
  }

  #showState() {
    const { pending, saved } = this.review;
    const last = saved.history.at(-1);
    byId("save").disabled = !pending.size;
    byId("reviewstate").textContent = pending.size
      ? `${pending.size} unsaved ${pending.size === 1 ? "change" : "changes"}`
      : last
        ? `Saved by ${last.reviewer}, ${figure.time(last.time)}`
        : "Nothing saved yet";
    byId("history").replaceChildren(
      ...saved.history.toReversed().slice(0, 50).map(({ reviewer, time, changes }) =>
        el("li", {}, `${figure.time(time)}: ${reviewer}, ${changes.length} ${changes.length === 1 ? "change" : "changes"}`),
      ),
    );
  }
}
