"""Outlines that follow the tissue: marching squares on the interpolated map, cut by the mask.

Between the centers of two neighboring cells the logit of the map runs in a straight line; the
outline lies where it meets the level. A logit counts for a third at least and for one at most, so
that the outline runs a quarter to three quarters of the way from each called cell to its neighbor
that is not: within a quarter of a cell from the cells' own edges, 0.37 in their corners. The center
of every called cell lies inside, that of every other classified cell outside.

References
----------
Lorensen & Cline, "Marching cubes", SIGGRAPH 1987; scikit-image's `find_contours` in two dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import cc3d
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours

from wsi_pipeline.classifier.logits import logit
from wsi_pipeline.geometry import BoolMask, FloatArray
from wsi_pipeline.maps.map import ProbabilityMap, TissueRaster

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon

SPECK_MM2: Final = 0.01
"""Parts of a region smaller than this, cut off by the outline or a gap in the tissue, are left out;
the largest of those that hang on the same cells stays, however small."""

_LEAST_OFFSET: Final = 1 / 3
_MOST_OFFSET: Final = 1.0
"""A lone cell just above the level among others far below would otherwise shrink to nothing, and
one far above grow over its neighbors."""
_STEEPEST: Final = 0.25
"""Logits by which the field may differ from the level: more would only tell by how much."""
_LEAST: Final = 1e-4
_SIMPLER_PX: Final = 0.1
"""Points that lie this near a straight line, raster px, are left out: 2 µm at 16 µm/px."""
_TOUCHING: Final = np.ones((3, 3), bool)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What becomes a region: an outline and the called cells under it."""

    outline_l0: Area
    tissue: float
    """Tissue inside, in the unit of whoever counted: raster px or cells."""
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    shares: NDArray[np.float64]
    """How much of its tissue lies in each of these cells, same unit."""


