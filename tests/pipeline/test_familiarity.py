"""What the features of a slide do to its probabilities."""

import numpy as np

from wsi_pipeline.classifier import logit
from wsi_pipeline.classifier.familiarity import SlideFamiliarity
from wsi_pipeline.pipeline.familiarity import recalibrated

VALUES = np.array([[0.0, 0.2, np.nan], [0.5, 0.9, 1.0]], np.float32)


def test_logits_are_raised_by_what_was_lost_and_what_is_not_known_stays_so() -> None:
    found = recalibrated(VALUES, SlideFamiliarity(False, 0.5, (), 0.7))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(VALUES))
    middle = (VALUES > 0) & (VALUES < 1)
    np.testing.assert_allclose(logit(found[middle]), logit(VALUES[middle]) + 0.7, atol=1e-5)
    assert ((found >= 0) & (found <= 1) | np.isnan(found)).all()
    assert found.dtype == np.float32


def test_a_familiar_slide_and_one_that_cannot_be_judged_keep_every_byte() -> None:
    for known in (None, SlideFamiliarity(True, 1.4, ()), SlideFamiliarity(False, 0.4, ())):
        assert recalibrated(VALUES, known) is VALUES
