"""The tiles of a TIFF level, decoded without OpenSlide: much faster, pixel for pixel equal.

OpenSlide spends most of its time on composing what it decoded. Here a tile goes from the file to an
array in one step, and only *good* tiles do: whatever is missing, damaged or unusual is left to
OpenSlide, which stays the reference. The reader proves the equality on each file before it trusts
this path (`wsi_pipeline.slides.openslide_reader`).

JPEG needs a decoder that tells of damage. Most go on after it and return gray squares, which would
be classified like any others; simplejpeg refuses them. It is at least as strict as OpenSlide.
"""

from __future__ import annotations

import importlib
import math
import os
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

from wsi_pipeline.errors import ReadError
from wsi_pipeline.geometry import Box, RgbArray, Size
from wsi_pipeline.slides.codestreams import StreamSize, jpeg2000_size, jpeg_size
from wsi_pipeline.slides.tiff_bounds import MOST_TILE_BYTES

VENDORS: Final = frozenset({"aperio", "generic-tiff"})
"""Whose levels are TIFF pages as they stand. Others shift, crop or rotate theirs."""

_BY_TIFFFILE: Final = frozenset(
    {COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE}
    # of Aperio's two kinds of JPEG 2000 the one whose colors need no conversion
    | {COMPRESSION.APERIO_JP2000_RGB}
)
_STATED_SIZES: Final[dict[int, Callable[[bytes], StreamSize | None]]] = {
    COMPRESSION.JPEG: jpeg_size,
    COMPRESSION.APERIO_JP2000_RGB: jpeg2000_size,
}
_TOP_LEFT: Final = 1
_DECODER_ERRORS: Final = (ValueError, RuntimeError, OSError, EOFError, struct.error)

Decode = Callable[[bytes, int], RgbArray]
"""From a tile's bytes and its index to its pixels; raises one of `_DECODER_ERRORS`."""


