"""What every classifier promises. Each implementation's test subclasses it: see `classifier`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from wsi_pipeline.classifier import ModelCard, PatchClassifier
from wsi_pipeline.geometry import RgbArray

TOLERANCE = 1e-6
N_PATCHES = 37
"""No multiple of any engine's batch."""


class PatchClassifierContract:
    """The result for a patch does not depend on its batch, order or neighbors."""

    @pytest.fixture
    def classifier(self) -> PatchClassifier:
        """Return the classifier; each implementation has its own."""
        raise NotImplementedError

    @pytest.fixture
    def patches(self, classifier: PatchClassifier) -> RgbArray:
        side = classifier.card.patch_size_px
        shape = (N_PATCHES, side, side, 3)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def test_it_says_what_it_is_and_where_it_runs(self, classifier: PatchClassifier) -> None:
        assert isinstance(classifier.card, ModelCard)
        assert classifier.device

    def test_probabilities_lie_in_0_to_1(
        self, classifier: PatchClassifier, patches: RgbArray
    ) -> None:
        found = classifier.predict(patches)
        assert found.dtype == np.float32
        assert found.shape == (N_PATCHES,)
        assert ((found >= 0) & (found <= 1)).all()

    def test_features_come_with_the_same_probabilities(
        self, classifier: PatchClassifier, patches: RgbArray
    ) -> None:
        found, features = classifier.predict_features(patches)
        np.testing.assert_array_equal(found, classifier.predict(patches))
        assert features is None or len(features) == N_PATCHES

    def test_no_patch_gives_no_result(self, classifier: PatchClassifier, patches: RgbArray) -> None:
        assert classifier.predict(patches[:0]).shape == (0,)

    def test_the_order_changes_nothing(
        self, classifier: PatchClassifier, patches: RgbArray
    ) -> None:
        whole, turned = classifier.predict(patches), classifier.predict(patches[::-1])
        np.testing.assert_allclose(turned[::-1], whole, atol=TOLERANCE)

    @pytest.mark.parametrize("n", [1, 16, 36])
    def test_what_comes_along_changes_nothing(
        self, classifier: PatchClassifier, patches: RgbArray, n: int
    ) -> None:
        whole = classifier.predict(patches)
        np.testing.assert_allclose(classifier.predict(patches[:n]), whole[:n], atol=TOLERANCE)

    def test_the_pixels_stay_as_they_are(
        self, classifier: PatchClassifier, patches: RgbArray
    ) -> None:
        before = patches.copy()
        classifier.predict(patches)
        np.testing.assert_array_equal(patches, before)

    def test_threads_may_share_it(self, classifier: PatchClassifier, patches: RgbArray) -> None:
        whole = classifier.predict(patches)
        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(classifier.predict, [patches] * 4):
                np.testing.assert_array_equal(found, whole)
