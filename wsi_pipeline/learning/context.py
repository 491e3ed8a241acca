"""Fitting the refinement by neighbors on whole slides with truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from wsi_pipeline.classifier.context import ContextRefinement, ring_features
from wsi_pipeline.geometry import FloatArray

PENALTY: Final = 1e-3
"""L2 on the weights: the rings are strongly correlated."""


def fit_context(
    maps: Sequence[FloatArray], truths: Sequence[NDArray[np.uint8]]
) -> ContextRefinement:
    """Fit the weights at the least cross-entropy; each slide counts the same.

    Parameters
    ----------
    maps : sequence of ndarray of float32, shape (rows, cols)
        Probabilities of slides that the patch model was *not* trained on; NaN = not classified.
    truths : sequence of ndarray of uint8, shape (rows, cols)
        0 = no label, 1 = not IDC, 2 = IDC.

    Returns
    -------
    ContextRefinement
        With threshold 0.5: choose one on validation slides.
    """
    features, labels, weights = [], [], []
    for values, truth in zip(maps, truths, strict=True):
        use = (truth > 0) & ~np.isnan(values)
        features.append(ring_features(values)[use])
        labels.append(truth[use] == 2)
        weights.append(np.full(int(use.sum()), 1 / max(1, int(use.sum()))))
    x, y, w = np.concatenate(features), np.concatenate(labels), np.concatenate(weights)
    signs, w = np.where(y, 1.0, -1.0), w / w.sum()

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = signs * (x @ parameters[:-1] + parameters[-1])
        value = np.sum(w * np.logaddexp(0, -margins)) + PENALTY * np.sum(parameters[:-1] ** 2)
        slope = -w * signs / (1 + np.exp(margins))
        gradient = np.append(x.T @ slope + 2 * PENALTY * parameters[:-1], slope.sum())
        return float(value), gradient

    start = np.zeros(x.shape[1] + 1)
    start[0] = 1.0
    found = minimize(loss, start, jac=True, method="L-BFGS-B")
    return ContextRefinement(tuple(float(v) for v in found.x[:-1]), float(found.x[-1]), 0.5)
