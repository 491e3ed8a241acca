"""How much of a window is tissue, exact to fractions of a mask pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsi_pipeline.geometry import BoolMask, FloatArray


def area_fraction(
    mask: BoolMask, *, x_start: ArrayLike, x_stop: ArrayLike, y_start: ArrayLike, y_stop: ArrayLike
) -> FloatArray:
    """Return the fraction of each window of a lattice that the mask covers.

    Parameters
    ----------
    mask : ndarray of bool, shape (H, W)
        True = tissue.
    x_start, x_stop : array_like of float, shape (cols,)
        Left and right edge of each column of windows, mask px; windows may overlap.
    y_start, y_stop : array_like of float, shape (rows,)
        Upper and lower edge of each row of windows, mask px.

    Returns
    -------
    ndarray of float32, shape (rows, cols)
        0 to 1. A mask pixel cut by an edge counts by the part inside; what lies outside the
        mask is no tissue.

    Raises
    ------
    ValueError
        Where a window has no width or height.

    Notes
    -----
    The integral of a piecewise constant mask is linear along each axis between pixel corners, so
    linear interpolation of the summed-area table is exact (Crow 1984).
    """
    x0, x1 = _edges(x_start, x_stop, "x")
    y0, y1 = _edges(y_start, y_stop, "y")
    table = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int32)
    np.cumsum(mask, axis=1, out=table[1:, 1:])
    np.cumsum(table, axis=0, out=table)
    strips = _sample_rows(table, y1) - _sample_rows(table, y0)
    covered = _sample_rows(strips.T, x1) - _sample_rows(strips.T, x0)
    fraction = covered.T / np.outer(y1 - y0, x1 - x0)
    return np.clip(fraction, 0.0, 1.0).astype(np.float32)


def _edges(
    start: ArrayLike, stop: ArrayLike, axis: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first = np.atleast_1d(np.asarray(start, dtype=np.float64))
    last = np.atleast_1d(np.asarray(stop, dtype=np.float64))
    if first.shape != last.shape or not (last > first).all():
        raise ValueError(f"every window needs {axis}_stop > {axis}_start, one pair each")
    return first, last


def _sample_rows(
    table: NDArray[np.int32] | NDArray[np.float64], position: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate rows of the table at fractional positions, clipped to the table."""
    last = table.shape[0] - 1
    inside = np.clip(position, 0, last)
    floor = np.minimum(inside.astype(np.intp), max(last - 1, 0))
    weight = (inside - floor)[:, None]
    below = table[np.minimum(floor + 1, last)]
    return np.asarray(table[floor] * (1 - weight) + below * weight, dtype=np.float64)
