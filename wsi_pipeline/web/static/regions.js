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
  context.save();
  context.lineJoin = "round";
  for (const region of regions) {
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

/** The smallest region that holds a place of the image. */
export function regionAt(context, regions, x, y) {
  let found = null;
  for (const region of regions) {
    const [left, top, right, bottom] = region.box;
    if (x < left || y < top || x > right || y > bottom) continue;
    if (!context.isPointInPath(region.path, x, y, "evenodd")) continue;
    if (!found || region.area < found.area) found = region;
  }
  return found;
}
