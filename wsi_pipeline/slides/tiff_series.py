"""An image of a TIFF that is not its first: OpenSlide shows the first alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from wsi_pipeline.errors import ReadError
from wsi_pipeline.geometry import Box, Mpp, RgbArray, Size
from wsi_pipeline.slides.background import on_background
from wsi_pipeline.slides.canvas import thumbnail_within
from wsi_pipeline.slides.color import plan_icc, profile_from_bytes
from wsi_pipeline.slides.content_hash import sampled_sha256
from wsi_pipeline.slides.downsamples import corrected_downsamples
from wsi_pipeline.slides.picture import page_resolution
from wsi_pipeline.slides.pyramid import Pyramid, SlideInfo, SlideReader
from wsi_pipeline.slides.resolution import resolve, with_ome
from wsi_pipeline.slides.tiff_contents import TiffContents
from wsi_pipeline.slides.tiff_tiles import TiffTiles, tiles_of_page

_WHITE = (255, 255, 255)


class TiffSeriesReader(SlideReader):
    """Implements `SlideReader` over the pages of one image of a TIFF. Safe between threads.

    Parameters
    ----------
    path : Path
    levels : sequence of TiffTiles
        Finest first.
    info : SlideInfo
    """

    def __init__(self, path: Path, levels: dict[Size, TiffTiles], info: SlideInfo) -> None:
        self._path, self._info = path, info
        self._levels: tuple[TiffTiles, ...] | None = tuple(levels.values())
        sizes = tuple(levels)
        whole = Box(0, 0, sizes[0].width, sizes[0].height)
        self._pyramid = Pyramid(sizes, corrected_downsamples(sizes), whole, has_bounds=False)

    @property
    def info(self) -> SlideInfo:
        """Facts of the slide."""
        return self._info

    @property
    def pyramid(self) -> Pyramid:
        """Levels and bounds."""
        return self._pyramid

    def read_level(self, level: int, box_level: Box) -> RgbArray:
        """Return the pixels of a box of one level, uint8 (height, width, 3)."""
        if self._levels is None:
            raise ValueError(f"{self._path.name} is closed")
        size, tiles = self._pyramid.level_sizes[level], self._levels[level]
        inside = box_level.intersection(Box(0, 0, size.width, size.height))
        pixels = np.empty((inside.height, inside.width, 3), np.uint8)
        for index, part in tiles.parts(inside):
            y, x = part.y - inside.y, part.x - inside.x
            window = pixels[y : y + part.height, x : x + part.width]
            if tiles.is_missing(index):
                window[:] = self._info.background_rgb
                continue
            part_pixels = tiles.read(part)
            if part_pixels is None:
                raise ReadError(
                    f"{self._path.name}: level {level} cannot be read at x {part.x}, y {part.y}",
                    "The file is damaged there: copy it again, or export it again",
                )
            window[:] = part_pixels
        return on_background(pixels, inside, box_level, self._info.background_rgb)

    def thumbnail(self, max_side_px: int) -> RgbArray:
        """Return the whole image as a picture, longest side at most `max_side_px`."""
        return thumbnail_within(self, max_side_px)

    def close(self) -> None:
        """Let go of the file; a later read raises `ValueError`."""
        self._levels = None


def open_series(
    path: Path,
    contents: TiffContents,
    *,
    mpp: Mpp | None = None,
    mpp_override: Mpp | None = None,
) -> TiffSeriesReader | None:
    """Open the chosen image of a TIFF; None where its tiles are not of a kind known here.

    Raises
    ------
    ReadError
        Where a level is larger than its tiles.
    """
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[contents.chosen.page]
        levels: dict[Size, TiffTiles] = {}
        for one in (page, *(page.pages or ())):
            tiles = tiles_of_page(path, one)
            if tiles is not None:
                levels.setdefault(Size(one.imagewidth, one.imagelength), tiles)
        if contents.chosen.size not in levels:
            return None
        info = _info(path, page, contents, mpp, mpp_override)
    return TiffSeriesReader(path, levels, info)


def _info(
    path: Path, page: Any, contents: TiffContents, mpp: Mpp | None, mpp_override: Mpp | None
) -> SlideInfo:
    size = contents.chosen.size
    stated = with_ome(contents.chosen.mpp, page_resolution(page), size)
    resolution = resolve(stated, size, mpp=mpp, mpp_override=mpp_override)
    profile = page.tags.valueof("InterColorProfile")
    _, icc, _ = plan_icc(lambda: profile_from_bytes(profile), apply_icc=False)
    return SlideInfo(
        path=path,
        vendor="generic-tiff",
        n_bytes=path.stat().st_size,
        quickhash=sampled_sha256(path),
        mpp=resolution.mpp,
        mpp_source=resolution.source,
        objective_power=None,
        background_rgb=_WHITE,
        icc=icc,
        warnings=contents.unread + resolution.warnings,
        unread=contents.unread,
    )
