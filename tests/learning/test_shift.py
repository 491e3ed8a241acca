"""Changed copies of slides, and what is learnt from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsi_pipeline.classifier.familiarity import FamiliarityReference
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.learning.training.changed_copies import blurred, changed_copy, sharpened
from wsi_pipeline.learning.training.shift import Copies, Copy, fit_shift

REFERENCE = FamiliarityReference(
    np.zeros(4), 0.01 * np.eye(4), 9.5, np.quantile(np.arange(100.0), np.linspace(0, 1, 21))
)
LOST = 0.9


def _patches(n: int = 6) -> RgbArray:
    rng = np.random.default_rng(0)
    nuclei = gaussian_filter(rng.normal(0, 150, (n, 48, 48, 1)), (0, 2, 2, 0))
    base = np.array([190, 120, 170]) + nuclei
    return np.clip(base, 0, 255).astype(np.uint8)


def test_a_copy_is_another_picture_of_the_same_tissue() -> None:
    patches, kinds = _patches(), set[bytes]()
    for seed in range(12):
        copy = changed_copy(patches, np.random.default_rng(seed))
        assert copy.dtype == np.uint8
        assert copy.shape == patches.shape
        assert (copy != patches).any()
        brightness = [np.corrcoef(a.mean(-1).ravel(), b.mean(-1).ravel())[0, 1]
                      for a, b in zip(patches, copy, strict=True)]  # fmt: skip
        assert min(brightness) > 0.5
        kinds.add(copy.tobytes())
        np.testing.assert_array_equal(copy, changed_copy(patches, np.random.default_rng(seed)))
    assert len(kinds) == 12


def test_sharpening_is_what_blur_is_not() -> None:
    patches = _patches()

    def detail(picture: RgbArray) -> float:
        values = picture.astype(float)
        return float((values - gaussian_filter(values, (0, 1, 1, 0))).std())

    assert (
        detail(sharpened(1.0, patches))
        > 1.2 * detail(patches)
        > 1.4 * detail(blurred(1.0, patches))
    )


def test_all_patches_of_a_slide_are_changed_alike() -> None:
    one = np.repeat(_patches(1), 2, axis=0)
    for seed in range(8):
        copy = changed_copy(one, np.random.default_rng(seed))
        # a sheet of JPEG holds both: they may differ by a level where chroma is shared
        np.testing.assert_allclose(copy[0].astype(float), copy[1].astype(float), atol=2)


def _copy(slide: str, shift: NDArray[np.float64], side: str, rng: np.random.Generator) -> Copy:
    """A slide whose mean feature lies at `shift`; its logits fall by `LOST` for each unit."""
    labels = np.repeat([0, 1], 100 if side != "other" else (200, 0)).astype(np.int8)
    features = (shift + rng.normal(0, 1, (len(labels), 4))).astype(np.float32)
    known = REFERENCE.judge(features)
    assert known is not None
    far = max(0.0, float(np.log(1 / known.score)))
    logits = np.where(labels > 0, 1.5, -1.5) + rng.normal(0, 1, len(labels)) - LOST * far
    return Copy(slide, labels, logits.astype(np.float32), features, side)


@pytest.fixture
def copies() -> Copies:
    """Stain moves slides along the first feature; other tissue lies there too, more alike."""
    rng = np.random.default_rng(1)
    stain = np.eye(4)[0]
    found = [_copy(f"v{k}", stain * rng.uniform(0, 1.2), "validation", rng) for k in range(60)]
    found += [_copy(f"t{k}", stain * rng.uniform(0, 1.2), "training", rng) for k in range(30)]
    other = [_copy(f"o{k}", stain * rng.uniform(0.3, 1), "other", rng) for k in range(20)]
    found += [replace(copy, features=_spread(copy.features, 0.6)) for copy in other]
    return Copies(tuple(found))


def _spread(features: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    center = features.mean(0)
    return (center + factor * (features - center)).astype(np.float32)


def test_the_loss_with_distance_is_found_and_no_more_is_given_back_than_was_seen(
    copies: Copies,
) -> None:
    found = fit_shift(REFERENCE, copies, 0.0)
    assert found.slope == pytest.approx(LOST, abs=0.15)
    farthest = max(np.log(1 / REFERENCE.judge(c.features).score) for c in copies.on("validation"))  # type: ignore[union-attr]
    assert 0.6 * LOST * farthest < found.most <= 1.2 * LOST * farthest


def test_other_tissue_is_told_from_other_stain_however_much_tumor_there_is(copies: Copies) -> None:
    known = fit_shift(REFERENCE, copies, 0.0)
    judge = replace(REFERENCE, calibration=known).judge
    rng = np.random.default_rng(5)
    stained = judge(_copy("n", np.eye(4)[0] * 0.9, "validation", rng).features)
    organ = judge(_spread(_copy("n", np.eye(4)[0] * 0.9, "other", rng).features, 0.6))
    assert stained is not None
    assert organ is not None
    assert stained.logit_shift > 0.3
    assert organ.logit_shift == 0


def test_in_doubt_a_slide_is_breast(copies: Copies) -> None:
    """Half way between the two kinds the shares of either decide."""
    known = fit_shift(REFERENCE, copies, 0.0)
    rng = np.random.default_rng(6)
    between = [_copy(f"n{k}", 0.9 * np.eye(4)[0], "other", rng).features for k in range(20)]
    looks = [known.looks_other(_spread(features, np.sqrt(0.6))) for features in between]
    assert sum(looks) <= 4


def test_without_other_tissue_or_unfamiliar_copies_nothing_is_made_up(copies: Copies) -> None:
    alone = fit_shift(REFERENCE, Copies(tuple(copies.on("validation"))), 0.0)
    assert alone.other_spread.size == 0
    rng = np.random.default_rng(2)
    near = Copies(tuple(_copy(f"v{k}", np.zeros(4), "validation", rng) for k in range(8)))
    assert fit_shift(REFERENCE, near, 0.0).slope == 0
