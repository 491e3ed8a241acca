"""What the features of a slide do to its probabilities."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from wsi_pipeline.classifier import logit
from wsi_pipeline.classifier.familiarity import FamiliarityReference, SlideFamiliarity
from wsi_pipeline.pipeline.blocks import feature_layers
from wsi_pipeline.pipeline.familiarity import recalibrated, slide_familiarity, why_unknown

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


def test_glass_beside_cores_does_not_make_them_strange() -> None:
    lengths = np.linspace(0, 30, 21)
    reference = FamiliarityReference(np.zeros(4), 0.01 * np.eye(4), 9.5, lengths)
    card: Any = SimpleNamespace(familiarity=reference)
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (20, 20, 4)).astype(np.float32)
    tissue = np.ones((20, 20), np.float32)
    tissue[:, 5:] = 0.5
    features[:, 5:] += 3  # half glass looks like nothing in the archive
    layers: dict[str, Any] = {name: features[..., k] for k, name in enumerate(feature_layers(4))}
    plan: Any = SimpleNamespace(patch_tissue=tissue)
    found = slide_familiarity(card, plan, layers)
    assert found is not None
    assert found.familiar
    few: Any = SimpleNamespace(patch_tissue=np.full_like(tissue, 0.5))
    assert slide_familiarity(card, few, layers) is None  # it cannot be known
    tissue[:] = 0.5
    tissue[0, :3] = 1.0
    assert why_unknown(card, plan, layers) == "too few patches on tissue (3 of the 4 needed)"
    without: Any = SimpleNamespace(familiarity=None)
    assert why_unknown(without, plan, layers) == "the model's card does not say what is familiar"
    blind = {name: np.full_like(values, np.nan) for name, values in layers.items()}
    assert why_unknown(card, plan, blind) == "the network gave no features"
