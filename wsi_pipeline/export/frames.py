"""In which frame another program counts its pixels."""

from __future__ import annotations

import shapely

from wsi_pipeline.maps.map import ProbabilityMap


def viewer_offset_l0(map_: ProbabilityMap) -> tuple[int, int]:
    """Return what to subtract from level-0 x, y to get QuPath's pixels.

    Notes
    -----
    QuPath's OpenSlide reader crops to the scanned bounds wherever a file states all four of
    `openslide.bounds-x`, `-y`, `-width` and `-height` (MIRAX, Leica SCN, Ventana BIF and others),
    unless it is told `--no-crop`. Where a file states none, `bounds_l0` starts at (0, 0), so the
    offset of the scanned bounds is right for every format.
    """
    x, y, _, _ = map_.bounds_l0
    return (x, y)


def shifted(
    outline_l0: shapely.Polygon | shapely.MultiPolygon, offset_l0: tuple[int, int]
) -> shapely.Polygon | shapely.MultiPolygon:
    """Return the outline in a frame whose origin is at `offset_l0`, to a thousandth of a pixel."""
    return shapely.transform(outline_l0, lambda xy: (xy - offset_l0).round(3))
