"""Calibration and operating points, on validation patients only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from wsi_pipeline.classifier import logit


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the temperature that divides the logits at the least cross-entropy.

    Parameters
    ----------
    labels : array_like, shape (N,)
        1 = IDC.
    probabilities : array_like, shape (N,)
        Of the uncalibrated model.

    Returns
    -------
    float
        0.2 to 5. It moves no call at the matching threshold and leaves the AUC as it is.

    References
    ----------
    Guo et al., "On calibration of modern neural networks", ICML 2017.
    """
    y = np.asarray(labels) > 0
    logits = logit(np.asarray(probabilities, np.float32)).astype(np.float64)
    signed = np.where(y, logits, -logits)

    def cross_entropy(log_temperature: float) -> float:
        return float(np.mean(np.logaddexp(0.0, -signed / np.exp(log_temperature))))

    found = minimize_scalar(cross_entropy, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(np.exp(found.x))
