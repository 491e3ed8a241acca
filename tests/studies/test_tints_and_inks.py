"""Other light and strokes of a pen, as the studies imitate them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from inks import STROKES, stroke_masks
from tints import TINTS, changed, dice

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.slides import open_slide


@pytest.fixture
def patches() -> RgbArray:
    return np.random.default_rng(0).integers(120, 250, (6, 50, 50, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", TINTS)
def test_a_tint_scales_the_light_of_each_channel(name: str, patches: RgbArray) -> None:
    after = TINTS[name](patches)
    assert after.shape == patches.shape
    assert after.dtype == np.uint8
    ratio = after.mean(axis=(0, 1, 2)) / patches.mean(axis=(0, 1, 2))
    assert ((ratio == 1) | (ratio < 0.98)).all()
    assert (ratio == 1).all() == (name == "as scanned")


@pytest.mark.parametrize("name", STROKES)
def test_a_stroke_darkens_a_line_and_nothing_else(name: str, patches: RgbArray) -> None:
    after = STROKES[name](patches)
    darker = (after < patches).any(axis=-1)
    assert after.shape == patches.shape
    assert (after.astype(int).sum() < patches.astype(int).sum()).all()
    width_px = float(name.split(", ")[1].split()[0]) / 8
    assert darker.mean() == pytest.approx(min(1.0, (width_px + 1) / 50), rel=0.6)


def test_a_stroke_crosses_every_patch() -> None:
    masks = stroke_masks(50, 50, 2.0, np.random.default_rng(0))
    assert (masks.sum(axis=(1, 2)) > 40).all()
    assert masks.max() == 1


def test_a_changed_slide_keeps_its_scale(tmp_path: Path, patches: RgbArray) -> None:
    slide, out = tmp_path / "slide.tif", tmp_path / "out"
    out.mkdir()
    rgb = np.full((300, 400, 3), 240, np.uint8)
    tifffile.imwrite(
        slide,
        rgb,
        tile=(256, 256),
        photometric="rgb",
        resolution=(1250, 1250),
        resolutionunit="CENTIMETER",
    )
    with open_slide(changed(slide, TINTS["dark 0.77"], out)) as opened:
        assert opened.info.mpp is not None
        assert opened.info.mpp.x == pytest.approx(8.0)
        assert opened.thumbnail(400).mean() == pytest.approx(185, abs=1)


def test_masks_overlap_by_dice() -> None:
    left, right = np.zeros((2, 4, 4), bool)
    left[:2], right[1:3] = True, True
    assert dice(left, right) == pytest.approx(0.5)
