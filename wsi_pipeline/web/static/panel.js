// @ts-check
/** The list of regions, the editor of the chosen one, and saving. */

import { ApiError, button, byId, el, errorBox, figure, input } from "./common.js";
import { isEditable } from "./regions.js";

/** @typedef {import("../types").Region} Region */
/** @typedef {import("../types").Decision} Decision */
/** @typedef {import("../types").Words} Words */

const CLASSES = ["IDC", "DCIS", "ILC", "Benign", "Normal", "Inflammation", "Artifact"];
const MOST_HISTORY = 50;

export class RegionPanel {
  /**
   * @param {import("./review.js").Review} review
   * @param {import("./state.js").ViewerState} state
   * @param {{ noted: () => void, chosen: (region: Region, fly: boolean) => void, rebased: () => void }} told
   */
  constructor(review, state, told) {
    this.review = review;
    this.state = state;
    this.told = told;
    this.canReview = true;
    state.on(["regions", "selectedId"], () => this.show());
  }

  /** Take the name of who has signed in; who may only look cannot save.
   * @param {import("../types").Session} session */
  welcome({ name, can_review: canReview }) {
    this.canReview = canReview;
    input("reviewer").readOnly = name !== null;
    if (name !== null) input("reviewer").value = name;
    this.#showState();
  }

  /** @param {{ save: () => void, remove: () => void, edit: () => void }} actions */
  wire({ save, remove, edit }) {
    for (const decide of this.#decisions()) {
      decide.addEventListener("click", () => this.decide(/** @type {Decision} */ (decide.dataset.decide)));
    }
    byId("classes").replaceChildren(
      ...CLASSES.map((name) => el("button", { type: "button", "data-class": name, onclick: () => this.#label(name) }, name)),
    );
    input("label").addEventListener("change", () => this.#label(input("label").value));
    const comment = byId("comment", HTMLTextAreaElement);
    comment.addEventListener("input", () => this.#note({ comment: comment.value }));
    byId("remove").addEventListener("click", remove);
    byId("edit").addEventListener("click", edit);
    byId("save").addEventListener("click", save);
    input("reviewer").value = localStorage.getItem("reviewer") ?? "";
    input("reviewer").addEventListener("change", () => localStorage.setItem("reviewer", input("reviewer").value.trim()));
  }

  show() {
    this.#showList();
    this.#showEditor();
  }

  /** @param {Region} region */
  select(region, fly = true) {
    this.state.set({ selectedId: region.id });
    byId("regions").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    this.told.chosen(region, fly);
  }

  /** Go to the next region of the list, or the one before.
   * @param {number} by */
  step(by) {
    const { regions, selectedId } = this.state.now;
    if (!regions.length) return;
    const at = regions.findIndex(({ id }) => id === selectedId);
    const next = at < 0 ? (by > 0 ? 0 : regions.length - 1) : at + by;
    this.select(regions[(next + regions.length) % regions.length]);
  }

  /** @param {Decision} decision */
  decide(decision) {
    this.#note({ decision });
  }

  /** Save; returns true where that went well. */
  async save() {
    if (!this.review.isDirty || !this.canReview) return false;
    const reviewer = input("reviewer").value.trim();
    if (!reviewer) {
      this.#conflict(errorBox({ message: "Your name is missing", advice: "It goes on record with each decision" }));
      input("reviewer").focus();
      return false;
    }
    if (!input("reviewer").readOnly) localStorage.setItem("reviewer", reviewer);
    button("save").disabled = true;
    try {
      await this.review.save(reviewer);
      this.#conflict();
      return true;
    } catch (error) {
      this.#conflict(errorBox(error), error instanceof ApiError && error.status === 409 ? this.#rebaseButton() : null);
      return false;
    } finally {
      this.#showState();
    }
  }

  #rebaseButton() {
    const rebase = async () => {
      await this.review.load();
      this.#conflict(el("div", { class: "notice", role: "status" }, "Their version is loaded, your changes are kept. Look at them and save again."));
      this.told.rebased();
    };
    return el("button", { type: "button", onclick: rebase }, "Load their version, keep my changes");
  }

  /** @param {(HTMLElement | null)[]} content */
  #conflict(...content) {
    byId("conflict").replaceChildren(...content.filter((element) => element !== null));
  }

  /** @param {Partial<Words>} words */
  #note(words) {
    const { selected } = this.state;
    if (!selected) return;
    this.review.change(selected, words);
    this.show();
    this.told.noted();
  }

  /** @param {string} text */
  #label(text) {
    this.#note({ label: text.trim() || "IDC" });
  }

  #showList() {
    const list = byId("regions");
    const had = list.contains(document.activeElement);
    list.replaceChildren(...this.state.now.regions.map((region) => this.#line(region)));
    const current = list.querySelector("[aria-current]");
    if (had && current instanceof HTMLElement) current.focus({ preventScroll: true });
    this.#showCount();
  }

  #showCount() {
    const { regions, totals } = this.state.now;
    const none = totals?.idc_mm2 == null ? "Not looked for" : "None at this threshold"; /* of a failed slide nothing is known */
    const decided = regions.filter(({ id }) => this.review.wordsOf(id).decision !== "undecided").length;
    byId("listhead").hidden = !regions.length;
    byId("regioncount").textContent = regions.length ? `${decided} of ${regions.length} decided` : none;
    this.#showState();
  }

  /** @param {Region} region */
  #line(region) {
    const { decision, label, comment } = this.review.wordsOf(region.id);
    const name = label === "IDC" ? region.name : `${region.name} · ${label}`;
    const marks = { undecided: "", accepted: "accepted", rejected: "rejected" }[decision];
    const elsewhere = region.decidedAt !== null ? `decided at p ≥ ${region.decidedAt.toFixed(3)}` : "";
    return el(
      "li",
      {},
      el(
        "button",
        {
          type: "button",
          title: [decision, elsewhere, comment].filter(Boolean).join("; "),
          class: region.isElsewhere ? "elsewhere" : null,
          "data-id": region.id,
          "aria-current": region.id === this.state.now.selectedId ? "true" : null,
          onclick: () => this.select(region),
        },
        el("span", { class: `mark ${decision}` }, marks ? el("span", { class: "visually-hidden" }, marks) : null),
        el(
          "span",
          { class: decision === "rejected" ? "rejected-name" : "" },
          comment ? `${name} ✎` : name,
          elsewhere && !region.isElsewhere ? el("span", { class: "muted" }, ` ${elsewhere}`) : null,
        ),
        el("span", { class: "number" }, figure.mm2(region.area)),
        el("span", { class: "number" }, figure.probability(region.mean)),
      ),
    );
  }

