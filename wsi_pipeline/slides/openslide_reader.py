"""Slides through OpenSlide: the only module that knows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import openslide

from wsi_pipeline.errors import ReadError, SlideOpenError
from wsi_pipeline.geometry import Box, Mpp, RgbArray, Size
from wsi_pipeline.slides.background import on_background
from wsi_pipeline.slides.canvas import thumbnail_within
from wsi_pipeline.slides.color import plan_icc
from wsi_pipeline.slides.content_hash import sampled_sha256
from wsi_pipeline.slides.downsamples import corrected_downsamples
from wsi_pipeline.slides.focal_planes import unread_planes
from wsi_pipeline.slides.formats import TO_TIFF
from wsi_pipeline.slides.pyramid import Pyramid, SlideInfo, SlideReader
from wsi_pipeline.slides.resolution import Resolution, resolve, stated_resolution, with_ome
from wsi_pipeline.slides.scan_date import stated_scan_date
from wsi_pipeline.slides.tiff_contents import TiffContents
from wsi_pipeline.slides.tiff_tiles import TiffTiles, find_tiles
from wsi_pipeline.slides.unopened import is_unsupported, unopened

PIECE_PX: Final = 512
"""Side of the pieces that a box is read in, level px: a few tiles. Larger ones cost small boxes on
levels that need the lattice, smaller ones decode tiles twice."""

_DAMAGED_ADVICE: Final = "The file is damaged there: copy it again, or scan again"


def detected_vendor(path: Path) -> str | None:
    """Return which of its formats OpenSlide takes the file for, None for none."""
    vendor: str | None = openslide.OpenSlide.detect_format(str(path))
    return vendor


class OpenSlideReader(SlideReader):
    """Implements `SlideReader` over OpenSlide. Safe between threads.

    Parameters
    ----------
    path : Path
        The slide file.
    mpp, mpp_override, apply_icc
        As in `open_slide`.
    contents : TiffContents or None
        What the file holds, where it is a TIFF.

    Raises
    ------
    SlideOpenError
        Where OpenSlide cannot open it.

    Notes
    -----
    OpenSlide addresses level pixels in level 0, by an integer; where its downsample is no whole
    number it therefore shifts what it returns by up to half a level-0 px and interpolates. The
    shift depends on where a read starts. Levels of that kind are read in pieces that start on a
    fixed lattice, so that a pixel has one value whichever box it is read in. Starts are rounded,
    with OpenSlide's own figure: truncation would show the neighboring pixel.

    Tiles of a kind that `tiff_tiles` knows are decoded without OpenSlide, once one tile of the
    level has come out equal both ways. Then the pixels are the level's own, as OpenSlide shows them
    in a read from (0, 0): truer than its shifted ones on the levels just spoken of. Missing and
    damaged tiles stay OpenSlide's.

    An OpenSlide handle is dead after its first error. The reader then opens another one; the old
    one closes itself when the last thread that reads from it is done.
    """

    def __init__(
        self,
        path: Path,
        *,
        mpp: Mpp | None = None,
        mpp_override: Mpp | None = None,
        apply_icc: bool = False,
        contents: TiffContents | None = None,
    ) -> None:
        self._path = path
        self._lock = threading.Lock()
        handle = _open(path)
        self._handle: openslide.OpenSlide | None = handle
        properties = dict(handle.properties)
        self._pyramid = _pyramid(handle, properties)
        self._reported_downsamples: tuple[float, ...] = handle.level_downsamples
        self._tiles: dict[int, TiffTiles | None] = {}
        self._proving = threading.RLock()
        self._to_srgb, icc, icc_warnings = plan_icc(
            lambda: handle.color_profile, apply_icc=apply_icc
        )
        power = _number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))
        size = self._pyramid.size_l0
        ome = contents.chosen.mpp if contents else None
        resolution = resolve(
            with_ome(ome, stated_resolution(properties), size),
            size,
            objective_power=power,
            mpp=mpp,
            mpp_override=mpp_override,
        )
        warnings = resolution.warnings + icc_warnings
        unread = _unread(contents, properties)
        self._info = _info(path, properties, resolution, power, icc, unread, warnings)

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
        self._current_handle()
        size = self._pyramid.level_sizes[level]
        inside = box_level.intersection(Box(0, 0, size.width, size.height))
        pixels = np.empty((inside.height, inside.width, 3), np.uint8)
        tiles = self._proven_tiles(level)
        parts = (
            self._read_pieces(level, inside)
            if tiles is None
            else self._read_tiles(level, tiles, inside)
        )
        for part, part_pixels in parts:
            y, x = part.y - inside.y, part.x - inside.x
            pixels[y : y + part.height, x : x + part.width] = part_pixels
        return on_background(pixels, inside, box_level, self._info.background_rgb)

    def is_decoded_directly(self, level: int) -> bool:
        """Tell whether the good tiles of a level are decoded without OpenSlide."""
        return self._proven_tiles(level) is not None

    def thumbnail(self, max_side_px: int) -> RgbArray:
        """Return the scanned bounds as a picture, longest side at most `max_side_px`."""
        return thumbnail_within(self, max_side_px)

    def close(self) -> None:
        """Let go of the file; a later read raises `ValueError`."""
        with self._lock:
            self._handle = None
            self._tiles = {}

    def _proven_tiles(self, level: int) -> TiffTiles | None:
        """Return the tiles of a level where decoding them equals reading through OpenSlide."""
        if level not in self._tiles:
            with self._proving:
                if level not in self._tiles:
                    self._tiles[level] = self._prove(level)
        return self._tiles[level]

    def _prove(self, level: int) -> TiffTiles | None:
        if self._to_srgb is not None:
            return None
        tiles = find_tiles(self._path, self._info.vendor, self._pyramid.level_sizes[level])
        if tiles is None:
            return None
        # OpenSlide shows a shifted level as it is from its origin on only: the first tile may be
        # blank, so that the level with the busiest tile at hand, level 0, has to pass as well.
        is_shifted = not self._reported_downsamples[level].is_integer()
        if is_shifted and self._proven_tiles(0) is None:
            return None
        index = 0 if is_shifted else tiles.largest
        pixels, box = tiles.decode(index), tiles.box(index)
        try:
            same = pixels is not None and np.array_equal(pixels, self._read_piece(level, box))
        except ReadError:
            return None
        return tiles if same else None

    def _read_tiles(self, level: int, tiles: TiffTiles, box: Box) -> Iterator[tuple[Box, RgbArray]]:
        for index, part in tiles.parts(box):
            pixels = tiles.decode(index)
            if pixels is None:
                yield from self._read_pieces(level, part)
                continue
            tile = tiles.box(index)
            y, x = part.y - tile.y, part.x - tile.x
            yield part, pixels[y : y + part.height, x : x + part.width]

    def _read_pieces(self, level: int, box: Box) -> Iterator[tuple[Box, RgbArray]]:
        for piece in _pieces(box):
            yield piece, self._read_piece(level, piece)

    def _read_piece(self, level: int, piece: Box) -> RgbArray:
        """Read a piece from the lattice point before it, where its start would shift it."""
        downsample = self._reported_downsamples[level]
        dx = dy = 0
        if not downsample.is_integer():
            dx, dy = piece.x % PIECE_PX, piece.y % PIECE_PX
        location_l0 = (round((piece.x - dx) * downsample), round((piece.y - dy) * downsample))
        rgba = self._read_region(location_l0, level, piece, (dx + piece.width, dy + piece.height))
        return self._opaque(rgba[dy:, dx:])

    def _read_region(
        self, location_l0: tuple[int, int], level: int, piece: Box, size: tuple[int, int]
    ) -> RgbArray:
        handle = self._current_handle()
        try:
            return np.asarray(handle.read_region(location_l0, level, size))
        except openslide.OpenSlideError:
            pass
        # The error may be another thread's, latched by the handle that both read from: only a
        # handle of one's own tells.
        try:
            self._replace(handle)
            return np.asarray(_open(self._path).read_region(location_l0, level, size))
        except (openslide.OpenSlideError, SlideOpenError) as exc:
            raise ReadError(
                f"{self._path.name}: level {level} cannot be read at x {piece.x}, y {piece.y}, "
                f"{piece.width} x {piece.height} px ({exc})",
                TO_TIFF if is_unsupported(exc) else _DAMAGED_ADVICE,
            ) from exc

    def _opaque(self, rgba: RgbArray) -> RgbArray:
        """Return RGB, in sRGB where asked for, with transparent pixels on the background color."""
        rgb = _without_alpha(rgba)
        if self._to_srgb is not None:
            rgb = self._to_srgb(rgb)
        alpha = rgba[..., 3]
        if int(alpha.min()) == 255:
            return rgb
        background = np.array(self._info.background_rgb, np.uint32)
        weight = alpha[..., None].astype(np.uint32)
        mixed: RgbArray = ((rgb * weight + background * (255 - weight) + 127) // 255).astype(
            np.uint8
        )
        return mixed

    def _current_handle(self) -> openslide.OpenSlide:
        handle = self._handle
        if handle is None:
            raise ValueError(f"{self._path.name} is closed")
        return handle

    def _replace(self, dead: openslide.OpenSlide) -> None:
        with self._lock:
            if self._handle is dead:
                self._handle = _open(self._path)


def _without_alpha(rgba: RgbArray) -> RgbArray:
    rgb = np.empty((*rgba.shape[:2], 3), np.uint8)
    # a channel at a time: numpy copies triples of bytes five times slower
    for channel in range(3):
        rgb[..., channel] = rgba[..., channel]
    return rgb


def _open(path: Path) -> openslide.OpenSlide:
    try:
        return openslide.OpenSlide(str(path))
    except openslide.OpenSlideError as exc:
        raise unopened(path, exc) from exc


def _pieces(box: Box) -> Iterator[Box]:
    """Yield the parts of a box on the lattice of `PIECE_PX`."""
    if box.is_empty:
        return
    for row in range(box.y // PIECE_PX, (box.bottom - 1) // PIECE_PX + 1):
        for col in range(box.x // PIECE_PX, (box.right - 1) // PIECE_PX + 1):
            yield box.intersection(Box(col * PIECE_PX, row * PIECE_PX, PIECE_PX, PIECE_PX))


def _pyramid(handle: openslide.OpenSlide, properties: Mapping[str, str]) -> Pyramid:
    sizes = tuple(Size(width, height) for width, height in handle.level_dimensions)
    whole = Box(0, 0, sizes[0].width, sizes[0].height)
    stated = _stated_bounds(properties)
    bounds = whole.intersection(stated) if stated else whole
    has_bounds = stated is not None and not bounds.is_empty
    return Pyramid(sizes, corrected_downsamples(sizes), bounds if has_bounds else whole, has_bounds)


def _stated_bounds(properties: Mapping[str, str]) -> Box | None:
    try:
        x, y, width, height = (
            int(properties[f"openslide.bounds-{key}"]) for key in ("x", "y", "width", "height")
        )
        return Box(x, y, width, height)
    except (KeyError, ValueError):
        return None


def _info(
    path: Path,
    properties: Mapping[str, str],
    resolution: Resolution,
    objective_power: float | None,
    icc: str,
    unread: tuple[str, ...],
    warnings: tuple[str, ...],
) -> SlideInfo:
    return SlideInfo(
        path=path,
        vendor=properties.get(openslide.PROPERTY_NAME_VENDOR, "unknown"),
        n_bytes=path.stat().st_size,
        quickhash=properties.get(openslide.PROPERTY_NAME_QUICKHASH1) or sampled_sha256(path),
        mpp=resolution.mpp,
        mpp_source=resolution.source,
        objective_power=objective_power,
        background_rgb=_background(properties),
        icc=icc,
        warnings=unread + warnings,
        unread=unread,
        scan_date=stated_scan_date(properties),
    )


def _unread(contents: TiffContents | None, properties: Mapping[str, str]) -> tuple[str, ...]:
    """Return what OpenSlide leaves out of the file."""
    if contents is None:
        return unread_planes(properties)
    vendor = properties.get(openslide.PROPERTY_NAME_VENDOR)
    if vendor == "generic-tiff":
        return contents.unread
    # Aperio and Hamamatsu keep each focal plane as a page of its own beside level 0.
    return contents.unread_planes if vendor in ("aperio", "hamamatsu") else ()


def _background(properties: Mapping[str, str]) -> tuple[int, int, int]:
    value = properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
    try:
        red, green, blue = bytes.fromhex(value)
    except ValueError:
        return (255, 255, 255)
    return (red, green, blue)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
