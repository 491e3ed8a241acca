// @ts-check
/** What every page needs: asking the server, making elements, writing figures, the theme. */

/** Where the application begins: "/", or below it where a proxy serves it under a prefix. */
const ROOT = globalThis.document ? new URL(document.documentElement.dataset.root ?? "/", location.href).pathname : "/";

export class ApiError extends Error {
  /** @param {number} status
   * @param {string} error
   * @param {string} [advice] */
  constructor(status, error, advice) {
    super(error);
    this.status = status;
    this.advice = advice ?? "";
  }
}

/** @typedef {{ method?: string, body?: unknown, signal?: AbortSignal }} Asking */

/** Ask the server; throws an ApiError whose message is a sentence.
 * @param {string} path  as the functions below make it
 * @param {Asking} asking
 * @returns {Promise<Response>} */
export async function ask(path, { method = "GET", body, signal } = {}) {
  /** @type {Record<string, string>} */
  const headers = { "x-wsi-pipeline": "1" };
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: isForm || body === undefined ? body : JSON.stringify(body) });
  } catch (error) {
    if (error instanceof Error && error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer", "Check that it is still running, then try again");
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new ApiError(response.status, answer.error ?? `The server answered ${response.status}`, answer.advice);
  }
  return response;
}

/** @param {string} path
 * @param {Asking} [asking]
 * @returns {Promise<any>} */
export async function askJson(path, asking) {
  return (await ask(path, asking)).json();
}

/** @param {string} path  below the application's root, e.g. "api/archive" */
export const rooted = (path) => ROOT + path;
/** @param {string} id */
export const slideUrl = (id) => rooted(`slides/${encodeURIComponent(id)}`);
/** @param {string} id */
export const slideApi = (id) => rooted(`api/slides/${encodeURIComponent(id)}`);
/** @param {import("../types").Row} row
 * @param {string} name
 * @param {number} width */
export const pictureUrl = (row, name, width) =>
  `${slideApi(row.slide_id)}/pictures/${name}?width=${width}&v=${row.fingerprint}`;

/** The id of the slide that the page's address names. */
export function slideIdOfPage() {
  return decodeURIComponent(location.pathname.slice(ROOT.length).split("/")[1]);
}

/** @typedef {Node | string | null | undefined} Child */

/** Make an element: el("a", {href: "/"}, "text", child). Text is never taken for markup.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any>} properties
 * @param {(Child | Child[])[]} children
 * @returns {HTMLElementTagNameMap[Tag]} */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  fill(element, properties);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** @param {Element} element
 * @param {Record<string, any>} properties */
function fill(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") Object.assign(element, { [name]: value });
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** The element of an id, of the kind that it has to be.
 * @template {typeof HTMLElement} [Kind=typeof HTMLElement]
 * @param {string} id
 * @param {Kind} [kind]
 * @returns {InstanceType<Kind>} */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof (kind ?? HTMLElement))) throw new Error(`this page has no ${kind?.name ?? "element"} #${id}`);
  return /** @type {InstanceType<Kind>} */ (found);
}

/** @param {string} id */
export const input = (id) => byId(id, HTMLInputElement);
/** @param {string} id */
export const choice = (id) => byId(id, HTMLSelectElement);
/** @param {string} id */
export const button = (id) => byId(id, HTMLButtonElement);

/** What a canvas is drawn with; every browser that gets so far has it.
 * @param {HTMLCanvasElement} canvas */
export function pen(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/** @param {unknown} value
 * @returns {value is number} */
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Figures; what is not known is a dash, never zero. */
export const figure = {
  /** @param {unknown} v */
  mm2: (v) => (isNumber(v) ? `${v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2)} mm²` : "–"),
  /** @param {unknown} v */
  percent: (v) => (isNumber(v) ? `${(100 * v).toFixed(1)} %` : "–"),
  /** @param {unknown} v */
  probability: (v) => (isNumber(v) ? v.toFixed(2) : "–"),
  /** @param {unknown} v */
  probability3: (v) => (isNumber(v) ? v.toFixed(3) : "–"),
  /** @param {unknown} v */
  count: (v) => (isNumber(v) ? v.toLocaleString("en") : "–"),
  /** @param {unknown} v */
  seconds: (v) => (isNumber(v) ? (v >= 90 ? `${(v / 60).toFixed(1)} min` : `${v.toFixed(1)} s`) : "–"),
  /** @param {string | null | undefined} v */
  time: (v) => (v ? new Date(v).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "–"),
};

/* "case 1.tif is ...": a file's name stays as it is. */
const BEGINS_WITH_A_FILE = /^[^:]{1,200}?\.[A-Za-z]\w{1,7}(?::| (?:is|has|holds|cannot|does|may|was|states)\b)/;

/** With a capital and a full stop.
 * @param {string} text */
export function sentence(text) {
  const begun = BEGINS_WITH_A_FILE.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** @param {string} text */
export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1).replaceAll("_", " ");

/** Show an error where it happened; it is read out by screen readers.
 * @param {unknown} error  an ApiError, a defect, or words with advice */
export function errorBox(error) {
  const { message, advice } = /** @type {{ message: string, advice?: string }} */ (error);
  return el(
    "div",
    { class: "notice error", role: "alert" },
    el("strong", {}, sentence(message)),
    advice ? el("span", {}, ` ${sentence(advice)}`) : null,
  );
}

/** @type {Record<string, string>} */
const THEMES = { system: "Theme: as the system", dark: "Theme: dark", light: "Theme: light" };

/** Wire the theme button; it goes round system, dark, light. */
export function wireTheme() {
  const turn = button("theme");
  const root = document.documentElement;
  const show = () => {
    const now = root.dataset.theme ?? "system";
    const words = THEMES[now] ?? THEMES.system;
    turn.title = words;
    turn.setAttribute("aria-label", words);
    turn.dataset.shows = now; /* a sign of the style sheet */
  };
  turn.addEventListener("click", () => {
    const order = Object.keys(THEMES);
    const next = order[(order.indexOf(root.dataset.theme ?? "system") + 1) % order.length];
    if (next === "system") {
      delete root.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      root.dataset.theme = next;
      localStorage.setItem("theme", next);
    }
    show();
  });
  show();
}
