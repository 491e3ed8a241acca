"""Strokes of a pen across patches, drawn as `scripts/studies/inks.py` draws them."""

from __future__ import annotations

import numpy as np
import pytest
from inks import ABSORBING, inked, painted

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.tissue import QualityFlag, patch_flags
from wsi_pipeline.tissue.ink import has_ink

N = 40


@pytest.fixture
def tissue() -> RgbArray:
    """Patches of stroma with nuclei of two or three pixels, as at 8 µm/px."""
    rng = np.random.default_rng(3)
    patches = np.full((N, 50, 50, 3), (222, 160, 196), dtype=np.int16)
    patches[rng.random((N, 50, 50)) < 0.2] = (110, 75, 155)
    noisy = patches + rng.integers(-6, 7, patches.shape)
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8)


@pytest.mark.parametrize("width_um", [16, 24, 60])
@pytest.mark.parametrize("color", ABSORBING)
def test_a_line_over_tissue_is_flagged_in_every_color(
    tissue: RgbArray, color: str, width_um: int
) -> None:
    for drawn in (inked(color, width_um, tissue), painted(color, width_um, tissue)):
        flags = patch_flags(drawn, 8.0)
        assert ((flags & QualityFlag.PEN) > 0).mean() >= 0.8


@pytest.mark.parametrize("color", ["blue", "black", "green", "violet"])
def test_a_broad_stroke_needs_no_shape_unless_it_is_red_as_blood(
    tissue: RgbArray, color: str
) -> None:
    for drawn in (inked(color, 300, tissue), painted(color, 300, tissue)):
        assert has_ink(drawn, 8.0).mean() >= 0.8


def test_tissue_without_ink_is_not_flagged(tissue: RgbArray) -> None:
    assert not has_ink(tissue, 8.0).any()


@pytest.mark.parametrize(
    "color",
    [(90, 60, 140), (70, 45, 115), (110, 95, 150), (150, 60, 110), (120, 55, 90)],
    ids=["hematoxylin", "dense hematoxylin", "bluish hematoxylin", "dense eosin", "a fold"],
)
def test_a_row_of_what_tissue_holds_is_no_line_of_ink(
    tissue: RgbArray, color: tuple[int, int, int]
) -> None:
    tissue[:, 20:24] = color
    assert not has_ink(tissue, 8.0).any()


def test_red_cells_are_no_ink_where_they_fill_a_patch(tissue: RgbArray) -> None:
    tissue[:, :, :] = (200, 45, 60)
    assert not has_ink(tissue, 8.0).any()


def test_black_dust_is_no_line(tissue: RgbArray) -> None:
    tissue[:, 20:28, 20:28] = (20, 20, 22)
    assert not has_ink(tissue, 8.0).any()


def test_strokes_are_found_at_other_scales(tissue: RgbArray) -> None:
    lines = tissue.copy()
    lines[:, :, 24:28] = (25, 45, 160)
    for um_px in (4.0, 8.0, 16.0):
        assert has_ink(lines, um_px).all()


def test_no_patches_have_no_ink(tissue: RgbArray) -> None:
    assert has_ink(tissue[:0], 8.0).shape == (0,)
