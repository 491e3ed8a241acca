"""Painted thumbnails: what each thing on a slide looks like at 16 µm/px."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsi_pipeline.geometry import RgbArray

GLASS = (243, 243, 242)
STROMA = (226, 168, 200)
PALE = (238, 224, 233)
UM_PX = (16.0, 16.0)


class Thumbnail:
    """A picture of glass with a little sensor noise, to paint on. 200 x 300 px at 16 µm/px."""

    def __init__(self, glass: tuple[int, int, int] = GLASS) -> None:
        noise = np.random.default_rng(0).integers(-2, 3, (200, 300, 1))
        self._rgb = np.array(glass)[None, None] + noise

    @property
    def rgb(self) -> RgbArray:
        return np.clip(self._rgb, 0, 255).astype(np.uint8)

    def paint(self, rows: slice, cols: slice, color: tuple[int, int, int]) -> Thumbnail:
        noise = np.random.default_rng(1).integers(-4, 5, (*self._rgb[rows, cols].shape[:2], 1))
        self._rgb[rows, cols] = np.array(color)[None, None] + noise
        return self

    def lace(self, rows: slice, cols: slice, color: tuple[int, int, int]) -> Thumbnail:
        """Fat: membranes one pixel wide around cells of 80 µm."""
        area = self._rgb[rows, cols]
        area[:] = 248
        area[::5] = color
        area[:, ::5] = color
        return self


@pytest.fixture
def glass() -> Thumbnail:
    return Thumbnail()


@pytest.fixture
def specimen() -> Thumbnail:
    """Glass with a block of stroma of 80 x 120 px at row 60, column 40."""
    return Thumbnail().paint(slice(60, 140), slice(40, 160), STROMA)


@pytest.fixture
def data_dir() -> Path:
    path = Path(__file__).parents[2].parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real slides of ../shared/data are not here")
    return path
