"""A slide that lies in memory: plain pictures, and known pictures in tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsi_pipeline.geometry import Box, Mpp, RgbArray, Size
from wsi_pipeline.slides.background import on_background
from wsi_pipeline.slides.canvas import thumbnail_within
from wsi_pipeline.slides.downsamples import corrected_downsamples
from wsi_pipeline.slides.pyramid import Pyramid, SlideInfo, SlideReader


class ArrayReader(SlideReader):
    """Implements `SlideReader` over uint8 arrays, one a level.

    Parameters
    ----------
    levels : sequence of ndarray of uint8, shape (H, W, 3)
        Finest first; not copied.
    mpp : Mpp or None
        Of level 0, µm/px.
    bounds_l0 : Box or None
        Scanned bounds; None for the whole of level 0.
    background_rgb : tuple of int
        Color of what lies outside.
    level_downsamples : sequence of (x, y) or None
        Where they are not to be derived from the sizes.
    info : SlideInfo or None
        Facts of the file that the pixels came from; goes before `mpp` and `background_rgb`.
    """

    def __init__(
        self,
        levels: Sequence[RgbArray],
        *,
        mpp: Mpp | None = None,
        bounds_l0: Box | None = None,
        background_rgb: tuple[int, int, int] = (255, 255, 255),
        level_downsamples: Sequence[tuple[float, float]] | None = None,
        info: SlideInfo | None = None,
    ) -> None:
        for level in levels:
            if level.dtype != np.uint8 or level.ndim != 3 or level.shape[2] != 3 or not level.size:
                raise ValueError(
                    f"a level must be uint8 (H, W, 3), received {level.dtype} {level.shape}"
                )
        sizes = tuple(Size(level.shape[1], level.shape[0]) for level in levels)
        whole = Box(0, 0, sizes[0].width, sizes[0].height)
        self._levels: tuple[RgbArray, ...] | None = tuple(levels)
        self._pyramid = Pyramid(
            sizes,
            tuple(level_downsamples) if level_downsamples else corrected_downsamples(sizes),
            whole.intersection(bounds_l0) if bounds_l0 else whole,
            has_bounds=bounds_l0 is not None,
        )
        self._info = info or _plain_info(mpp, background_rgb, sum(a.nbytes for a in levels))

    @property
    def info(self) -> SlideInfo:
        """Facts of the slide."""
        return self._info

    @property
    def pyramid(self) -> Pyramid:
        """Levels and bounds."""
        return self._pyramid

    def read_level(self, level: int, box_level: Box) -> RgbArray:
        """Return a copy of the pixels of a box of one level, background where there are none."""
        if self._levels is None:
            raise ValueError(f"{self._info.path.name} is closed")
        size = self._pyramid.level_sizes[level]
        inside = box_level.intersection(Box(0, 0, size.width, size.height))
        pixels = self._levels[level][inside.y : inside.bottom, inside.x : inside.right].copy()
        return on_background(pixels, inside, box_level, self._info.background_rgb)

    def thumbnail(self, max_side_px: int) -> RgbArray:
        """Return the scanned bounds as a picture, longest side at most `max_side_px`."""
        return thumbnail_within(self, max_side_px)

    def close(self) -> None:
        """Drop the pixels; a later read raises `ValueError`."""
        self._levels = None


def _plain_info(mpp: Mpp | None, background_rgb: tuple[int, int, int], n_bytes: int) -> SlideInfo:
    return SlideInfo(
        path=Path("array"),
        vendor="image",
        n_bytes=n_bytes,
        quickhash="",
        mpp=mpp,
        mpp_source="override" if mpp else "none",
        objective_power=None,
        background_rgb=background_rgb,
        icc="none",
    )
