from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.tissue import segment_tissue

UM_PX = (16.0, 16.0)
STROMA = (226, 168, 200)


def washed(rgb: RgbArray, density: float, sigma_px: float = 50.0) -> RgbArray:
    """A drop of eosin to the right of the section, fading out into glass."""
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    drop = density * np.exp(-((y - 100) ** 2 + (x - 190) ** 2) / (2 * sigma_px**2))
    od = drop[..., None] * (0.12, 1.0, 0.5)
    return np.rint(rgb * np.exp(-od)).astype(np.uint8)


@pytest.fixture
def section(glass: Any) -> RgbArray:
    """Textured tissue of 80 x 120 px at row 60, column 40."""
    rgb = glass.rgb
    texture = np.random.default_rng(1).integers(-25, 26, (80, 120, 1))
    rgb[60:140, 40:160] = np.clip(np.array(STROMA) + texture, 0, 255)
    return rgb


@pytest.mark.parametrize("density", [0.1, 0.2, 0.3])
def test_a_wash_of_eosin_on_the_glass_is_no_tissue(section: RgbArray, density: float) -> None:
    clean = segment_tissue(section, um_px=UM_PX)
    mask = segment_tissue(washed(section, density), um_px=UM_PX)
    assert mask.mask[62:138, 42:158].all()
    assert mask.area_mm2 == pytest.approx(clean.area_mm2, rel=0.1)


def test_pale_tissue_with_an_edge_is_kept_however_smooth(glass: Any) -> None:
    picture = glass.rgb
    picture[60:140, 40:160] = (232, 205, 222)
    mask = segment_tissue(picture, um_px=UM_PX)
    assert mask.mask[62:138, 42:158].all()


def test_a_deep_stain_is_kept_however_softly_it_ends(glass: Any) -> None:
    mask = segment_tissue(washed(glass.rgb, 1.5), um_px=UM_PX)
    assert mask.mask[90:110, 180:200].all()
