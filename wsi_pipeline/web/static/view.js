// @ts-check
/** One view of a slide: OpenSeadragon below, a canvas of our own above, both in image px. */

import { pen } from "./common.js";

/** @typedef {import("../types").Point} Point */
/** @typedef {(context: CanvasRenderingContext2D, view: SlideView) => void} Painter */
/** @typedef {{ tileBase: string, query: string, thumbnail: string, minimap?: HTMLElement }} Sources */

const MOST_ENLARGED = 8; /* screen px per image px */

export class SlideView {
  /** @type {Painter[]} */
  painters = [];

  /**
   * @param {HTMLElement} element
   * @param {import("../types").SlideDetail} detail
   * @param {Sources} sources  addresses; `minimap`: where to show the whole slide
   */
  constructor(element, { image }, { tileBase, query, thumbnail, minimap }) {
    this.width = image.width;
    this.height = image.height;
    this.mpp = image.mpp ? image.mpp[0] : null;
    this.element = element;
    this.canvas = /** @type {HTMLCanvasElement} */ (element.querySelector("canvas.overlay"));
    this.context = pen(this.canvas);
    this.viewer = new OpenSeadragon.Viewer({
      element: element.querySelector(".osd"),
      drawer: "canvas" /* also right on remote desktops, where WebGL is missing */,
      tileSources: image.source === "slide" ? tiles(image, tileBase, query) : { type: "image", url: thumbnail },
      showNavigationControl: false,
      showNavigator: Boolean(minimap),
      navigatorOpacity: 1,
      navigatorElement: minimap /* an element of our own: it lies above the map, OpenSeadragon's below it */,
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.5,
      maxZoomPixelRatio: MOST_ENLARGED,
      minZoomImageRatio: 0.7,
      visibilityRatio: 0.4,
      immediateRender: false,
      preserveImageSizeOnResize: true /* beside a second view or in full screen: the same magnification */,
      imageLoaderLimit: 8,
      timeout: 60000,
      crossOriginPolicy: false,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsPen: { clickToZoom: false },
    });
    this.viewer.addHandler("canvas-key", (event) => {
      event.preventDefaultAction = true; /* the page's own keys */
    });
    this.viewer.addHandler("update-viewport", () => this.paint());
    new ResizeObserver(() => this.paint()).observe(element);
  }

  get isOpen() {
    return this.viewer.isOpen();
  }

  /** Map image px to the view's css px: x' = a x + c y + e, y' = b x + d y + f. */
  transform() {
    const place = (/** @type {number} */ x, /** @type {number} */ y) =>
      this.viewer.viewport.pixelFromPoint(new OpenSeadragon.Point(x / this.width, y / this.width), true);
    const [origin, right, down] = [place(0, 0), place(this.width, 0), place(0, this.width)];
    const n = this.width;
    return new DOMMatrix([
      (right.x - origin.x) / n,
      (right.y - origin.y) / n,
      (down.x - origin.x) / n,
      (down.y - origin.y) / n,
      origin.x,
      origin.y,
    ]);
  }

  get pixelsPerImagePx() {
    const { a, b } = this.transform();
    return Math.hypot(a, b);
  }

  /** µm per css px on the screen; null where the slide states no resolution. */
  get umPerPixel() {
    return this.mpp ? this.mpp / this.pixelsPerImagePx : null;
  }

  /** Image px of a place in the window.
   * @param {{ clientX: number, clientY: number }} place
   * @returns {Point} */
  imagePoint({ clientX, clientY }) {
    const frame = this.element.getBoundingClientRect();
    const { x, y } = new DOMPoint(clientX - frame.left, clientY - frame.top).matrixTransform(this.transform().inverse());
    return [x, y];
  }

  /** @returns {{ x: number, y: number }} */
  get center() {
    const { x, y } = this.viewer.viewport.getCenter(true);
    return { x: x * this.width, y: y * this.width };
  }

