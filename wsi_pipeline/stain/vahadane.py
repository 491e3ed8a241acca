"""Stain vectors after Vahadane et al. 2016: sparse non-negative matrix factorization."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import StainError
from wsi_pipeline.stain.optical_density import StainedPixels
from wsi_pipeline.stain.vectors import StainVectors, order_he, robust_maximum, sparse_amounts

DICTIONARY_SPARSITY = 0.1
"""Price of stain while the vectors are learned, as published."""
AMOUNT_SPARSITY = 0.01
"""Price of stain when amounts are read off: the learned vectors need no further push."""
MAX_ROUNDS = 500
_TOLERANCE = 1e-6
_MAX_SAMPLES = 50_000
# Ruifrok & Johnston 2001: a neutral start, so that the fit needs no random numbers.
_START = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


def fit_vahadane(pixels: StainedPixels) -> StainVectors:
    """Learn the two stain vectors as a sparse non-negative dictionary of the densities.

    Raises
    ------
    StainError
        Where the pixels show one stain or none.

    Notes
    -----
    Alternates exact non-negative sparse codes (`sparse_amounts`) with the block coordinate update
    of Mairal et al. 2010, the algorithm behind SPAMS and scikit-learn; two stains make each step
    closed-form.

    References
    ----------
    A. Vahadane et al., "Structure-preserving color normalization and sparse stain separation for
    histological images", IEEE TMI 35 (2016) 1962-1971.
    J. Mairal et al., "Online learning for matrix factorization and sparse coding", JMLR 11 (2010).
    """
    every = -(-len(pixels.od) // _MAX_SAMPLES)
    matrix = order_he(_learn_dictionary(pixels.od[::every]))
    amounts = sparse_amounts(pixels.od, matrix, AMOUNT_SPARSITY)
    return StainVectors.from_arrays(matrix, robust_maximum(amounts))


def _learn_dictionary(od: NDArray[np.float64]) -> NDArray[np.float64]:
    dictionary = _START / np.linalg.norm(_START, axis=1, keepdims=True)
    for _ in range(MAX_ROUNDS):
        amounts = sparse_amounts(od, dictionary, DICTIONARY_SPARSITY)
        updated = _update(dictionary, amounts.T @ amounts, amounts.T @ od)
        if np.abs(updated - dictionary).max() < _TOLERANCE:
            break
        dictionary = updated
    return np.asarray(dictionary, dtype=np.float64)


def _update(
    dictionary: NDArray[np.float64], gram: NDArray[np.float64], match: NDArray[np.float64]
) -> NDArray[np.float64]:
    updated = dictionary.copy()
    for stain in range(2):
        if gram[stain, stain] <= 0:
            raise StainError(
                "no pixel holds one of the two stains", "Choose Reinhard or no normalization"
            )
        step = (match[stain] - gram[stain] @ updated) / gram[stain, stain]
        vector = np.maximum(updated[stain] + step, 0.0)
        updated[stain] = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return updated
