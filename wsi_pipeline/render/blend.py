"""The map as colors, and laid over the slide: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeVar

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_pipeline.classifier.logits import logit, sigmoid
from wsi_pipeline.errors import ConfigError
from wsi_pipeline.geometry import BoolMask, FloatArray, RgbArray, Size
from wsi_pipeline.maps.contours import interpolated
from wsi_pipeline.maps.map import ProbabilityMap

_Scalar = TypeVar("_Scalar", bound=np.generic)

RgbaArray = NDArray[np.uint8]
"""uint8, shape (H, W, 4), alpha not premultiplied."""

TISSUE_FRACTION_SHOWN: Final = 0.05
"""A cell that was not classified is hatched where at least this share of it is tissue."""

_HATCH_PERIOD_PX: Final = 9
_HATCH_RGBA: Final = (80, 80, 80, 120)
_FLAG_RGBA: Final = (192, 0, 0, 220)
_TABLE_SIZE: Final = 256


MapStyle = Literal["smooth", "cells"]
"""Interpolated between the centers of cells, on the tissue alone; or each cell a square."""


@dataclass(frozen=True, slots=True)
class Blend:
    """How a probability becomes a color on the slide. The same for every slide: no rescaling."""

    colormap: str = "viridis"
    """A matplotlib name. The limits are always 0 and 1."""
    opacity: float = 0.6
    """Of the color at probability 1. It falls with the square root of the probability to 0, where
    the slide shows bare: in proportion, a cell at a threshold of 0.2 would hardly be seen."""
    hatches_flagged: bool = False
    """Strike through the cells with a quality flag."""
    map_style: MapStyle = "smooth"
    """How the map lies over the slide."""

    def __post_init__(self) -> None:
        if self.colormap not in mpl.colormaps:
            raise ConfigError(
                f"no color map is called {self.colormap!r}",
                "Perceptual ones are viridis, cividis, magma, inferno and plasma",
            )
        if not 0 < self.opacity <= 1:
            raise ConfigError(f"opacity {self.opacity} is not within 0 to 1", "Give e.g. 0.6")

    def opaque(self, probability: FloatArray) -> RgbaArray:
        """Return the colors of probabilities, shape (..., 4): opaque, transparent where NaN."""
        return _colored(_table(self.colormap), probability)

    def translucent(self, probability: FloatArray) -> RgbaArray:
        """Return the colors as laid over the slide, (..., 4): opacity falls with probability."""
        table = _table(self.colormap).copy()
        alpha = self.opacity * np.sqrt(np.linspace(0, 1, _TABLE_SIZE))
        table[:_TABLE_SIZE, 3] = (255 * alpha).round()
        return _colored(table, probability)


@lru_cache
def _table(colormap: str) -> RgbaArray:
    """Return one row a probability from 0 to 1, and a last one for NaN."""
    colors = mpl.colormaps[colormap](np.linspace(0, 1, _TABLE_SIZE), bytes=True)
    return np.vstack([colors, np.zeros((1, 4))]).astype(np.uint8)


def _colored(table: RgbaArray, probability: FloatArray) -> RgbaArray:
    """Return the table's color of each probability, shape (..., 4)."""
    packed = table.view(np.uint32)[:, 0]  # a color as one number: four bytes at once
    known = ~np.isnan(probability)
    colors = np.full(probability.shape, packed[_TABLE_SIZE], np.uint32)
    rows = (probability[known].clip(0, 1) * (_TABLE_SIZE - 1)).round()
    colors[known] = packed.take(rows.astype(np.uint8))
    return colors[..., np.newaxis].view(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class CellLookup:
    """Which cell each pixel of a picture of the scanned bounds shows."""

    row: NDArray[np.intp]
    """Grid row of each row of pixels, -1 = outside the grid."""
    col: NDArray[np.intp]

    @classmethod
    def of(cls, map_: ProbabilityMap, size_px: Size) -> CellLookup:
        """Return the lookup for a picture of `size_px` that shows the map's scanned bounds."""
        x, y, width, height = map_.bounds_l0
        rows, cols = map_.values.shape
        return cls(
            _indices((y, height), size_px.height, map_.origin_l0[1], map_.step_l0[1], rows),
            _indices((x, width), size_px.width, map_.origin_l0[0], map_.step_l0[0], cols),
        )

    def spread(self, cells: NDArray[_Scalar]) -> NDArray[_Scalar]:
        """Return the value of each pixel's cell, shape (H, W); 0 outside the grid."""
        padded = np.pad(cells, ((0, 1), (0, 1)))
        return padded[:, self.col][self.row]

    def spread_rgba(self, cells: RgbaArray) -> RgbaArray:
        """Return the color of each pixel's cell, shape (H, W, 4); transparent outside the grid."""
        packed = np.ascontiguousarray(cells).view(np.uint32)[..., 0]
        return self.spread(packed)[..., np.newaxis].view(np.uint8)


def _indices(
    span_l0: tuple[int, int], n_px: int, origin_l0: int, step_l0: float, n_cells: int
) -> NDArray[np.intp]:
    index = np.floor(_places(span_l0, n_px, origin_l0, step_l0)).astype(np.intp)
    return np.where((index >= 0) & (index < n_cells), index, -1)


def _places(
    span_l0: tuple[int, int], n_px: int, origin_l0: float, step_l0: float
) -> NDArray[np.float64]:
    """Return where the centers of pixels lie along an axis, in cells or px of another raster."""
    start_l0, side_l0 = span_l0
    centers_l0 = start_l0 + (np.arange(n_px) + 0.5) * (side_l0 / n_px)
    return np.asarray((centers_l0 - origin_l0) / step_l0, np.float64)


def heatmap(map_: ProbabilityMap, size_px: Size, blend: Blend) -> RgbaArray:
    """Draw the map alone: opaque colors, fully transparent where nothing was classified.

    Returns
    -------
    ndarray of uint8, shape (height, width, 4)
        Over the scanned bounds; cells that overhang them are cut.
    """
    return CellLookup.of(map_, size_px).spread_rgba(blend.opaque(map_.values))


def overlay(thumbnail: RgbArray, map_: ProbabilityMap, blend: Blend) -> RgbArray:
    """Lay the map over a thumbnail of the scanned bounds; hatch tissue that was not classified.

    Parameters
    ----------
    thumbnail : ndarray of uint8, shape (H, W, 3)

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    size = Size(thumbnail.shape[1], thumbnail.shape[0])
    lookup = CellLookup.of(map_, size)
    unseen = lookup.spread(np.isnan(map_.values) & (map_.tissue >= TISSUE_FRACTION_SHOWN))
    if blend.map_style == "smooth":
        tissue = tissue_px(map_, size)
        layer = blend.translucent(smooth_px(map_, size, tissue))
        unseen &= tissue
    else:
        layer = lookup.spread_rgba(blend.translucent(map_.values))
    layer[unseen & hatching(layer.shape[:2])] = _HATCH_RGBA
    if blend.hatches_flagged and map_.quality is not None:
        doubted = ~np.isnan(map_.values) & (map_.quality > 0)
        layer[lookup.spread(doubted) & hatching(layer.shape[:2])[:, ::-1]] = _FLAG_RGBA
    return over(thumbnail, layer)


def smooth_px(map_: ProbabilityMap, size_px: Size, tissue: BoolMask) -> FloatArray:
    """Return the probability at each pixel of a picture, interpolated on logits between cells.

    Parameters
    ----------
    map_ : ProbabilityMap
    size_px : Size
        Of a picture of the scanned bounds.
    tissue : ndarray of bool, shape (height, width)
        Where it is wanted.

    Returns
    -------
    ndarray of float32, shape (height, width)
        NaN in cells that were not classified, and off the tissue.
    """
    x, y, width, height = map_.bounds_l0
    rows = _places((y, height), size_px.height, map_.origin_l0[1], map_.step_l0[1])
    cols = _places((x, width), size_px.width, map_.origin_l0[0], map_.step_l0[0])
    known = ~np.isnan(map_.values)
    logits = np.where(known, logit(np.where(known, map_.values, np.float32(0.5))), np.nan)
    inside = CellLookup.of(map_, size_px).spread(known) & tissue
    found = np.full(inside.shape, np.nan, np.float32)
    if inside.any():  # only what is shown costs anything
        used = (np.asarray(inside.any(axis=1)), np.asarray(inside.any(axis=0)))
        part = np.s_[_reach(used[0]), _reach(used[1])]
        shown = inside[part]
        at = interpolated(logits.astype(np.float32), rows[part[0]], cols[part[1]])
        found[part][shown] = sigmoid(at[shown])
    return found


def _reach(used: NDArray[np.bool_]) -> slice:
    """Return from the first to the last that is used."""
    places = np.flatnonzero(used)
    return slice(int(places[0]), int(places[-1]) + 1)


def tissue_px(map_: ProbabilityMap, size_px: Size) -> BoolMask:
    """Return which pixels of a picture of the scanned bounds show tissue.

    By the stored mask; in a map without one every cell with any tissue counts as a whole.
    """
    if map_.mask is None:
        return CellLookup.of(map_, size_px).spread(map_.tissue > 0)
    x, y, width, height = map_.bounds_l0
    (left, top), (step_x, step_y) = map_.mask.origin_l0, map_.mask.step_l0
    n_rows, n_cols = map_.mask.inside.shape
    col = np.clip(_places((x, width), size_px.width, left, step_x), 0, n_cols - 1)
    row = np.clip(_places((y, height), size_px.height, top, step_y), 0, n_rows - 1)
    found: BoolMask = map_.mask.inside[row.astype(np.intp)][:, col.astype(np.intp)]
    return found


def over(rgb: RgbArray, layer: RgbaArray) -> RgbArray:
    """Lay a layer, shape (H, W, 4), over pixels, shape (H, W, 3)."""
    picture = Image.fromarray(rgb)
    painted = Image.fromarray(layer)
    picture.paste(painted, mask=painted)
    return np.asarray(picture)


def hatching(shape: tuple[int, ...]) -> BoolMask:
    """Return thin diagonal lines, True = line."""
    height, width = shape
    step = np.arange(_HATCH_PERIOD_PX)
    tile = np.add.outer(step, step) % _HATCH_PERIOD_PX < 2
    repeats = (height // _HATCH_PERIOD_PX + 1, width // _HATCH_PERIOD_PX + 1)
    return np.tile(tile, repeats)[:height, :width]


def hatch_sample(size_px: Size) -> RgbaArray:
    """Return the hatching of tissue that was not classified as a layer, for a legend."""
    lines = hatching((size_px.height, size_px.width))
    return np.where(lines[..., np.newaxis], _HATCH_RGBA, 0).astype(np.uint8)


def flag_sample(size_px: Size) -> RgbaArray:
    """Return the hatching of flagged cells as a layer, for a legend."""
    lines = hatching((size_px.height, size_px.width))[:, ::-1]
    return np.where(lines[..., np.newaxis], _FLAG_RGBA, 0).astype(np.uint8)