class TiffTiles:
    """The tiles of one level. Safe between threads; the file closes with its last user."""

    def __init__(self, path: Path, page: tifffile.TiffPage, decode: Decode) -> None:
        self._file = _PositionedFile(path)
        self._decode = decode
        self._stated_size = _STATED_SIZES.get(page.compression)
        self._offsets: tuple[int, ...] = page.dataoffsets
        self._byte_counts: tuple[int, ...] = page.databytecounts
        self._size = Size(page.imagewidth, page.imagelength)
        self._tile = Size(page.tilewidth, page.tilelength)
        self._across = math.ceil(page.imagewidth / page.tilewidth)

    @property
    def largest(self) -> int:
        """Index of the tile with the most bytes: the one that shows most."""
        return int(np.argmax(self._byte_counts))

    def box(self, index: int) -> Box:
        """Return the level px of a tile."""
        row, col = divmod(index, self._across)
        tile = Box(
            col * self._tile.width, row * self._tile.height, self._tile.width, self._tile.height
        )
        return tile.intersection(Box(0, 0, self._size.width, self._size.height))

    def parts(self, box_level: Box) -> Iterator[tuple[int, Box]]:
        """Yield the tiles that a box touches, each with its part of the box in level px."""
        if box_level.is_empty:
            return
        width, height = self._tile.width, self._tile.height
        for row in range(box_level.y // height, (box_level.bottom - 1) // height + 1):
            for col in range(box_level.x // width, (box_level.right - 1) // width + 1):
                index = row * self._across + col
                yield index, box_level.intersection(self.box(index))

    def read(self, box_level: Box) -> RgbArray | None:
        """Return a box within the level, None where one of its tiles cannot be decoded."""
        out = np.empty((box_level.height, box_level.width, 3), np.uint8)
        for index, part in self.parts(box_level):
            pixels = self.decode(index)
            if pixels is None:
                return None
            tile, y, x = self.box(index), part.y - box_level.y, part.x - box_level.x
            top, left = part.y - tile.y, part.x - tile.x
            out[y : y + part.height, x : x + part.width] = pixels[
                top : top + part.height, left : left + part.width
            ]
        return out

    def is_missing(self, index: int) -> bool:
        """Tell whether the file never held a tile: it was not scanned."""
        return self._byte_counts[index] == 0

    def decode(self, index: int) -> RgbArray | None:
        """Return a tile, uint8 (height, width, 3) without what reaches past the level.

        None where the tile is missing or cannot be decoded without doubt.
        """
        offset, n_bytes = self._offsets[index], self._byte_counts[index]
        if not 0 < n_bytes <= MOST_TILE_BYTES:
            return None
        try:
            data = self._file.read(offset, n_bytes)
            if not self._states_its_size(data):
                return None
            pixels = self._decode(data, index)
        except _DECODER_ERRORS:
            return None
        if pixels.shape != (self._tile.height, self._tile.width, 3) or pixels.dtype != np.uint8:
            return None
        box = self.box(index)
        return pixels[: box.height, : box.width]

    def _states_its_size(self, data: bytes) -> bool:
        """Tell whether a compressed tile is as large as the file says: decoders believe the tile.

        Of other codecs the file says it; a decoder of those fills no more than a tile.
        """
        if self._stated_size is None:
            return True
        return self._stated_size(data) == (self._tile.width, self._tile.height)


def tiles_of_page(path: Path, page: tifffile.TiffPage) -> TiffTiles | None:
    """Return the tiles of a page, None where they are not of a kind known here.

    Raises
    ------
    ReadError
        Where the page is larger than its tiles.
    """
    if not page.is_tiled or not _is_plain(page):
        return None
    _check_size(page)
    decode = _decoder(page)
    return decode and TiffTiles(path, page, decode)


def find_tiles(path: Path, vendor: str, size: Size) -> TiffTiles | None:
    """Return the tiles of the level of a size, None where they are not of a kind known here.

    Parameters
    ----------
    path : Path
        The slide.
    vendor : str
        As OpenSlide calls it.
    size : Size
        Of the level as OpenSlide states it, px.

    Raises
    ------
    ReadError
        Where the level is larger than its tiles.
    """
    if vendor not in VENDORS:
        return None
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [
                page
                for page in tiff.pages
                if page.is_tiled
                and (page.imagewidth, page.imagelength) == (size.width, size.height)
            ]
            for page in pages:
                _check_size(page)
            # Two pages of one size: which one OpenSlide takes is its affair.
            return tiles_of_page(path, pages[0]) if len(pages) == 1 else None
    except (tifffile.TiffFileError, *_DECODER_ERRORS):
        return None


def _is_plain(page: tifffile.TiffPage) -> bool:
    """Tell whether the pixels are 8-bit RGB triples, upright and in one plane."""
    orientation = page.tags.valueof("Orientation", _TOP_LEFT)
    return (
        (page.bitspersample, page.samplesperpixel, page.sampleformat) == (8, 3, 1)
        and (page.planarconfig, page.fillorder, orientation) == (1, 1, _TOP_LEFT)
        and (page.imagedepth, page.tiledepth, len(page.extrasamples)) == (1, 1, 0)
    )


def _check_size(page: tifffile.TiffPage) -> None:
    """Refuse a level whose size is not that of its tiles: OpenSlide shows them at wrong places."""
    n_tiles = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
    n_listed = min(len(page.dataoffsets), len(page.databytecounts))
    if n_listed < n_tiles:
        raise ReadError(
            f"a level of {page.imagewidth} x {page.imagelength} px takes {n_tiles} tiles but the "
            f"file lists {n_listed}",
            "The file is damaged, or its stated size is wrong: export it again",
        )


def _decoder(page: tifffile.TiffPage) -> Decode | None:
    if page.compression == COMPRESSION.JPEG:
        return _jpeg_decoder(page.jpegtables, page.photometric)
    if page.compression in _BY_TIFFFILE and page.photometric == PHOTOMETRIC.RGB:
        decode = page.decode
        return lambda data, index: _only_plane(decode(data, index)[0])
    return None


def _only_plane(segment: Any) -> RgbArray:
    pixels: RgbArray = segment[0]
    return pixels


def _jpeg_decoder(tables: bytes | None, photometric: int) -> Decode | None:
    if photometric not in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR):
        return None
    # The file's tag says what the colors are, not the stream: Aperio stores RGB as JPEG. An Adobe
    # marker tells the decoder; the tables are kept once in the file, not in each tile.
    marker = _adobe_marker(is_ycbcr=photometric == PHOTOMETRIC.YCBCR)
    head = b"\xff\xd8" + marker + (tables[2:-2] if tables else b"")

    simplejpeg = importlib.import_module("simplejpeg")

    def decode(data: bytes, _: int) -> RgbArray:
        pixels: RgbArray = simplejpeg.decode_jpeg(
            head + data[2:], "RGB", fastdct=False, fastupsample=False, strict=True
        )
        return pixels

    return decode


def _adobe_marker(*, is_ycbcr: bool) -> bytes:
    """Return an APP14 segment (Adobe TN 5116): its last byte is the color transform."""
    return b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([is_ycbcr])


class _PositionedFile:
    """Reads at a place without moving a cursor that threads would share."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._close = os.close  # at the interpreter's exit the module is gone before its readers
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def read(self, offset: int, n_bytes: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, n_bytes, offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, n_bytes)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self._close(self._descriptor)