  #showEditor() {
    const { selected } = this.state;
    byId("editor").hidden = !selected;
    if (!selected) return;
    const { decision, label, comment } = this.review.wordsOf(selected.id);
    byId("selectedname").textContent = selected.name;
    byId("selectedfigures").textContent = `${figure.mm2(selected.area)} · max. p ${figure.probability(selected.max)}`;
    byId("elsewhere").hidden = !selected.isElsewhere;
    for (const decide of this.#decisions()) decide.setAttribute("aria-pressed", String(decide.dataset.decide === decision));
    for (const name of byId("classes").children) {
      name.setAttribute("aria-pressed", String(name instanceof HTMLElement && name.dataset.class === label));
    }
    if (document.activeElement !== input("label")) input("label").value = label;
    const field = byId("comment", HTMLTextAreaElement);
    if (document.activeElement !== field) field.value = comment;
    byId("drawnactions").hidden = selected.kind !== "drawn";
    button("edit").disabled = !isEditable(selected);
  }

  /** @returns {HTMLElement[]} */
  #decisions() {
    return [...document.querySelectorAll("[data-decide]")].filter((found) => found instanceof HTMLElement);
  }

  #stateWords() {
    const { pending, saved } = this.review;
    const last = saved.history.at(-1);
    if (!this.canReview) return "You may look, not review";
    if (pending.size) return `${pending.size} unsaved ${pending.size === 1 ? "change" : "changes"}`;
    return last ? `Saved by ${last.reviewer}, ${figure.time(last.time)}` : "Nothing saved yet";
  }

  #showState() {
    const { pending, saved } = this.review;
    button("save").disabled = !pending.size || !this.canReview;
    byId("reviewstate").textContent = this.#stateWords();
    byId("history").replaceChildren(
      ...saved.history.toReversed().slice(0, MOST_HISTORY).map(({ reviewer, time, changes }) =>
        el("li", {}, `${figure.time(time)}: ${reviewer}, ${changes.length} ${changes.length === 1 ? "change" : "changes"}`),
      ),
    );
  }
}
