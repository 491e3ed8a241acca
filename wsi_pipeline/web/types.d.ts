/** What the pages work with, as their JSDoc names it: the answers of the interface, the state, the viewer. */

export type Point = [x: number, y: number];
export type Ring = Point[];
export type Box = [left: number, top: number, right: number, bottom: number];
export type Decision = "undecided" | "accepted" | "rejected";
export type LayerName = "probability" | "raw" | "uncertainty" | "tissue";
export type Tool = "draw" | "edit" | "measure";

export interface Geometry {
  type: "Polygon" | "MultiPolygon";
  coordinates: any;
}

export interface Measurements {
  "Area mm^2": number | null;
  "Perimeter mm"?: number;
  "Mean probability"?: number;
  "Max probability"?: number;
  Patches?: number;
}

export interface Feature {
  id: string;
  geometry: Geometry;
  properties: { name: string; measurements: Measurements };
}

/** How outlines were made, as regions.geojson states it. */
export interface Rules {
  threshold: number;
  low_threshold: number;
  smoothing_cells: number;
  min_area_mm2: number;
}

/** Figures of a slide; null = not known, never zero. */
export interface Totals {
  idc_mm2: number | null;
  tissue_mm2: number | null;
  idc_share: number | null;
  n_regions?: number | null;
}

export interface RegionsAnswer {
  features: Feature[];
  wsi_pipeline: Rules;
  totals: Totals;
}

export interface Row {
  slide_id: string;
  fingerprint: string;
  slide: string;
  state: string;
  error?: string;
  advice?: string;
  idc_mm2: number | null;
  idc_share: number | null;
  tissue_mm2: number | null;
  regions: number | null;
  max_probability: number | null;
  patches: number | null;
  patches_lost: number | null;
  /** Id of the slide of equal content whose results these are. */
  duplicate_of: string | null;
  has_overlay: boolean;
  has_gallery: boolean;
  /** That the slide is unfamiliar to the model, or why that cannot be known; empty where it is familiar. */
  familiarity_caution: string;
  review: { accepted?: number; rejected?: number; reviewer?: string | null; time?: string | null; problem?: string };
}

export interface Archive {
  notice: string;
  run: { name: string; state: string | null };
  slides: Row[];
}

export interface Grid {
  rows: number;
  cols: number;
  origin: Point;
  step: Point;
  cell_mm2: number;
  layers: LayerName[];
  /** How the tissue mask lies; null in results of before it was stored. */
  mask: Raster | null;
}

/** How the pixels of a raster lie on the image. */
export interface Raster {
  rows: number;
  cols: number;
  origin: Point;
  step: Point;
}

export interface SlideDetail {
  slide_id: string;
  fingerprint: string;
  notice: string;
  row: Row;
  image: {
    source: "slide" | "thumbnail" | "none";
    width: number;
    height: number;
    mpp: Point | null;
    tile_px: number;
    max_level: number;
  };
  map: Grid | null;
  /** That of the results as they stand. */
  threshold: number | null;
  /** Of the model, for a patch alone. */
  operating_points: Record<string, number>;
  /** Of the model, for a cell refined by its neighbors; null where it has none. */
  neighbor_threshold: number | null;
  /** Of the pictures of this run. */
  colormap: string;
  /** Of a color map that the pages do not know: 33 stops. */
  color_stops: string | null;
  warnings: string[];
  facts: Record<string, any>;
  viewer: boolean;
}

/** What reviewers said about an outline. */
export interface Words {
  decision: Decision;
  label: string;
  comment: string;
}

export interface ReviewItem extends Words {
  kind: "detected" | "drawn";
  geometry: Geometry;
  measurements: Measurements;
  threshold?: number | null;
  reviewer: string;
  time: string;
}

/** One item of a save, as the interface takes it. */
export interface Change extends Partial<Words> {
  id: string;
  threshold?: number | null;
  outline?: Ring;
  removed?: boolean;
}

/** Who is signed in. */
export interface Session {
  /** Under which reviews are saved; null: as the reviewer says. */
  name: string | null;
  can_review: boolean;
}

export interface SavedReview {
  revision: number;
  items: Record<string, ReviewItem>;
  history: { reviewer: string; time: string; changes: unknown[] }[];
}

/** An outline on the page. */
export interface Region {
  id: string;
  kind: "detected" | "drawn";
  name: string;
  /** As on the overlay; of drawn ones A1, A2 ... */
  number: string;
  geometry: Geometry;
  box: Box;
  area: number | null;
  mean: number | null;
  max: number | null;
  /** At which it was found; null for drawn ones. */
  threshold: number | null;
  /** It belongs to another threshold than the one shown. */
  isElsewhere: boolean;
  /** The threshold at which it was decided on, where that is another. */
  decidedAt: number | null;
}

/** Everything that the slide page shows and that can change. */
export interface ViewState {
  threshold: number;
  opacity: number;
  colormap: string;
  hideBelow: boolean;
  smooth: boolean;
  fade: boolean;
  outlines: boolean;
  hatch: boolean;
  isMapShown: boolean;
  isBeside: boolean;
  layer: LayerName;
  tool: Tool | null;
  found: Feature[];
  rules: Rules | null;
  totals: Totals;
  /** The outlines of `found` and of the review, the largest first. */
  regions: Region[];
  /** The threshold or the layer is being asked for. */
  isAsking: boolean;
  selectedId: string | null;
  hoveredId: string | null;
}

export interface Classification {
  rows: number;
  cols: number;
  probability: number;
  probabilities: number[];
  spread: number;
  calls: { operating_point: string; threshold: number; is_idc: boolean }[];
  is_scale_assumed: boolean;
  is_padded: boolean;
  um_px: number;
  stain: string;
  notice: string;
  notes: string[];
  occlusion: { patch: number; side: number; drop: number[] };
}

export interface ModelCard {
  name: string;
  sha256: string;
  patch_size_px: number;
  spacing_um_px: number;
  notice?: string;
  metrics?: Record<string, any>;
  training_data?: { patches?: number; patients?: number };
}

declare global {
  /** The part of OpenSeadragon that the pages use; the library brings no types. */
  namespace OpenSeadragon {
    class Point {
      constructor(x: number, y: number);
      x: number;
      y: number;
    }
    class Rect {
      constructor(x: number, y: number, width: number, height: number);
    }
    interface Viewport {
      pixelFromPoint(point: Point, current?: boolean): Point;
      getCenter(current?: boolean): Point;
      getZoom(current?: boolean): number;
      getRotation(current?: boolean): number;
      setRotation(degrees: number, immediately?: boolean): void;
      getContainerSize(): Point;
      zoomTo(zoom: number, reference?: Point, immediately?: boolean): void;
      zoomBy(factor: number, reference?: Point): void;
      panTo(center: Point, immediately?: boolean): void;
      panBy(delta: Point, immediately?: boolean): void;
      deltaPointsFromPixels(pixels: Point): Point;
      pointFromPixel(pixel: Point): Point;
      applyConstraints(immediately?: boolean): void;
      fitBoundsWithConstraints(box: Rect, immediately?: boolean): void;
      goHome(immediately?: boolean): void;
    }
    class Viewer {
      constructor(options: Record<string, unknown>);
      viewport: Viewport;
      isOpen(): boolean;
      addHandler(name: string, handler: (event: any) => void): void;
      addOnceHandler(name: string, handler: (event: any) => void): void;
    }
  }
}
