"""Borders at half the stride: which patches to add, and what stands for those that are not.

After the first pass, whose patches do not overlap, patches between them are classified where the
map is near the level that outlines run along. Where it is not, a patch between others is taken for
their mean, weighted as in bilinear interpolation. Cells then hold the mean over the patches that
cover them, as where every patch is classified: refined places get the exhaustive map's values, and
the others change too smoothly to be far from them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_pipeline.classifier.logits import logit
from wsi_pipeline.geometry import BoolMask, FloatArray
from wsi_pipeline.maps.cells import cells_from_patches, patch_counts
from wsi_pipeline.maps.grid import TileGrid

NEAR_LOGITS: Final = 1.0
"""A patch whose cells lie this near the level in the mean is added, the level being 0. At a level
of 0.25 that is 0.11 to 0.48."""


def lattice_steps(step: int) -> tuple[int, ...]:
    """Return the steps between patches in each pass, in units of the finest: 4 gives 4, 2, 1."""
    steps = [step]
    for prime in (2, 3, 5, 7):
        while steps[-1] > 1 and steps[-1] % prime == 0:
            steps.append(steps[-1] // prime)
    return tuple(steps) if steps[-1] == 1 else (*steps, 1)


def border_positions(
    values: FloatArray,
    candidates: BoolMask,
    *,
    level: float,
    n_most: int,
) -> BoolMask:
    """Return the positions of the patches that are worth classifying, nearest to the level first.

    Parameters
    ----------
    values : ndarray of float32, shape (rows, cols) of the cells
        The map so far, as outlines are drawn on it; NaN = not classified.
    candidates : ndarray of bool, shape of the patch positions
        Patches that may be added.
    level : float
        Probability that outlines run along.
    n_most : int
        How many there may be. Those across which an outline runs come first, then those nearest to
        the level; equal ones in the order of the rows.

    Returns
    -------
    ndarray of bool, shape of the patch positions
    """
    logits = np.where(np.isnan(values), np.nan, logit(np.nan_to_num(values, nan=0.5)))
    offset = logits - logit(np.array(level, np.float32))
    mean, crosses = _of_patches(offset, candidates.shape)
    wanted = candidates & (crosses | (np.abs(mean) <= NEAR_LOGITS))
    rank = np.where(crosses, 0.0, NEAR_LOGITS) + np.minimum(np.abs(mean), NEAR_LOGITS)
    places = np.flatnonzero(wanted)
    chosen = places[np.argsort(rank.ravel()[places], kind="stable")[: max(n_most, 0)]]
    added = np.zeros_like(candidates)
    added.ravel()[chosen] = True
    return added


def with_between(
    probability: FloatArray, first: BoolMask, wanted: BoolMask, step: int
) -> FloatArray:
    """Return the patches with what stands for those between that were not classified.

    Parameters
    ----------
    probability : ndarray of float32, shape (rows, cols) of the patch positions
        NaN = not classified, or not readable.
    first : ndarray of bool, same shape
        Patches of the first pass; every `step`-th along both axes.
    wanted : ndarray of bool, same shape
        Patches that an estimate is wanted for.
    step : int
        Between the patches of the first pass.

    Returns
    -------
    ndarray of float32, same shape
        As it is where classified. Where wanted, interpolated bilinearly over the classified patches
        of the first pass; NaN where none is less than `step` away, and elsewhere.
    """
    known = first & ~np.isnan(probability)
    total = _tent(np.where(known, probability, 0.0), step)
    weight = _tent(known, step)
    found = probability.copy()
    is_open = wanted & np.isnan(probability) & (weight > 0)
    np.divide(total, weight, out=found, where=is_open, casting="same_kind")
    return found


def border_cells(
    values: FloatArray, probability: FloatArray, grid: TileGrid
) -> tuple[FloatArray, NDArray[np.uint8]]:
    """Return the cells of a map whose borders alone were refined.

    Parameters
    ----------
    values : ndarray of float32, shape `grid.patch_shape`
        Of every patch, classified or estimated, after the refinement by neighbors if there is one.
    probability : ndarray of float32, same shape
        NaN = not classified.

    Returns
    -------
    cells : ndarray of float32, shape `grid.shape`
        Mean over the patches that cover a cell; NaN where no classified one does.
    n_classified : ndarray of uint8, same shape
        How many of them were classified.
    """
    n_classified = patch_counts(probability, grid)
    cells = cells_from_patches(values, grid)
    return np.where(n_classified > 0, cells, np.float32(np.nan)), n_classified


def _of_patches(
    offset: NDArray[np.float32], shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], BoolMask]:
    """Return mean of the cells under each patch, and where the level lies between them."""
    side = offset.shape[0] - shape[0] + 1
    total, count = np.zeros(shape), np.zeros(shape, np.int32)
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    for row in range(side):
        for col in range(side):
            part = offset[row : row + shape[0], col : col + shape[1]]
            total += np.nan_to_num(part)
            count += ~np.isnan(part)
            low, high = np.fmin(low, part), np.fmax(high, part)
    mean = np.divide(total, count, out=np.full(shape, np.inf), where=count > 0)
    return mean, (low < 0) & (high >= 0)


def _tent(values: NDArray[np.generic], step: int) -> NDArray[np.float64]:
    weights = step - np.abs(np.arange(1 - step, step, dtype=np.float64))
    rows = ndimage.correlate1d(values.astype(np.float64), weights, axis=0, mode="constant")
    total: NDArray[np.float64] = ndimage.correlate1d(rows, weights, axis=1, mode="constant")
    return total
