import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsi_pipeline.learning.reports import metrics

LABELS = [0, 0, 1, 1, 0, 1]
SCORES = [0.1, 0.4, 0.35, 0.8, 0.4, 0.4]


def test_auc_counts_ordered_pairs_and_halves_ties() -> None:
    # Pairs (IDC, other) in order: 0.35 beats 1 of 3, 0.8 beats 3, 0.4 beats 1 and ties with 2.
    assert metrics.auc(LABELS, SCORES) == pytest.approx((1 + 3 + 2) / 9)


def test_auc_of_a_single_class_is_no_number() -> None:
    assert math.isnan(metrics.auc([1, 1], [0.2, 0.9]))


def test_average_precision_takes_tied_scores_in_one_step() -> None:
    # 0.8: 1 of 1; 0.4 (three tied): 2 of 4; 0.35: 3 of 5.
    expected = (1 / 3) * 1 + (1 / 3) * (2 / 4) + (1 / 3) * (3 / 5)
    assert metrics.average_precision(LABELS, SCORES) == pytest.approx(expected)


def test_scores_of_the_calls_by_hand() -> None:
    scores = metrics.call_scores([1, 1, 1, 0, 0, 0, 0, 0], [0.9, 0.5, 0.1, 0.5, 0, 0, 0, 0], 0.5)
    assert scores == pytest.approx(
        {
            "balanced_accuracy": (2 / 3 + 4 / 5) / 2,
            "f1": 4 / 6,
            "accuracy": 6 / 8,
            "sensitivity": 2 / 3,
            "specificity": 4 / 5,
            "precision": 2 / 3,
        }
    )


def test_a_score_without_its_class_is_no_number_and_not_zero() -> None:
    scores = metrics.call_scores([0, 0], [0.1, 0.2], 0.5)
    assert math.isnan(scores["sensitivity"])
    assert math.isnan(scores["precision"])
    assert scores["specificity"] == 1


def test_calibration_error_of_two_bins_by_hand() -> None:
    # Bin 0.2: mean 0.2, 1 of 4 IDC; bin 0.9: mean 0.9, 1 of 2 IDC.
    probabilities = [0.2] * 4 + [0.9] * 2
    labels = [1, 0, 0, 0, 1, 0]
    expected = (4 * abs(0.2 - 0.25) + 2 * abs(0.9 - 0.5)) / 6
    assert metrics.calibration_error(labels, probabilities) == pytest.approx(expected)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_ranking_scores_agree_with_scikit_learn(seed: int) -> None:
    reference = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, 60)]
    scores = np.round(rng.random(62), rng.integers(1, 4))
    called = scores >= 0.5
    assert metrics.auc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores))
    assert metrics.average_precision(labels, scores) == pytest.approx(
        reference.average_precision_score(labels, scores)
    )
    calls = metrics.call_scores(labels, scores, 0.5)
    assert calls["balanced_accuracy"] == pytest.approx(
        reference.balanced_accuracy_score(labels, called)
    )
    assert calls["f1"] == pytest.approx(reference.f1_score(labels, called))


def test_best_threshold_lies_between_the_classes() -> None:
    assert metrics.best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9]) == pytest.approx(0.4)


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_no_threshold_beats_the_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.r_[0, 1, rng.integers(0, 2, 30)]
    scores = np.round(rng.random(32), 2)
    best = metrics.best_threshold(labels, scores)

    def score(threshold: float) -> float:
        calls = metrics.call_scores(labels, scores, threshold)
        return calls["balanced_accuracy"] + calls["f1"]

    assert score(best) >= max(map(score, scores)) - 1e-12


def test_threshold_of_sensitivity_is_the_highest_that_suffices() -> None:
    labels = [1] * 20 + [0] * 5
    scores = np.r_[np.linspace(0.05, 1, 20), np.zeros(5)]
    threshold = metrics.threshold_of_sensitivity(labels, scores, 0.95)
    assert metrics.call_scores(labels, scores, threshold)["sensitivity"] == pytest.approx(0.95)
    higher = metrics.call_scores(labels, scores, threshold + 0.06)
    assert higher["sensitivity"] < 0.95


def test_intervals_come_from_drawing_patients_not_patches() -> None:
    """Two patients, one all right, one all wrong: only whole patients make so wide an interval."""
    labels = np.tile([0, 1], 200).astype(np.int8)
    patients = np.repeat(["right", "wrong"], 200)
    p = np.where(patients == "right", labels, 1 - labels).astype(np.float32)
    intervals = metrics.patient_bootstrap(
        labels, p, patients, 0.5, rng=np.random.default_rng(0), n_draws=100
    )
    assert intervals["accuracy"] == (0.0, 1.0)
    assert set(intervals) == set(metrics.SCORE_NAMES)


def test_the_interval_of_an_undefined_score_is_no_number() -> None:
    labels = np.zeros(10, np.int8)
    intervals = metrics.patient_bootstrap(
        labels,
        np.linspace(0, 1, 10, dtype=np.float32),
        np.repeat(["a", "b"], 5),
        0.5,
        rng=np.random.default_rng(0),
        n_draws=20,
    )
    assert all(math.isnan(value) for value in intervals["auc"])
    assert not math.isnan(intervals["specificity"][0])
