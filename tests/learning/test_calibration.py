import numpy as np
import pytest

from wsi_pipeline.classifier import logit, sigmoid
from wsi_pipeline.learning.reports import metrics
from wsi_pipeline.learning.training.calibration import fit_temperature


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_the_temperature_of_overconfident_logits_is_found(truth: float) -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, 40_000).astype(np.float32)
    labels = rng.random(len(honest)) < sigmoid(honest)
    stated = sigmoid(honest * np.float32(truth))
    temperature = fit_temperature(labels, stated)
    assert temperature == pytest.approx(truth, rel=0.05)
    calibrated = sigmoid(logit(stated) / np.float32(temperature))
    assert metrics.calibration_error(labels, calibrated) < 0.01
    assert metrics.auc(labels, calibrated) == pytest.approx(metrics.auc(labels, stated), abs=1e-4)


def test_perfect_predictions_keep_the_temperature_within_its_bounds() -> None:
    assert 0.19 < fit_temperature([0, 1], [0.0, 1.0]) < 0.25