@dataclass(frozen=True, slots=True, eq=False)
class RasterFrame:
    """How the px of a tissue raster lie on the cells of a map."""

    rows: NDArray[np.float64]
    """Center of each row of px, in cells from the map's upper edge."""
    cols: NDArray[np.float64]

    @classmethod
    def of(cls, map_: ProbabilityMap, raster: TissueRaster) -> Self:
        """Return the frame of a map's raster."""
        x, y = (
            (raster.origin_l0[axis] + (np.arange(n) + 0.5) * raster.step_l0[axis]
             - map_.origin_l0[axis]) / map_.step_l0[axis]
            for axis, n in enumerate(raster.inside.shape[::-1])
        )  # fmt: skip
        return cls(y, x)

    def window(self, rows: slice, cols: slice) -> tuple[slice, slice]:
        """Return the px whose centers lie in a window of cells."""
        return (_span(self.rows, rows), _span(self.cols, cols))

    def cells_in(self, window: tuple[slice, slice]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the cell of each row and each column of a window of px."""
        rows, cols = self.rows[window[0]], self.cols[window[1]]
        return np.floor(rows).astype(np.intp), np.floor(cols).astype(np.intp)


def contour_parts(
    map_: ProbabilityMap, smoothed: FloatArray, labels: NDArray[np.int32], level: float
) -> Iterator[Part]:
    """Yield the parts that connected cells make, one for each piece of tissue that they lie on.

    Parameters
    ----------
    map_ : ProbabilityMap
        With its tissue mask.
    smoothed : ndarray of float32, shape (rows, cols)
        What is called from; NaN = not classified.
    labels : ndarray of int32, shape (rows, cols)
        Numbers of the connected sets of called cells, from 1; 0 = not called.
    level : float
        Probability that every called cell reaches.

    Notes
    -----
    Places in cells that were not classified are left out, however much tissue they hold: nobody
    judged them. Holes of glass smaller than a cell are bridged.
    """
    if map_.mask is None:
        raise ValueError("the map has no tissue mask to cut outlines by")
    frame = RasterFrame.of(map_, map_.mask)
    pieces, _ = ndimage.label(map_.mask.inside, structure=_TOUCHING)
    offset = _offset(smoothed, labels, level)
    for number, cells in enumerate(ndimage.find_objects(labels), start=1):
        if cells is not None:
            yield from _Tracer(map_, map_.mask, frame, pieces, labels, number).parts(offset, cells)


def interpolated(
    values: NDArray[np.float32], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return values between cells, bilinearly over the known ones.

    Parameters
    ----------
    values : ndarray of float32, shape (n_rows, n_cols)
        At the centers of cells; NaN = unknown, which takes no part: beside one the others count
        alone.
    rows : ndarray of float64, shape (H,)
        Places in cells: 0.5 is the center of the first.
    cols : ndarray of float64, shape (W,)

    Returns
    -------
    ndarray of float32, shape (H, W)
        NaN where the cells around are all unknown. Beyond the outermost centers the value stays.
    """
    known = ~np.isnan(values)
    total = _bilinear(np.where(known, values, np.float32(0)), rows, cols)
    if known.all():
        return total
    weight = _bilinear(known.astype(np.float32), rows, cols)
    found = np.full(total.shape, np.nan, np.float32)
    np.divide(total, weight, out=found, where=weight > _LEAST)
    return found


def _bilinear(
    values: NDArray[np.float32], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> NDArray[np.float32]:
    before, after, weight = _neighbors(rows, values.shape[0])
    lines = values[before] * (1 - weight)[:, None] + values[after] * weight[:, None]
    before, after, weight = _neighbors(cols, values.shape[1])
    return np.asarray(lines[:, before] * (1 - weight) + lines[:, after] * weight, np.float32)


def _neighbors(
    places: NDArray[np.float64], n_cells: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    from_center = np.clip(places - 0.5, 0, n_cells - 1)
    before = np.floor(from_center).astype(np.intp)
    return before, np.minimum(before + 1, n_cells - 1), (from_center - before).astype(np.float32)


def _span(centers: NDArray[np.float64], cells: slice) -> slice:
    start, stop = np.searchsorted(centers, [cells.start, cells.stop])
    return slice(int(start), int(stop))


def _offset(smoothed: FloatArray, labels: NDArray[np.int32], level: float) -> NDArray[np.float32]:
    """Return logits above the level, within bounds; negative in all but called cells."""
    known = ~np.isnan(smoothed)
    offset = logit(np.where(known, smoothed, np.float32(0.5))) - logit(np.array(level, np.float32))
    amount = np.clip(np.where(labels > 0, offset, -offset), _LEAST_OFFSET, _MOST_OFFSET)
    return np.where(known, np.where(labels > 0, amount, -amount), np.nan).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Tracer:
    """Draws the outlines of one connected set of called cells."""

    map_: ProbabilityMap
    raster: TissueRaster
    frame: RasterFrame
    pieces: NDArray[np.int32]
    """Number of the piece of tissue of each px, 0 = glass."""
    labels: NDArray[np.int32]
    number: int

    @property
    def px_mm2(self) -> float:
        x, y = self.raster.step_l0
        return x * self.map_.mpp.x * y * self.map_.mpp.y / 1e6

    @property
    def px_per_cell(self) -> float:
        return self.map_.cell_area_mm2 / self.px_mm2

    def parts(self, offset: NDArray[np.float32], cells: tuple[slice, slice]) -> Iterator[Part]:
        """Yield a part for each piece of tissue under the cells."""
        n_rows, n_cols = offset.shape
        rows, cols = _wider(cells[0], n_rows), _wider(cells[1], n_cols)
        window = self.frame.window(rows, cols)
        if 0 in (window[0].stop - window[0].start, window[1].stop - window[1].start):
            return
        field = self._field(offset, window)
        inside = (field > 0) & self.raster.inside[window] & self._known(offset, window)
        kept = self._kept(inside, window)
        pieces = np.where(kept, self.pieces[window], 0)
        for piece in np.unique(pieces[kept]):
            part = pieces == piece
            row, col, shares = self._cells_under(part, window)
            outline = _traced(field, part, self._bridged(part, window), window)
            yield Part(self._l0(outline), float(part.sum()), row, col, shares)

    def _field(
        self, offset: NDArray[np.float32], window: tuple[slice, slice]
    ) -> NDArray[np.float32]:
        """Return the interpolated logits above the level; NaN where nothing near is known."""
        rows, cols = self.frame.rows[window[0]], self.frame.cols[window[1]]
        top, left = max(0, int(rows[0]) - 1), max(0, int(cols[0]) - 1)
        part = offset[top : int(rows[-1]) + 2, left : int(cols[-1]) + 2]
        return interpolated(part, rows - top, cols - left)

    def _known(self, offset: NDArray[np.float32], window: tuple[slice, slice]) -> BoolMask:
        """Return the px of classified cells."""
        row, col = self.frame.cells_in(window)
        known: BoolMask = ~np.isnan(offset)[row][:, col]
        return known

    def _kept(self, inside: BoolMask, window: tuple[slice, slice]) -> BoolMask:
        """Return what hangs on the called cells, without specks."""
        row, col = self.frame.cells_in(window)
        mine = (self.labels[row] == self.number)[:, col]
        found, n_found = ndimage.label(inside, structure=_TOUCHING)
        sizes = np.bincount(found.ravel(), minlength=n_found + 1)
        touches = np.bincount(found[mine & inside], minlength=n_found + 1) > 0
        sizes = np.where(touches, sizes, 0)
        sizes[0] = 0
        keep = sizes * self.px_mm2 >= SPECK_MM2
        keep[sizes.argmax()] = sizes.max() > 0
        kept: BoolMask = keep[found]
        return kept

    def _bridged(self, part: BoolMask, window: tuple[slice, slice]) -> BoolMask:
        """Return the holes of nothing but glass that are smaller than a cell."""
        ground = cc3d.connected_components(~part, connectivity=4)
        ground *= ~part  # see `wsi_pipeline.tissue.morphology`
        fill = np.bincount(ground.ravel()) < self.px_per_cell
        fill[ground[self.raster.inside[window]]] = False
        for edge in (ground[0], ground[-1], ground[:, 0], ground[:, -1]):
            fill[edge] = False  # open ground, not a hole
        fill[0] = False
        return np.asarray(fill.take(ground), bool)

    def _cells_under(
        self, part: BoolMask, window: tuple[slice, slice]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Return the called cells that hold px of the part, and how many."""
        row, col = self.frame.cells_in(window)
        n_cols = self.labels.shape[1]
        cell = (row[:, None] * n_cols + col)[part]
        counts = np.bincount(cell, minlength=self.labels.size)
        under = np.flatnonzero((counts > 0) & (self.labels.ravel() == self.number))
        return under // n_cols, under % n_cols, counts[under].astype(np.float64)

    def _l0(self, outline_px: Area) -> Area:
        origin, step = np.array(self.raster.origin_l0), np.array(self.raster.step_l0)
        return shapely.transform(outline_px, lambda xy: origin + (xy + 0.5) * step)


def _wider(cells: slice, n_cells: int) -> slice:
    return slice(max(0, cells.start - 1), min(n_cells, cells.stop + 1))


def _traced(
    field: NDArray[np.float32], part: BoolMask, bridged: BoolMask, window: tuple[slice, slice]
) -> Area:
    """Return the outline of a part, x and y in raster px: whole numbers are centers of px."""
    # Beside the tissue the field is what it is within: the outline then runs half way between px.
    strength = np.clip(np.nan_to_num(np.abs(field), nan=_STEEPEST), _LEAST, _STEEPEST)
    signed = np.where(part | bridged, strength, -strength)
    signed = np.pad(signed, 1, mode="edge")
    signed[[0, -1]], signed[:, [0, -1]] = -np.abs(signed[[0, -1]]), -np.abs(signed[:, [0, -1]])
    rings = [ring[:, ::-1] for ring in find_contours(signed, 0.0)]
    outline = shapely.build_area(shapely.MultiLineString(rings))
    outline = shapely.simplify(outline, _SIMPLER_PX, preserve_topology=True)
    shift = np.array([window[1].start - 1, window[0].start - 1])
    return shapely.normalize(shapely.transform(outline, lambda xy: xy + shift))
