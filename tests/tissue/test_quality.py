from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.tissue import QualityFlag, patch_flags
from wsi_pipeline.tissue.quality import sharpness


@pytest.fixture
def tissue() -> RgbArray:
    """Eight patches of stroma sprinkled with nuclei of about 8 µm, as at 8 µm/px."""
    rng = np.random.default_rng(3)
    patches = np.full((8, 50, 50, 3), (222, 160, 196), dtype=np.int16)
    patches[rng.random((8, 50, 50)) < 0.25] = (110, 75, 155)
    noisy = patches + rng.integers(-6, 7, patches.shape)
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


def uniform(color: tuple[int, int, int]) -> RgbArray:
    noise = np.random.default_rng(4).integers(-3, 4, (1, 50, 50, 3))
    return np.asarray(np.clip(np.array(color) + noise, 0, 255), dtype=np.uint8)


def blur(patches: RgbArray, sigma_px: float) -> RgbArray:
    blurred = ndimage.gaussian_filter(patches.astype(float), (0, sigma_px, sigma_px, 0))
    return np.asarray(np.rint(blurred), dtype=np.uint8)


def test_sharp_tissue_has_no_flag(tissue: RgbArray) -> None:
    flags = patch_flags(tissue, 8.0)
    assert flags.dtype == np.uint8
    assert flags.tolist() == [0] * 8


@pytest.mark.parametrize("sigma_px", [1.5, 2.0, 4.0])
def test_a_gross_blur_is_out_of_focus(tissue: RgbArray, sigma_px: float) -> None:
    assert (patch_flags(blur(tissue, sigma_px), 8.0) == QualityFlag.OUT_OF_FOCUS).all()


def test_focus_is_not_judged_where_it_cannot_be(tissue: RgbArray) -> None:
    assert (patch_flags(blur(tissue, 2.0), 0.5) == 0).all()
    assert (patch_flags(blur(tissue, 2.0), 32.0) == 0).all()


def test_sharpness_does_not_depend_on_strength_of_stain(tissue: RgbArray) -> None:
    pale = (255 - (255 - tissue.astype(float)) * 0.4).astype(np.uint8)
    assert sharpness(pale) == pytest.approx(sharpness(tissue), rel=0.1)


@pytest.mark.parametrize(
    ("color", "flag"),
    [
        ((243, 243, 242), QualityFlag.BLANK),
        ((255, 255, 255), QualityFlag.BLANK),
        ((190, 190, 188), QualityFlag.BLANK),
        ((10, 10, 10), QualityFlag.SATURATED),
        ((30, 90, 60), QualityFlag.PEN),
        ((30, 50, 170), QualityFlag.PEN),
        ((215, 35, 40), QualityFlag.PEN),
        ((60, 30, 80), QualityFlag.FOLD),
    ],
    ids=["glass", "white", "grey", "black", "green pen", "blue pen", "red pen", "fold"],
)
def test_what_is_no_good_tissue_is_flagged(color: tuple[int, int, int], flag: QualityFlag) -> None:
    assert QualityFlag(int(patch_flags(uniform(color), 8.0)[0])) & flag


@pytest.mark.parametrize(
    "color", [(90, 60, 140), (200, 45, 60), (230, 120, 170)], ids=["nuclei", "blood", "eosin"]
)
def test_colors_of_tissue_are_neither_pen_nor_fold_nor_blank(color: tuple[int, int, int]) -> None:
    doubts = QualityFlag.PEN | QualityFlag.FOLD | QualityFlag.BLANK | QualityFlag.SATURATED
    assert not QualityFlag(int(patch_flags(uniform(color), 8.0)[0])) & doubts


def test_a_flag_belongs_to_its_patch_whatever_comes_with_it(tissue: RgbArray) -> None:
    mixed = np.concatenate([tissue] * 20 + [uniform((10, 10, 10))] + [tissue])
    flags = patch_flags(mixed, 8.0)
    assert np.flatnonzero(flags & QualityFlag.SATURATED).tolist() == [160]
    assert flags.tolist() == [int(patch_flags(patch[None], 8.0)[0]) for patch in mixed]


def test_no_patches_and_tiny_patches_are_fine() -> None:
    assert patch_flags(np.empty((0, 50, 50, 3), dtype=np.uint8), 8.0).shape == (0,)
    assert patch_flags(np.full((2, 1, 1, 3), 255, dtype=np.uint8), 8.0).tolist() == [8, 8]


def test_the_bits_of_the_map_are_fixed() -> None:
    assert {flag.name: flag.value for flag in QualityFlag} == {
        "OUT_OF_FOCUS": 1,
        "PEN": 2,
        "FOLD": 4,
        "BLANK": 8,
        "SATURATED": 16,
        "UNREADABLE": 32,
    }


@pytest.mark.parametrize("shape", [(50, 50, 3), (2, 50, 50), (2, 50, 50, 4)])
def test_a_wrong_shape_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"must be \(N, H, W, 3\)"):
        patch_flags(np.zeros(shape, dtype=np.uint8), 8.0)
