"""From values on patch positions to values on the cells of the map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import FloatArray
from wsi_pipeline.maps.grid import TileGrid


def cells_from_patches(values: FloatArray, grid: TileGrid) -> FloatArray:
    """Return for each cell the mean over the classified patches that cover it.

    Parameters
    ----------
    values : ndarray of float32, shape `grid.patch_shape`
        NaN = not classified.

    Returns
    -------
    ndarray of float32, shape `grid.shape`
        NaN where no classified patch covers the cell.
    """
    k, known = grid.cells_per_patch, ~np.isnan(values)
    if k == 1:
        return values.copy()
    total, count = np.zeros(grid.shape), np.zeros(grid.shape, np.int32)
    for row in range(k):
        for col in range(k):
            window = np.s_[row : row + values.shape[0], col : col + values.shape[1]]
            part = total[window].shape
            total[window] += np.where(known, values, 0.0)[: part[0], : part[1]]
            count[window] += known[: part[0], : part[1]]
    mean = np.full(grid.shape, np.nan, np.float32)
    np.divide(total, count, out=mean, where=count > 0, casting="same_kind")
    return mean


def patch_counts(values: FloatArray, grid: TileGrid) -> NDArray[np.uint8]:
    """Return for each cell how many classified patches cover it, at most 255."""
    k, known = grid.cells_per_patch, ~np.isnan(values)
    count = np.zeros(grid.shape, np.int32)
    for row in range(k):
        for col in range(k):
            window = np.s_[row : row + values.shape[0], col : col + values.shape[1]]
            part = count[window].shape
            count[window] += known[: part[0], : part[1]]
    return np.minimum(count, 255).astype(np.uint8)


def flags_from_patches(flags: NDArray[np.uint8], grid: TileGrid) -> NDArray[np.uint8]:
    """Return for each cell the flags of the patches that cover it, joined."""
    k = grid.cells_per_patch
    cells = np.zeros(grid.shape, np.uint8)
    for row in range(k):
        for col in range(k):
            window = np.s_[row : row + flags.shape[0], col : col + flags.shape[1]]
            part = cells[window].shape
            cells[window] |= flags[: part[0], : part[1]]
    return cells