  /** @param {{ x: number, y: number, pixelsPerImagePx?: number, rotation?: number }} place
   * @param {boolean} immediately */
  moveTo({ x, y, pixelsPerImagePx, rotation }, immediately = false) {
    const { viewport } = this.viewer;
    if (rotation !== undefined) viewport.setRotation(rotation, true);
    if (pixelsPerImagePx) {
      const zoom = (pixelsPerImagePx * this.width) / viewport.getContainerSize().x;
      viewport.zoomTo(zoom, undefined, immediately);
    }
    viewport.panTo(new OpenSeadragon.Point(x / this.width, y / this.width), immediately);
    viewport.applyConstraints(immediately);
  }

  /** Show a box of the image with a margin around it.
   * @param {import("../types").Box} box */
  flyTo([left, top, right, bottom]) {
    const margin = 0.6 * Math.max(right - left, bottom - top);
    this.viewer.viewport.fitBoundsWithConstraints(
      new OpenSeadragon.Rect(
        (left - margin) / this.width,
        (top - margin) / this.width,
        (right - left + 2 * margin) / this.width,
        (bottom - top + 2 * margin) / this.width,
      ),
    );
  }

  /** @param {number} factor */
  zoomBy(factor) {
    this.viewer.viewport.zoomBy(factor);
    this.viewer.viewport.applyConstraints();
  }

  /** Zoom and keep the place under the pointer where it is.
   * @param {number} factor
   * @param {Point} at  image px */
  zoomAt(factor, [x, y]) {
    this.viewer.viewport.zoomBy(factor, new OpenSeadragon.Point(x / this.width, y / this.width));
    this.viewer.viewport.applyConstraints();
  }

  /** Pan by a share of the view, in screen directions.
   * @param {number} right
   * @param {number} down */
  panBy(right, down) {
    const size = this.viewer.viewport.getContainerSize();
    this.panByPixels(right * size.x, down * size.y);
  }

  /** @param {number} right
   * @param {number} down
   * @param {boolean} immediately */
  panByPixels(right, down, immediately = false) {
    const { viewport } = this.viewer;
    viewport.panBy(viewport.deltaPointsFromPixels(new OpenSeadragon.Point(right, down)), immediately);
    viewport.applyConstraints(immediately);
  }

  paint() {
    const { clientWidth, clientHeight } = this.element;
    if (!this.isOpen || !clientWidth || !clientHeight) return;
    const ratio = devicePixelRatio;
    if (this.canvas.width !== Math.round(clientWidth * ratio) || this.canvas.height !== Math.round(clientHeight * ratio)) {
      this.canvas.width = Math.round(clientWidth * ratio);
      this.canvas.height = Math.round(clientHeight * ratio);
    }
    const { context } = this;
    context.resetTransform();
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(new DOMMatrix([ratio, 0, 0, ratio, 0, 0]).multiply(this.transform()));
    for (const painter of this.painters) painter(context, this);
  }
}

/** Keep two views on the same place.
 * @param {SlideView} first
 * @param {SlideView} second */
export function link(first, second) {
  let isLeading = true;
  const follow = (/** @type {SlideView} */ leader, /** @type {SlideView} */ follower) => () => {
    if (!isLeading || !follower.isOpen || !leader.isOpen) return;
    isLeading = false;
    const { viewport } = leader.viewer;
    follower.viewer.viewport.setRotation(viewport.getRotation(), true);
    follower.viewer.viewport.zoomTo(viewport.getZoom(), undefined, true);
    follower.viewer.viewport.panTo(viewport.getCenter(), true);
    isLeading = true;
  };
  first.viewer.addHandler("viewport-change", follow(first, second));
  second.viewer.addHandler("viewport-change", follow(second, first));
  first.viewer.addHandler("rotate", follow(first, second));
  follow(first, second)();
}

/** @param {import("../types").SlideDetail["image"]} image
 * @param {string} base
 * @param {string} query */
function tiles(image, base, query) {
  return {
    width: image.width,
    height: image.height,
    tileSize: image.tile_px,
    tileOverlap: 0,
    minLevel: Math.min(image.max_level, 8),
    maxLevel: image.max_level,
    getTileUrl: (/** @type {number} */ level, /** @type {number} */ x, /** @type {number} */ y) =>
      `${base}/${level}/${x}_${y}.jpg?${query}`,
  };
}
