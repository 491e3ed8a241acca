/** The scale bar: 1, 2 or 5 times a power of ten, at most so many px long. */

export function niceLength(longest) {
  const decade = 10 ** Math.floor(Math.log10(longest));
  const lead = (longest / decade) * (1 + 1e-9);
  return decade * (lead >= 5 ? 5 : lead >= 2 ? 2 : 1);
}

export function lengthLabel(um) {
  return um >= 1000 ? `${+(um / 1000).toPrecision(6)} mm` : `${+um.toPrecision(6)} µm`;
}

export function showScale(element, umPerPixel, longestPx = 160) {
  element.hidden = !umPerPixel;
  if (!umPerPixel) return;
  const um = niceLength(umPerPixel * longestPx);
  element.firstElementChild.style.width = `${um / umPerPixel}px`;
  element.lastElementChild.textContent = lengthLabel(um);
}
