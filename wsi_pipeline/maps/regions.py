"""The thresholded map as regions with outlines, areas and figures for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from wsi_pipeline.geometry import BoolMask, FloatArray
from wsi_pipeline.maps.contours import Part, RasterFrame, contour_parts
from wsi_pipeline.maps.map import ProbabilityMap, TissueRaster

OutlineKind = Literal["contour", "cells"]
"""Along the interpolated map and the tissue, or along the edges of cells."""

SMOOTHING_PATCHES: Final = 0.4
"""Sigma of the smoothing, sides of a patch: 160 µm. A lone cell as large as a patch of probability
1 among zeros keeps 0.85 of it."""

_TOUCHING: Final = np.ones((3, 3), bool)
"""Cells that touch at a corner are one region. At 0.4 mm a cell, a tumor front that runs across
the grid shows as a diagonal chain of cells; 4-connectivity would cut it into single cells, and
the minimum area would then throw those away."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A connected part of what is called IDC: with contours, on one piece of tissue."""

    number: int
    """1 for the largest."""
    outline_l0: shapely.Polygon | shapely.MultiPolygon
    """Level-0 px of the whole slide; holes kept. Parts that meet only at a corner, or not at all
    within connected cells, are polygons of one MultiPolygon."""
    area_mm2: float
    """Tissue inside the outline."""
    outline_mm2: float
    """All inside the outline, gaps and glass too: what another program measures of it."""
    perimeter_mm: float
    """The outline's own length, holes included."""
    mean_probability: float
    """Over its cells, of the map as it is (not smoothed)."""
    max_probability: float
    n_patches: int
    """Called cells of which it holds tissue; with stride = patch these are the patches. A cell with
    two pieces of tissue counts in both."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The regions of one slide, largest first, with the settings that made them."""

    items: tuple[Region, ...]
    labels: NDArray[np.int32]
    """int32, shape (rows, cols) of the map: the number of the region that holds most of a called
    cell's tissue, 0 = none."""
    area_mm2: float
    """Tissue inside all outlines."""
    tissue_mm2: float
    """Tissue on the slide, classified or not: counted as that inside the outlines is."""
    outline: OutlineKind
    threshold: float
    low_threshold: float
    smoothing_cells: float
    min_area_mm2: float

    def __repr__(self) -> str:
        return (
            f"Regions({len(self)} of {self.area_mm2:.2f} mm², threshold {self.threshold:.3f}, "
            f"from {self.min_area_mm2:g} mm²)"
        )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Region]:
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class SlideTotals:
    """One slide in figures. NaN = nothing was classified, never 0."""

    idc_mm2: float
    """Tissue inside the regions' outlines."""
    tissue_mm2: float
    """Tissue on the slide, classified or not."""
    outline_mm2: float
    """All inside the outlines, glass too."""
    classified_mm2: float
    """Area of the classified cells."""
    idc_share: float
    """The first over the second, 0 to 1; NaN without tissue or without a classified cell."""
    n_regions: int
    n_classified: int
    """Classified cells."""
    mean_probability: float
    """Over the classified cells."""
    max_probability: float

    @classmethod
    def of(cls, map_: ProbabilityMap, regions: Regions) -> Self:
        """Return the totals of a map and the regions found on it."""
        classified = map_.values[~np.isnan(map_.values)].astype(np.float64)
        tissue_mm2, known = regions.tissue_mm2, classified.size > 0
        return cls(
            idc_mm2=regions.area_mm2 if known else np.nan,
            tissue_mm2=tissue_mm2,
            outline_mm2=float(sum(r.outline_mm2 for r in regions)) if known else np.nan,
            classified_mm2=classified.size * map_.cell_area_mm2,
            idc_share=regions.area_mm2 / tissue_mm2 if known and tissue_mm2 > 0 else np.nan,
            n_regions=len(regions),
            n_classified=classified.size,
            mean_probability=float(classified.mean()) if known else np.nan,
            max_probability=float(classified.max()) if known else np.nan,
        )


