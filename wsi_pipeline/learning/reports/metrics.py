"""Scores of a binary classifier. Labels: 1 = IDC. Probabilities: 0 to 1."""

from __future__ import annotations

from typing import Final, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Labels = NDArray[np.int8]
Probabilities = NDArray[np.float32]


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve (Mann-Whitney, ties halved); NaN with a single class."""
    y = np.asarray(labels) > 0
    n_positive, n_negative = int(y.sum()), int((~y).sum())
    if not n_positive or not n_negative:
        return float("nan")
    ranks = rankdata(np.asarray(scores))
    u = ranks[y].sum() - n_positive * (n_positive + 1) / 2
    return float(u / (n_positive * n_negative))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the precision-recall curve (steps); NaN without positives."""
    y, s = np.asarray(labels) > 0, np.asarray(scores)
    if not y.any():
        return float("nan")
    order = np.argsort(-s, kind="stable")
    y, s = y[order], s[order]
    last_of_tie = np.r_[np.flatnonzero(np.diff(s)), len(s) - 1]
    hits = np.cumsum(y)[last_of_tie]
    precision, recall = hits / (last_of_tie + 1), hits / y.sum()
    return float(np.sum(np.diff(np.r_[0.0, recall]) * precision))


def calibration_error(labels: ArrayLike, probabilities: ArrayLike, n_bins: int = 15) -> float:
    """Return the expected calibration error with bins of equal width (Guo et al. 2017)."""
    y, p = np.asarray(labels, float), np.asarray(probabilities, float)
    bins = np.minimum((p * n_bins).astype(int), n_bins - 1)
    gaps = np.abs(np.bincount(bins, p - y, n_bins))
    return float(gaps.sum() / len(y))


class CallScores(TypedDict):
    """Scores of calls, 0 to 1; NaN where undefined."""

    balanced_accuracy: float
    f1: float
    accuracy: float
    sensitivity: float
    specificity: float
    precision: float


def call_scores(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> CallScores:
    """Return the scores of the calls ``probability >= threshold``; NaN where undefined."""
    y, called = np.asarray(labels) > 0, np.asarray(probabilities) >= threshold
    tp, fp = int((y & called).sum()), int((~y & called).sum())
    fn, tn = int((y & ~called).sum()), int((~y & ~called).sum())
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    return {
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "accuracy": _ratio(tp + tn, len(y)),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": _ratio(tp, tp + fp),
    }


def all_scores(labels: ArrayLike, probabilities: ArrayLike, threshold: float) -> dict[str, float]:
    """Return every score of a report, see `SCORE_NAMES`."""
    calls = call_scores(labels, probabilities, threshold)
    return {
        "auc": auc(labels, probabilities),
        "average_precision": average_precision(labels, probabilities),
        "balanced_accuracy": calls["balanced_accuracy"],
        "f1": calls["f1"],
        "accuracy": calls["accuracy"],
        "sensitivity": calls["sensitivity"],
        "specificity": calls["specificity"],
        "precision": calls["precision"],
        "ece": calibration_error(labels, probabilities),
    }


SCORE_NAMES: Final = (
    "auc",
    "average_precision",
    "balanced_accuracy",
    "f1",
    "accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "ece",
)


def patient_bootstrap(
    labels: Labels,
    probabilities: Probabilities,
    patients: NDArray[np.str_],
    threshold: float,
    *,
    rng: np.random.Generator,
    n_draws: int = 500,
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of every score by drawing patients, not patches, with replacement."""
    names, index = np.unique(patients, return_inverse=True)
    members = [np.flatnonzero(index == i) for i in range(len(names))]
    draws = []
    for _ in range(n_draws):
        chosen = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
        draws.append(list(all_scores(labels[chosen], probabilities[chosen], threshold).values()))
    table = np.array(draws)
    defined = ~np.isnan(table).all(0)
    low, high = np.full(table.shape[1], np.nan), np.full(table.shape[1], np.nan)
    low[defined], high[defined] = np.nanpercentile(table[:, defined], [2.5, 97.5], axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(SCORE_NAMES, low, high, strict=True)}


def best_threshold(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the threshold with the largest sum of balanced accuracy and F1.

    Balanced accuracy alone takes a threshold so low that small false regions litter a slide, F1
    alone one that misses tumor; their sum gives up little of either. The threshold lies halfway
    between two neighboring probabilities, so rounding does not move a call.
    """
    thresholds, sensitivity, specificity = operating_points(labels, probabilities)
    prevalence = float(np.mean(np.asarray(labels) > 0))
    hits = sensitivity * prevalence
    false_alarms = (1 - specificity) * (1 - prevalence)
    f1 = 2 * hits / np.maximum(hits + false_alarms + prevalence, 1e-12)
    return float(thresholds[int(np.argmax((sensitivity + specificity) / 2 + f1))])


def threshold_of_sensitivity(labels: ArrayLike, probabilities: ArrayLike, wanted: float) -> float:
    """Return the highest threshold whose sensitivity is at least `wanted`."""
    thresholds, sensitivity, _ = operating_points(labels, probabilities)
    return float(thresholds[sensitivity >= wanted].max())


def operating_points(
    labels: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return thresholds (falling), and sensitivity and specificity at each."""
    y, p = np.asarray(labels) > 0, np.asarray(probabilities, float)
    order = np.argsort(-p, kind="stable")
    y, p = y[order], p[order]
    last = np.r_[np.flatnonzero(np.diff(p)), len(p) - 1]
    tp, fp = np.cumsum(y)[last], np.cumsum(~y)[last]
    below = np.r_[p[last[1:]], 0.0] if len(last) > 1 else np.array([0.0])
    thresholds = (p[last] + below) / 2
    return thresholds, tp / max(1, y.sum()), 1 - fp / max(1, (~y).sum())


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
