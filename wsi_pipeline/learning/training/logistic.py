"""Logistic regression where rows count differently."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit


def of_either_label(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return weights of rows, sum 1: of the labels that occur, each counts the same."""
    counts = np.bincount(labels, minlength=2)
    return 1.0 / (np.count_nonzero(counts) * counts[labels.astype(np.intp)])


def fit_weighted(
    x: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    row_weights: NDArray[np.float64],
    penalty: float,
    start: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Minimize the weighted cross-entropy, plus `penalty` times the squared weights.

    Parameters
    ----------
    x : ndarray of float64, shape (rows, n)
    is_positive : ndarray of bool, shape (rows,)
    row_weights : ndarray of float64, shape (rows,)
        Sum 1.
    penalty : float
        L2; the bias goes free.
    start : ndarray of float64, shape (n + 1,), optional
        Weights and bias to begin at; default: 0.

    Returns
    -------
    weights : ndarray of float64, shape (n,)
    bias : float
    """
    signs = np.where(is_positive, 1.0, -1.0)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = signs * (x @ parameters[:-1] + parameters[-1])
        value = np.sum(row_weights * np.logaddexp(0, -margins))
        slope = -row_weights * signs * expit(-margins)
        gradient = np.append(x.T @ slope + 2 * penalty * parameters[:-1], slope.sum())
        return float(value + penalty * np.sum(parameters[:-1] ** 2)), gradient

    begin = np.zeros(x.shape[1] + 1) if start is None else start
    found = minimize(loss, begin, jac=True, method="L-BFGS-B").x
    return found[:-1], float(found[-1])
