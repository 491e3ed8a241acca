"""Changed copies of slides, and what is learnt from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsi_pipeline.classifier import ContextRefinement, sigmoid
from wsi_pipeline.classifier.familiarity import FamiliarityReference, far_share
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.learning.training.changed_copies import (
    blurred,
    changed_copy,
    frozen,
    jpeg,
    sharpened,
)
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


def test_a_frozen_section_is_thicker_and_torn_open() -> None:
    patches = np.full((4, 48, 48, 3), (190, 120, 170), np.uint8)
    before = -np.log((patches + 1.0) / 256)
    thicker, torn = 0, 0
    for seed in range(12):
        density = -np.log((frozen(patches, np.random.default_rng(seed)) + 1.0) / 256) / before
        thicker += int(np.median(density) > 1.05)
        torn += int(0.01 < (density < 0.7 * np.median(density)).mean() < 0.25)
    assert thicker >= 9
    assert torn >= 6


def test_a_slide_of_more_patches_than_a_jpeg_has_rows_for_is_compressed_too() -> None:
    patches = np.tile(_patches(4), (300, 1, 1, 1))
    copy = jpeg(60, "4:2:0", patches)
    assert copy.shape == patches.shape
    np.testing.assert_array_equal(copy[:4], copy[-4:])


def test_all_patches_of_a_slide_are_changed_alike() -> None:
    one = np.repeat(_patches(1), 2, axis=0)
    for seed in range(8):
        copy = changed_copy(one, np.random.default_rng(seed))
        # clefts lie elsewhere in each, and of a sheet of JPEG that holds both, chroma is shared
        np.testing.assert_allclose(copy[0].mean((0, 1)), copy[1].mean((0, 1)), atol=4)


def _copy(
    slide: str,
    shift: NDArray[np.float64],
    side: str,
    rng: np.random.Generator,
    *,
    changed: bool = True,
) -> Copy:
    """A slide whose mean feature lies at `shift`; its patches lose up to `LOST` logits there."""
    labels = np.repeat([0, 1], 100 if side != "other" else (200, 0)).astype(np.int8)
    features = (shift + rng.normal(0, 1, (len(labels), 4))).astype(np.float32)
    known = REFERENCE.judge(features)
    assert known is not None
    logits = np.where(labels > 0, 1.5, -1.5) - LOST * far_share(known.score)
    logits += rng.normal(0, 1, len(labels))
    return Copy(slide, labels, logits.astype(np.float32), features, side, changed)


@pytest.fixture
def copies() -> Copies:
    """Stain moves slides along the first feature; other tissue lies there too, more alike."""
    rng = np.random.default_rng(1)
    stain = np.eye(4)[0]
    found = [
        _copy(f"v{k}", at * stain, "validation", rng, changed=at > 0)
        for k in range(60)
        for at in (0, rng.uniform(0, 1.2))
    ]
    found += [_copy(f"t{k}", stain * rng.uniform(0, 1.2), "training", rng) for k in range(30)]
    other = [_copy(f"o{k}", stain * rng.uniform(0.3, 1), "other", rng) for k in range(20)]
    found += [replace(copy, features=_spread(copy.features, 0.6)) for copy in other]
    return Copies(tuple(found))


def _spread(features: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    center = features.mean(0)
    return (center + factor * (features - center)).astype(np.float32)


def test_what_logits_lost_is_found(
    copies: Copies,
) -> None:
    assert fit_shift(REFERENCE, copies, 0.5).most == pytest.approx(LOST, abs=0.15)


def test_it_is_measured_at_the_threshold_of_the_model(copies: Copies) -> None:
    moved = tuple(replace(copy, logits=copy.logits + np.float32(0.7)) for copy in copies.entries)
    found = fit_shift(REFERENCE, Copies(moved), float(sigmoid(np.array(0.7))))
    assert found.most == pytest.approx(fit_shift(REFERENCE, copies, 0.5).most, abs=0.051)


def test_where_maps_lose_no_tumor_nothing_is_given_back(copies: Copies) -> None:
    rows = np.arange(200)
    cells = np.stack([rows // 20, rows % 20], 1).astype(np.int32)
    maps = Copies(tuple(replace(copy, cells=cells) for copy in copies.entries))
    lenient = ContextRefinement((1.0, 0.0, 0.0, 0.0, 0.0), 9.0, 0.5)
    assert fit_shift(REFERENCE, maps, 0.5, lenient).most == 0
    assert fit_shift(REFERENCE, copies, 0.5, lenient).most > 0.5 * LOST  # no map, no neighbors


def test_other_tissue_is_told_from_other_stain_however_much_tumor_there_is(copies: Copies) -> None:
    known = fit_shift(REFERENCE, copies, 0.5)
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
    known = fit_shift(REFERENCE, copies, 0.5)
    rng = np.random.default_rng(6)
    between = [_copy(f"n{k}", 0.9 * np.eye(4)[0], "other", rng).features for k in range(20)]
    looks = [known.looks_other(_spread(features, np.sqrt(0.6))) for features in between]
    assert sum(looks) <= 4


def test_without_other_tissue_or_unfamiliar_copies_nothing_is_made_up(copies: Copies) -> None:
    alone = fit_shift(REFERENCE, Copies(tuple(copies.on("validation"))), 0.5)
    assert alone.other_spread.size == 0
    rng = np.random.default_rng(2)
    near = Copies(tuple(_copy(f"v{k}", np.zeros(4), "validation", rng) for k in range(8)))
    assert fit_shift(REFERENCE, near, 0.5).most == 0