def find_regions(
    map_: ProbabilityMap,
    *,
    threshold: float,
    low_threshold: float,
    smoothing_cells: float = SMOOTHING_PATCHES,
    min_area_mm2: float = 0.0,
    outline: OutlineKind = "contour",
) -> Regions:
    """Find connected regions of high probability.

    Parameters
    ----------
    map_ : ProbabilityMap
    threshold : float
        A region has at least one cell whose smoothed probability reaches this.
    low_threshold : float
        It extends over the connected cells that reach this; at most `threshold`.
    smoothing_cells : float
        Sigma of a Gaussian over the classified cells, in cells; 0 = none.
    min_area_mm2 : float
        Regions with less tissue are dropped.
    outline : {"contour", "cells"}
        How outlines run, see `wsi_pipeline.maps.contours`. A map without its tissue mask
        allows for cells alone; `Regions.outline` says which it was.

    Returns
    -------
    Regions
        Most tissue first; equal ones in the order of the map's rows.

    Notes
    -----
    Cells that are not classified neither join a region nor pull their neighbors down: the smoothing
    is normalized by the weight of the classified cells [1]_. Two thresholds as in Canny's
    hysteresis [2]_, here with 8-connectivity, which scikit-image's version does not offer.

    References
    ----------
    .. [1] Knutsson & Westin, "Normalized and differential convolution", CVPR 1993.
    .. [2] Canny, "A computational approach to edge detection", IEEE TPAMI 8(6), 1986.
    """
    if not 0 <= low_threshold <= threshold <= 1:
        raise ValueError(
            f"expected 0 <= low_threshold <= threshold <= 1, received {low_threshold}, {threshold}"
        )
    smoothed = smooth(map_.values, smoothing_cells)
    labels = _label_with_seeds(smoothed >= low_threshold, smoothed >= threshold)
    tissue = _Tissue.of(map_)
    if map_.mask is None or outline == "cells":
        outline, parts = "cells", list(_cell_parts(map_, labels, tissue))
    else:
        parts = list(contour_parts(map_, smoothed, labels, low_threshold))
    # The last digits of a product must not decide: "at least 0.16 mm²" keeps a cell of 0.16 mm².
    least = min_area_mm2 * (1 - 1e-9)
    kept = [part for part in parts if part.tissue * tissue.unit_mm2 >= least and part.tissue > 0]
    kept.sort(key=lambda part: -part.tissue)
    items = tuple(_region(map_, part, tissue, n) for n, part in enumerate(kept, start=1))
    area = sum(part.tissue for part in kept)
    return Regions(
        items,
        _numbered(kept, labels.shape),
        area * tissue.unit_mm2,
        # Never less than its part, whatever the order in which fractions are added.
        max(tissue.total, area) * tissue.unit_mm2,
        outline,
        threshold,
        low_threshold,
        smoothing_cells,
        min_area_mm2,
    )


def smooth(values: FloatArray, sigma_cells: float) -> FloatArray:
    """Smooth a map over its classified cells only.

    Parameters
    ----------
    values : ndarray of float32, shape (rows, cols)
        NaN = not classified.
    sigma_cells : float
        Sigma of the Gaussian, cells; 0 returns the values as they are.

    Returns
    -------
    ndarray of float32, shape (rows, cols)
        NaN where `values` is NaN; within the range of the values elsewhere.
    """
    if sigma_cells <= 0:
        return values
    known = ~np.isnan(values)
    total = ndimage.gaussian_filter(np.where(known, values, 0.0), sigma_cells, mode="constant")
    weight = ndimage.gaussian_filter(known.astype(np.float64), sigma_cells, mode="constant")
    smoothed = np.full(values.shape, np.nan, np.float32)
    np.divide(total, weight, out=smoothed, where=known, casting="same_kind")
    return smoothed


@dataclass(frozen=True, slots=True, eq=False)
class _Tissue:
    """How much tissue there is, and in what unit it is counted."""

    of_cells: NDArray[np.float64]
    """In each cell, shape (rows, cols)."""
    total: float
    unit_mm2: float

    @classmethod
    def of(cls, map_: ProbabilityMap) -> Self:
        """Count by the mask's px; by the fractions of cells where the map has no mask."""
        if map_.mask is None:
            cells = np.nan_to_num(map_.tissue.astype(np.float64))
            return cls(cells, float(cells.sum()), map_.cell_area_mm2)
        cells = _count_px(map_, map_.mask)
        x, y = map_.mask.step_l0
        return cls(cells, float(cells.sum()), x * map_.mpp.x * y * map_.mpp.y / 1e6)


def _count_px(map_: ProbabilityMap, raster: TissueRaster) -> NDArray[np.float64]:
    """Return how many px of tissue have their center in each cell."""
    frame = RasterFrame.of(map_, raster)
    n_rows, n_cols = map_.values.shape
    top = np.searchsorted(frame.rows, np.arange(n_rows + 1))
    left = np.searchsorted(frame.cols, np.arange(n_cols + 1))
    table = np.zeros((raster.inside.shape[0] + 1, n_cols + 1), np.int64)
    sums = np.zeros((raster.inside.shape[0], raster.inside.shape[1] + 1), np.int32)
    np.cumsum(raster.inside, axis=1, out=sums[:, 1:])
    np.cumsum(sums[:, left], axis=0, out=table[1:])
    return np.diff(np.diff(table[top], axis=0), axis=1).astype(np.float64)


