"""The thresholded map as regions with outlines, areas and figures for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from wsi_pipeline.geometry import BoolMask, FloatArray
from wsi_pipeline.maps.map import ProbabilityMap

DEFAULT_SMOOTHING_CELLS: Final = 0.4
"""Sigma of the smoothing, cells: a lone cell of probability 1 among zeros keeps 0.85 of it."""

_TOUCHING: Final = np.ones((3, 3), bool)
"""Cells that touch at a corner are one region. At 0.4 mm a cell, a tumor front that runs across
the grid shows as a diagonal chain of cells; 4-connectivity would cut it into single cells, and
the minimum area would then throw those away."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A connected set of cells called IDC."""

    number: int
    """1 for the largest."""
    outline_l0: shapely.Polygon | shapely.MultiPolygon
    """Exactly along cell edges, level-0 px of the whole slide; holes kept. Parts that meet only at
    a corner are polygons of one MultiPolygon."""
    area_mm2: float
    """Of its cells, whole ones."""
    perimeter_mm: float
    """Along the cell edges, holes included: the outline's own length, stairs and all."""
    mean_probability: float
    """Over its cells, of the map as it is (not smoothed)."""
    max_probability: float
    n_patches: int
    """Cells; with stride = patch these are the patches."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The regions of one slide, largest first, with the settings that made them."""

    items: tuple[Region, ...]
    labels: NDArray[np.int32]
    """int32, shape (rows, cols) of the map: the number of each cell's region, 0 = none."""
    threshold: float
    low_threshold: float
    smoothing_cells: float
    min_area_mm2: float

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Region]:
        return iter(self.items)


@dataclass(frozen=True, slots=True)
class SlideTotals:
    """One slide in figures. NaN = nothing was classified, never 0."""

    idc_mm2: float
    """Area of the regions."""
    tissue_mm2: float
    """Tissue on the slide, from the tissue fraction of every cell, classified or not."""
    classified_mm2: float
    """Area of the classified cells."""
    idc_share: float
    """IDC area over tissue area, 0 to 1; NaN without tissue or without a classified cell."""
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
        tissue_mm2 = float(np.nansum(map_.tissue, dtype=np.float64)) * map_.cell_area_mm2
        idc_mm2 = float(sum(region.area_mm2 for region in regions))
        known = classified.size > 0
        return cls(
            idc_mm2=idc_mm2 if known else np.nan,
            tissue_mm2=tissue_mm2,
            classified_mm2=classified.size * map_.cell_area_mm2,
            # Cells count whole, tissue by its fraction: at a ragged edge the ratio could pass 1.
            idc_share=min(1.0, idc_mm2 / tissue_mm2) if known and tissue_mm2 > 0 else np.nan,
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
    smoothing_cells: float = DEFAULT_SMOOTHING_CELLS,
    min_area_mm2: float = 0.0,
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
        Smaller regions are dropped.

    Returns
    -------
    Regions
        Largest first; equal areas in the order of the map's rows.

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
    labels, sizes = _label_with_seeds(smoothed >= low_threshold, smoothed >= threshold)
    # The last digits of a product must not decide: "at least 0.16 mm²" keeps a cell of 0.16 mm².
    is_kept = (sizes > 0) & (sizes * map_.cell_area_mm2 >= min_area_mm2 * (1 - 1e-9))
    kept = np.flatnonzero(is_kept)
    order = kept[np.argsort(-sizes[kept], kind="stable")]
    renumbered = np.zeros(len(sizes), np.int32)
    renumbered[order] = np.arange(1, len(order) + 1)
    final = renumbered[labels]
    items = tuple(
        _region(map_, final, number, window)
        for number, window in enumerate(ndimage.find_objects(final), start=1)
    )
    return Regions(items, final, threshold, low_threshold, smoothing_cells, min_area_mm2)


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


def _label_with_seeds(
    extent: BoolMask, seeds: BoolMask
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return a number for each part of `extent`, and its cells where it holds a seed (else 0)."""
    labels, n_parts = ndimage.label(extent, structure=_TOUCHING)
    has_seed = np.zeros(n_parts + 1, bool)
    has_seed[np.unique(labels[seeds])] = True
    has_seed[0] = False
    sizes = np.bincount(labels.ravel(), minlength=n_parts + 1)
    return labels.astype(np.int32), np.where(has_seed, sizes, 0)


def _region(
    map_: ProbabilityMap,
    labels: NDArray[np.int32],
    number: int,
    window: tuple[slice, slice],
) -> Region:
    cells = labels[window] == number
    probabilities = map_.values[window][cells].astype(np.float64)
    outline_grid = outline_cells(cells, window[0].start, window[1].start)
    n_cells = int(cells.sum())
    return Region(
        number=number,
        outline_l0=l0_from_outline(outline_grid, map_),
        area_mm2=n_cells * map_.cell_area_mm2,
        perimeter_mm=_length_mm(outline_grid, map_.cell_um),
        mean_probability=float(probabilities.mean()),
        max_probability=float(probabilities.max()),
        n_patches=n_cells,
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


def _length_mm(
    outline_grid: shapely.Polygon | shapely.MultiPolygon, cell_um: tuple[float, float]
) -> float:
    outline_um = shapely.transform(outline_grid, lambda corners: corners * np.array(cell_um))
    return float(shapely.length(outline_um)) / 1000
