/** What every page needs: asking the server, making elements, writing figures, the theme. */

export class ApiError extends Error {
  constructor(status, error, advice) {
    super(error);
    this.status = status;
    this.advice = advice ?? "";
  }
}

/** Ask the server; throws an ApiError whose message is a sentence. */
export async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = { "x-wsi-pipeline": "1" };
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      signal,
      body: body === undefined || isForm ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer", "Check that it is still running, then try again");
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new ApiError(response.status, answer.error ?? `The server answered ${response.status}`, answer.advice);
  }
  return response;
}

export async function askJson(path, options) {
  return (await ask(path, options)).json();
}

/** Where the application begins: "/", or below it where a proxy serves it under a prefix. */
export const root = new URL(document.documentElement.dataset.root ?? "/", location.href).pathname;
export const slideUrl = (id) => `${root}slides/${encodeURIComponent(id)}`;
export const slideApi = (id) => `${root}api/slides/${encodeURIComponent(id)}`;
export const pictureUrl = (row, name, width) =>
  `${slideApi(row.slide_id)}/pictures/${name}?width=${width}&v=${row.fingerprint}`;

/** The id of the slide that the page's address names. */
export function slideIdOfPage() {
  return decodeURIComponent(location.pathname.slice(root.length).split("/")[1]);
}

/** Make an element: el("a", {href: "/"}, "text", child). Text is never taken for markup. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** Figures; what is not known is a dash, never zero. */
export const figure = {
  mm2: (v) => (isNumber(v) ? `${v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2)} mm²` : "–"),
  percent: (v) => (isNumber(v) ? `${(100 * v).toFixed(1)} %` : "–"),
  probability: (v) => (isNumber(v) ? v.toFixed(2) : "–"),
  probability3: (v) => (isNumber(v) ? v.toFixed(3) : "–"),
  count: (v) => (isNumber(v) ? v.toLocaleString("en") : "–"),
  seconds: (v) => (isNumber(v) ? (v >= 90 ? `${(v / 60).toFixed(1)} min` : `${v.toFixed(1)} s`) : "–"),
  time: (v) => (v ? new Date(v).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }) : "–"),
};

/** With a capital and a full stop. */
export function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** Show an error where it happened; it is read out by screen readers. */
export function errorBox(error) {
  return el(
    "div",
    { class: "notice error", role: "alert" },
    el("strong", {}, sentence(error.message)),
    error.advice ? el("span", {}, ` ${sentence(error.advice)}`) : null,
  );
}

const THEMES = { system: "Theme: as the system", dark: "Theme: dark", light: "Theme: light" };

/** Wire the theme button; it goes round system, dark, light. */
export function wireTheme() {
  const button = byId("theme");
  const root = document.documentElement;
  const show = () => {
    const now = root.dataset.theme ?? "system";
    button.title = THEMES[now];
    button.setAttribute("aria-label", THEMES[now]);
    button.textContent = { system: "◐", dark: "☾", light: "☀" }[now];
  };
  button.addEventListener("click", () => {
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