def _label_with_seeds(extent: BoolMask, seeds: BoolMask) -> NDArray[np.int32]:
    """Return a number, from 1, for each part of `extent` that holds a seed; 0 elsewhere."""
    labels, n_parts = ndimage.label(extent, structure=_TOUCHING)
    has_seed = np.zeros(n_parts + 1, bool)
    has_seed[np.unique(labels[seeds])] = True
    has_seed[0] = False
    numbers: NDArray[np.int32] = (np.cumsum(has_seed) * has_seed).astype(np.int32)
    found: NDArray[np.int32] = numbers[labels]
    return found


def _cell_parts(map_: ProbabilityMap, labels: NDArray[np.int32], tissue: _Tissue) -> Iterator[Part]:
    """Yield connected cells with their outlines along cell edges."""
    for number, window in enumerate(ndimage.find_objects(labels), start=1):
        cells = labels[window] == number
        outline_grid = outline_cells(cells, window[0].start, window[1].start)
        rows, cols = np.nonzero(cells)
        rows, cols = rows + window[0].start, cols + window[1].start
        shares = tissue.of_cells[rows, cols]
        yield Part(l0_from_outline(outline_grid, map_), float(shares.sum()), rows, cols, shares)


def _numbered(parts: Sequence[Part], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return for each cell the number of the part that holds most of its tissue."""
    labels, most = np.zeros(shape, np.int32), np.full(shape, -1.0)
    for number, part in enumerate(parts, start=1):
        at = (part.rows, part.cols)
        is_more = part.shares > most[at]
        labels[at] = np.where(is_more, number, labels[at])
        most[at] = np.maximum(part.shares, most[at])
    return labels


def _region(map_: ProbabilityMap, part: Part, tissue: _Tissue, number: int) -> Region:
    probabilities = map_.values[part.rows, part.cols].astype(np.float64)
    outline_um = shapely.transform(part.outline_l0, lambda xy: xy * (map_.mpp.x, map_.mpp.y))
    return Region(
        number=number,
        outline_l0=part.outline_l0,
        area_mm2=part.tissue * tissue.unit_mm2,
        outline_mm2=float(outline_um.area) / 1e6,
        perimeter_mm=float(outline_um.length) / 1000,
        mean_probability=float(probabilities.mean()),
        max_probability=float(probabilities.max()),
        n_patches=len(part.rows),
    )


def outline_cells(
    cells: BoolMask, row: int = 0, col: int = 0
) -> shapely.Polygon | shapely.MultiPolygon:
    """Return the outline of cells along their edges, in units of cells.

    Parameters
    ----------
    cells : ndarray of bool, shape (H, W)
        At least one is True.
    row, col : int
        Grid index of ``cells[0, 0]``.

    Returns
    -------
    Polygon or MultiPolygon
        x = column, y = row, whole numbers; corners only, no point along a straight edge.
    """
    rows, cols = np.nonzero(cells)
    x, y = cols + col, rows + row
    merged = shapely.coverage_union_all(shapely.box(x, y, x + 1, y + 1))
    polygons = [_corners_only(part) for part in shapely.get_parts(merged)]
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def l0_from_outline(
    outline_grid: shapely.Polygon | shapely.MultiPolygon, map_: ProbabilityMap
) -> shapely.Polygon | shapely.MultiPolygon:
    """Place an outline in units of cells on the slide, in level-0 px."""
    origin, step = np.array(map_.origin_l0), np.array(map_.step_l0)
    return shapely.transform(outline_grid, lambda corners: origin + corners * step)


def _corners_only(polygon: shapely.Polygon) -> shapely.Polygon:
    rings = [_ring_corners(ring) for ring in (polygon.exterior, *polygon.interiors)]
    return shapely.normalize(shapely.Polygon(rings[0], rings[1:]))


def _ring_corners(ring: shapely.LinearRing) -> NDArray[np.float64]:
    points = shapely.get_coordinates(ring)[:-1]
    before = points - np.roll(points, 1, axis=0)
    after = np.roll(points, -1, axis=0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    corners: NDArray[np.float64] = points[turns]
    return corners
