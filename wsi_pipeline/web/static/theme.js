// @ts-check
/* Runs before the page is drawn, so that a dark room stays dark. */
(() => {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
})();
