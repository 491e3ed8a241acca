/** Outlines of regions on the slide: drawing, finding the one under the cursor. */

export const COLORS = { undecided: "#ffd84d", accepted: "#3ddc84", rejected: "#c9ced3", drawn: "#5cc8ff" };

/** Make what the page knows of a region from a GeoJSON feature or an item of the review. */
export function regionOf({ id, geometry, measurements, name, kind, threshold }) {
  const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
  const path = new Path2D();
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const ring of polygons.flat()) {
    ring.forEach(([x, y], i) => {
      if (i === 0) path.moveTo(x, y);
      else path.lineTo(x, y);
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x);
      box[3] = Math.max(box[3], y);
    });
    path.closePath();
  }
  return {
    id,
    name,
    kind,
    threshold,
    path,
    box,
    area: measurements["Area mm^2"],
    mean: measurements["Mean probability"] ?? null,
    max: measurements["Max probability"] ?? null,
  };
}

/** Draw outlines in image px: light on dark, so that they show on pink and on white alike. */
export function drawRegions(context, regions, { pixelsPerImagePx, selected, hovered, stateOf }) {
  const px = 1 / pixelsPerImagePx;
  const view = visibleBox(context);
  context.save();
  context.lineJoin = "round";
  for (const region of regions) {
    if (!overlap(region.box, view)) continue;
    const state = stateOf(region);
    const isActive = region.id === selected || region.id === hovered;
    context.setLineDash([]);
    context.lineWidth = (isActive ? 6 : 4) * px;
    context.strokeStyle = "rgb(0 0 0 / 0.6)";
    context.stroke(region.path);
    if (state.decision === "rejected") context.setLineDash([7 * px, 5 * px]);
    context.lineWidth = (isActive ? 3.5 : 2) * px;
    context.strokeStyle = region.kind === "drawn" && state.decision !== "rejected" ? COLORS.drawn : COLORS[state.decision];
    context.stroke(region.path);
  }
  context.restore();
}

/** The part of the image that the canvas shows, as a box. */
function visibleBox(context) {
  const inverse = context.getTransform().inverse();
  const { width, height } = context.canvas;
  const corners = [[0, 0], [width, 0], [0, height], [width, height]].map(([x, y]) => new DOMPoint(x, y).matrixTransform(inverse));
  const [x, y] = [corners.map((corner) => corner.x), corners.map((corner) => corner.y)];
  return [Math.min(...x), Math.min(...y), Math.max(...x), Math.max(...y)];
}

function overlap(a, b) {
  return a[0] <= b[2] && a[2] >= b[0] && a[1] <= b[3] && a[3] >= b[1];
}

/* isPointInPath sees a path as the context's transform places it: this one has none. */
const probe = document.createElement("canvas").getContext("2d");

/** The smallest region that holds a place of the image. */
export function regionAt(regions, x, y) {
  let found = null;
  for (const region of regions) {
    const [left, top, right, bottom] = region.box;
    if (x < left || y < top || x > right || y > bottom) continue;
    if (!probe.isPointInPath(region.path, x, y, "evenodd")) continue;
    if (!found || region.area < found.area) found = region;
  }
  return found;
}
