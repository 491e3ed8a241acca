"""Coarse to fine: every n-th patch first, then those beside what may be tumor.

Works on patch positions, wherever blocks begin and end: the same patches are classified whatever
the size of a block, on any number of workers and after a resume.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_pipeline.geometry import BoolMask, FloatArray


def coarse_positions(keep: BoolMask, step: int) -> BoolMask:
    """Return the kept positions in every `step`-th row and column, those of the first pass."""
    lattice = np.zeros_like(keep)
    lattice[::step, ::step] = True
    return keep & lattice


def positions_to_refine(
    keep: BoolMask, visited: BoolMask, probability: FloatArray, step: int, refine_above: float
) -> BoolMask:
    """Return the positions that the next pass has to classify; none where the map is settled.

    Those are the ones less than `step` from a patch of at least `refine_above`, and the ones
    without any classified patch that near: nothing would be known of them.

    Parameters
    ----------
    keep, visited : ndarray of bool, shape (rows, cols)
        What there is to classify, and what the passes before have tried.
    probability : ndarray of float32, shape (rows, cols)
        NaN = not classified, or not readable.
    step : int
        Between the positions of the first pass.
    refine_above : float
        Probability, 0 to 1.
    """
    hot = _around(probability >= refine_above, step)
    known = _around(~np.isnan(probability), step)
    return np.asarray(keep & ~visited & (hot | ~known), dtype=bool)


def estimates(open_positions: BoolMask, probability: FloatArray, step: int) -> FloatArray:
    """Return the mean over the classified patches less than `step` away, NaN elsewhere.

    Parameters
    ----------
    open_positions : ndarray of bool, shape (rows, cols)
        Where an estimate is wanted: positions that no pass had to classify.
    probability : ndarray of float32, shape (rows, cols)
        NaN = not classified.

    Returns
    -------
    ndarray of float32, shape (rows, cols)
        Below `refine_above` throughout, since no patch near an open position reaches it.
    """
    known = ~np.isnan(probability)
    total = _sum_around(np.where(known, probability, 0.0), step)
    count = _sum_around(known, step)
    mean = np.full(probability.shape, np.nan, np.float32)
    np.divide(total, count, out=mean, where=open_positions & (count > 0), casting="same_kind")
    return mean


def _around(mask: BoolMask, step: int) -> BoolMask:
    side = 2 * step - 1
    grown: NDArray[np.uint8] = ndimage.maximum_filter(
        mask.astype(np.uint8), side, mode="constant", cval=0
    )
    return grown > 0


def _sum_around(values: NDArray[np.generic], step: int) -> NDArray[np.float64]:
    line = np.ones(2 * step - 1)
    rows = ndimage.correlate1d(values.astype(np.float64), line, axis=0, mode="constant")
    total: NDArray[np.float64] = ndimage.correlate1d(rows, line, axis=1, mode="constant")
    return total
