"""Stain vectors after Macenko et al. 2009."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.stain.inliers import explained_by_two_stains
from wsi_pipeline.stain.optical_density import StainedPixels
from wsi_pipeline.stain.vectors import (
    StainVectors,
    least_squares_amounts,
    order_he,
    robust_maximum,
)

ANGLE_PERCENTILE = 1.0
"""The extreme angles are the 1st and 99th percentile: robust against stray colors."""


def fit_macenko(pixels: StainedPixels) -> StainVectors:
    """Estimate the two stain vectors from the extreme directions of the density cloud.

    Raises
    ------
    StainError
        Where the pixels show one stain or none.

    Notes
    -----
    Angles are taken from the mean direction, so that they never wrap whatever the signs of the
    eigenvectors. Pixels that two stains do not explain have no say, and an extreme angle lies at
    most as far from the 5th or 95th percentile as that from the quartile: what is left of ink, at
    the far end of one stain, is a tail that no mixture of two stains has.

    References
    ----------
    M. Macenko et al., "A method for normalizing histology slides for quantitative analysis",
    IEEE ISBI 2009, 1107-1110.
    """
    od = pixels.od[explained_by_two_stains(pixels.od)]
    plane = _principal_plane(od)
    flat = od @ plane
    mean_direction = np.arctan2(*flat.mean(axis=0)[::-1])
    turn = np.arctan2(flat[:, 1], flat[:, 0]) - mean_direction
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    limits = np.array(_extremes(turn)) + mean_direction
    matrix = order_he(np.stack([np.cos(limits), np.sin(limits)], axis=1) @ plane.T)
    amounts = least_squares_amounts(od, matrix)
    return StainVectors.from_arrays(matrix, robust_maximum(amounts))


def _extremes(turn: NDArray[np.float64]) -> tuple[float, float]:
    """Return the lowest and the highest angle that are a stain's, radians."""
    at = [ANGLE_PERCENTILE, 5, 25, 75, 95, 100 - ANGLE_PERCENTILE]
    lowest, low, quarter, three_quarters, high, highest = np.percentile(turn, at).tolist()
    return max(lowest, 2 * low - quarter), min(highest, 2 * high - three_quarters)


def _principal_plane(od: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the two leading eigenvectors of the density's covariance, shape (3, 2)."""
    _, vectors = np.linalg.eigh(np.cov(od, rowvar=False))
    return np.asarray(vectors[:, [2, 1]], dtype=np.float64)
