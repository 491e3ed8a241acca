"""Fixtures of the stain tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.stain.mixtures import PixelMaker, mix
from wsi_pipeline.geometry import RgbArray
from wsi_pipeline.stain import StainReference

SLIDES = Path(__file__).parents[2].parent / "shared" / "data" / "idc"


@pytest.fixture
def make_pixels() -> PixelMaker:
    return mix


@pytest.fixture(scope="session")
def reference() -> StainReference:
    return StainReference.fit(mix(), source="synthetic")


def read_crop(name: str, top: int, left: int) -> RgbArray:
    path = SLIDES / name
    if not path.is_file():
        pytest.skip("the real slides of ../shared/data are not here")
    imagecodecs = pytest.importorskip("imagecodecs")
    picture = imagecodecs.jpegxl_decode(path.read_bytes())
    return np.array(picture[top : top + 400, left : left + 400])


@pytest.fixture(scope="session")
def real_tissue() -> RgbArray:
    """Return 400 x 400 px of a real H&E slide, all tissue."""
    return read_crop("val/8867.mosaic.jxl", 800, 800)


@pytest.fixture(scope="session")
def other_tissue() -> RgbArray:
    """Return as much of another patient's slide."""
    return read_crop("val/9023.mosaic.jxl", 1400, 1400)
