"""Slides with one hot square at a known place, written as small files that OpenSlide reads.

Equal tiles are stored once and shared, so that a slide of 120,000 x 90,000 px takes two megabytes.
Colors are stored without loss.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from wsi_pipeline.geometry import Box, Size

GLASS = (243, 242, 243)
TISSUE = (226, 160, 190)
HOT = (96, 52, 128)
GARBAGE = b"\x00\xffnot a compressed tile" * 8
LEICA_NAMESPACE = "http://www.leica-microsystems.com/scn/2010/10/01"

SIZE_OF_RATIO_16_0009 = Size(17778, 4096)
"""A level 0 whose 4x and 16x levels OpenSlide reports as 4.0002x and 16.0009x."""

Interval = tuple[int, int]
TileKey = tuple[tuple[Interval, Interval], tuple[Interval, Interval]] | None
"""Rows and columns of a tile that are tissue, then those that are hot; None for a tile left out."""


@dataclass(frozen=True, slots=True)
class Phantom:
    """A slide whose every pixel is known."""

    path: Path
    size_l0: Size
    hot_box_l0: Box
    tissue_box_l0: Box
    bounds_l0: Box
    level_ratios: tuple[int, ...]
    """True level-0 px per px of each level, which a rounded level size may contradict."""
    mpp: float | None


def write_phantom(
    path: Path,
    *,
    size_l0: Size,
    hot_box_l0: Box,
    mpp: float | None,
    level_ratios: Sequence[int] = (1, 4, 16),
    tissue_box_l0: Box | None = None,
    bounds_l0: Box | None = None,
    missing_box_l0: Box | None = None,
    tile_px: int = 256,
) -> Phantom:
    """Write a pyramidal tiled TIFF, glass with a box of tissue and a hot box.

    Parameters
    ----------
    path : Path
        ``.tif``; with `bounds_l0` ``.scn``.
    size_l0 : Size
        Level 0 as OpenSlide shows it. The other levels are rounded down, as scanners do.
    hot_box_l0 : Box
        Drawn over the tissue.
    mpp : float or None
        Written as the resolution tags; None writes none. 352.8 is what 72 dpi means.
    level_ratios : sequence of int
        Level-0 px per px of each level.
    tissue_box_l0 : Box, optional
        Tissue; everywhere if absent.
    bounds_l0 : Box, optional
        The scanned part: makes a Leica SCN, whose bounds OpenSlide states. What lies outside is
        transparent.
    missing_box_l0 : Box, optional
        Tiles of every level that lie wholly in it are left out, which OpenSlide shows transparent.
    tile_px : int
        Side of a tile, a multiple of 16.
    """
    scanned = bounds_l0 or Box(0, 0, size_l0.width, size_l0.height)
    tissue = tissue_box_l0 or Box(0, 0, size_l0.width, size_l0.height)
    sources = []
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for number, ratio in enumerate(level_ratios):
            size = Size(max(scanned.width // ratio, 1), max(scanned.height // ratio, 1))
            keys = list(
                _tile_keys(size, ratio, tile_px, (scanned.x, scanned.y), tissue, hot_box_l0)
            )
            if missing_box_l0:
                keys = _leave_out(keys, size, ratio, tile_px, missing_box_l0)
            sources.append(_first_of_each(keys))
            tif.write(
                _blobs(keys, tile_px),
                shape=(size.height, size.width, 3),
                dtype=np.uint8,
                tile=(tile_px, tile_px),
                photometric="rgb",
                compression="zlib",
                subfiletype=int(number > 0),
                description=_description(size_l0, bounds_l0, mpp, level_ratios, number),
                metadata=None,
                software=False,
                **_resolution(mpp, ratio),
            )
    _share_tiles(path, sources)
    return Phantom(path, size_l0, hot_box_l0, tissue, scanned, tuple(level_ratios), mpp)


def corrupt_tile(path: Path, tile_index: int, *, level: int = 0) -> None:
    """Make one tile of a good file unreadable; the others stay as they were."""
    with path.open("ab") as file:
        place = file.tell()
        file.write(GARBAGE)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tags = tif.pages[level].tags
        for name, value in (("TileOffsets", place), ("TileByteCounts", len(GARBAGE))):
            values = list(tags[name].value)
            values[tile_index] = value
            tags[name].overwrite(values)


def truncate(path: Path, keep: float) -> None:
    """Cut a file off after a share of its bytes, as a broken copy leaves it."""
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * keep))


def level_box(box_l0: Box, ratio: int, origin_l0: tuple[int, int] = (0, 0)) -> Box:
    """Return the pixels of a level whose centers lie in a level-0 box."""
    left, right = (_first_center(x - origin_l0[0], ratio) for x in (box_l0.x, box_l0.right))
    top, bottom = (_first_center(y - origin_l0[1], ratio) for y in (box_l0.y, box_l0.bottom))
    return Box(left, top, right - left, bottom - top)


def _first_center(position_l0: int, ratio: int) -> int:
    """Return the first pixel whose center is at or past a position: ceil(x / ratio - 1/2)."""
    return -((ratio - 2 * position_l0) // (2 * ratio))


def _tile_keys(
    size: Size, ratio: int, tile_px: int, origin_l0: tuple[int, int], tissue: Box, hot: Box
) -> Iterator[TileKey]:
    """Yield what each tile of a level shows, row by row."""
    tissue, hot = (level_box(box, ratio, origin_l0) for box in (tissue, hot))
    rows, cols = (
        [_intervals(*sides, length, tile_px) for sides in both]
        for length, both in (
            (size.height, ((tissue.y, tissue.bottom), (hot.y, hot.bottom))),
            (size.width, ((tissue.x, tissue.right), (hot.x, hot.right))),
        )
    )
    for tissue_rows, hot_rows in zip(*rows, strict=True):
        for tissue_cols, hot_cols in zip(*cols, strict=True):
            yield (tissue_rows, tissue_cols), (hot_rows, hot_cols)


def _intervals(start: int, stop: int, length: int, tile_px: int) -> list[Interval]:
    """Return the part of each tile along one axis that lies in [start, stop), tile pixels."""
    clipped = (
        (max(start - tile, 0), min(stop - tile, tile_px)) for tile in range(0, length, tile_px)
    )
    return [(low, high) if low < high else (0, 0) for low, high in clipped]


def _leave_out(
    keys: list[TileKey], size: Size, ratio: int, tile_px: int, missing_l0: Box
) -> list[TileKey]:
    """Replace the keys of the tiles that lie wholly in the box by None."""
    missing = level_box(missing_l0, ratio)
    across = -(-size.width // tile_px)
    kept = list(keys)
    for index in range(len(kept)):
        tile = Box(index % across * tile_px, index // across * tile_px, tile_px, tile_px)
        if tile.intersection(missing) == tile:
            kept[index] = None
    return kept


def _first_of_each(keys: list[TileKey]) -> list[int | None]:
    """Return for each tile the index of the first that looks the same."""
    first: dict[TileKey, int] = {}
    return [None if key is None else first.setdefault(key, i) for i, key in enumerate(keys)]


def _blobs(keys: list[TileKey], tile_px: int) -> Iterator[bytes]:
    """Yield the compressed tiles; nothing for one that was there already or is left out."""
    seen: set[TileKey] = {None}
    for key in keys:
        yield b"" if key in seen or key is None else zlib.compress(_paint(key, tile_px))
        seen.add(key)


def _paint(key: tuple[tuple[Interval, Interval], ...], tile_px: int) -> bytes:
    tile = np.full((tile_px, tile_px, 3), GLASS, np.uint8)
    for (rows, cols), color in zip(key, (TISSUE, HOT), strict=True):
        tile[slice(*rows), slice(*cols)] = color
    return tile.tobytes()


def _share_tiles(path: Path, sources: list[list[int | None]]) -> None:
    """Let every tile point to the first one that looks the same."""
    with tifffile.TiffFile(path, mode="r+") as tif:
        for page, source in zip(tif.pages, sources, strict=True):
            for name in ("TileOffsets", "TileByteCounts"):
                values = page.tags[name].value
                page.tags[name].overwrite([0 if i is None else values[i] for i in source])


def _resolution(mpp: float | None, ratio: int) -> dict[str, object]:
    if mpp is None:
        return {}
    return {"resolution": (1e4 / (mpp * ratio),) * 2, "resolutionunit": "CENTIMETER"}


def _description(
    size_l0: Size,
    bounds_l0: Box | None,
    mpp: float | None,
    level_ratios: Sequence[int],
    number: int,
) -> str | None:
    """Return the XML with which a Leica SCN places its scan on the slide, lengths in nm."""
    if bounds_l0 is None or number > 0:
        return None
    nm = round(1000 * (mpp or 1.0))
    dimensions = "".join(
        f'<dimension r="{n}" ifd="{n}" sizeX="{bounds_l0.width // ratio}"'
        f' sizeY="{bounds_l0.height // ratio}"/>'
        for n, ratio in enumerate(level_ratios)
    )
    return (
        f'<?xml version="1.0"?><scn xmlns="{LEICA_NAMESPACE}">'
        f'<collection sizeX="{size_l0.width * nm}" sizeY="{size_l0.height * nm}"><image>'
        f"<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>"
        f"<illuminationSettings><illuminationSource>brightfield</illuminationSource>"
        f"</illuminationSettings></scanSettings><pixels>{dimensions}</pixels>"
        f'<view sizeX="{bounds_l0.width * nm}" sizeY="{bounds_l0.height * nm}"'
        f' offsetX="{bounds_l0.x * nm}" offsetY="{bounds_l0.y * nm}"/>'
        f"</image></collection></scn>"
    )
