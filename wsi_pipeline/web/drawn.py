"""Outlines drawn by hand: made valid in bounded work, and measured on the map.

How long a line takes to be made valid grows with how often it crosses itself, not with its
corners. The crossings are therefore counted first, and the count ends at its limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from wsi_pipeline.annotations.features import geometry_of
from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.web.answers import NewItem
from wsi_pipeline.web.errors import UnusableError

MOST_CROSSINGS: Final = 500
"""How often a line may cross or touch itself; a hand crosses its own line a few times."""
MOST_NEAR_PAIRS: Final = 1_000_000
"""Pairs of segments with overlapping boxes that are looked at; an outline by hand has thousands."""
_ROWS: Final = 64
"""Segments compared with all later ones at a time."""
_DRAW_AGAIN: Final = "Draw it again, around the area once"


def drawn_item(outline: Sequence[tuple[float, float]], map_: ProbabilityMap) -> NewItem:
    """Return the item of an outline drawn by hand, with area and figures from the map.

    Parameters
    ----------
    outline : sequence of (x, y)
        Corners, image px.
    map_ : ProbabilityMap
        Of the slide.

    Raises
    ------
    UnusableError
        Where the outline encloses nothing on the slide, or crosses itself too often.
    """
    _, _, width, height = map_.bounds_l0
    corners = np.asarray(outline, np.float64)
    check_crossings(corners)
    drawn = shapely.make_valid(shapely.Polygon(corners), method="structure", keep_collapsed=False)
    area = polygons_of(shapely.intersection(drawn, shapely.box(0, 0, width, height)))
    if area is None:
        raise UnusableError("the outline encloses nothing on the slide", "Draw it again")
    return {
        "kind": "drawn",
        "geometry": geometry_of(shapely.set_precision(area, 0.001)),
        "measurements": _measurements(area, map_),
    }


def check_crossings(corners: NDArray[np.float64]) -> None:
    """Refuse a closed line that crosses itself so often that it cannot be somebody's outline.

    Parameters
    ----------
    corners : ndarray of float64, shape (n, 2)

    Raises
    ------
    UnusableError
        After `MOST_CROSSINGS` crossings or `MOST_NEAR_PAIRS` pairs: the work is bounded.
    """
    corners = corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]
    starts, ends = corners, np.roll(corners, -1, axis=0)
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    n, crossings, looked_at = len(corners), 0, 0
    for first in range(0, n, _ROWS):
        rows = np.arange(first, min(first + _ROWS, n))
        near = _overlapping(low[rows], high[rows], low[first:], high[first:])
        one, other = np.nonzero(near)
        one, other = rows[one], other + first
        apart = (other > one + 1) & ((other + 1) % n != one)  # neighbors share a corner
        one, other = one[apart], other[apart]
        looked_at += len(one)
        crossings += n_crossing(starts[one], ends[one], starts[other], ends[other])
        if crossings > MOST_CROSSINGS or looked_at > MOST_NEAR_PAIRS:
            raise UnusableError(
                f"the outline crosses itself more than {MOST_CROSSINGS} times", _DRAW_AGAIN
            )


def polygons_of(shape: shapely.Geometry) -> shapely.Polygon | shapely.MultiPolygon | None:
    """Return the parts of a shape that have an area; None where none has."""
    # twice: `make_valid` may return a collection that holds a MultiPolygon
    flat = shapely.get_parts(shapely.get_parts(shape))
    parts = [part for part in flat if part.geom_type == "Polygon" and part.area > 0]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _overlapping(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    other_low: NDArray[np.float64],
    other_high: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return which boxes overlap which, shape (boxes, other boxes)."""
    overlap: NDArray[np.bool_] = (low[:, None, 0] <= other_high[None, :, 0]) & (
        other_low[None, :, 0] <= high[:, None, 0]
    )
    overlap &= low[:, None, 1] <= other_high[None, :, 1]
    overlap &= other_low[None, :, 1] <= high[:, None, 1]
    return overlap


def n_crossing(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]
) -> int:
    """Return how many of the pairs of segments a-b and c-d cross or touch."""
    across = _side(a, b, c) * _side(a, b, d) <= 0
    return int(np.count_nonzero(across & (_side(c, d, a) * _side(c, d, b) <= 0)))


def _side(
    a: NDArray[np.float64], b: NDArray[np.float64], point: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return on which side of a line a point lies: its sign; 0 on it."""
    along, away = b - a, point - a
    return np.sign(along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0])


def _measurements(outline: shapely.Geometry, map_: ProbabilityMap) -> dict[str, float]:
    """Return area, perimeter and, over the cells whose centers lie inside, the probability."""
    x_um, y_um = map_.mpp.x, map_.mpp.y
    in_um = shapely.transform(outline, lambda corners: corners * (x_um, y_um))
    rows, cols = map_.values.shape
    x = map_.origin_l0[0] - map_.bounds_l0[0] + (np.arange(cols) + 0.5) * map_.step_l0[0]
    y = map_.origin_l0[1] - map_.bounds_l0[1] + (np.arange(rows) + 0.5) * map_.step_l0[1]
    shapely.prepare(outline)
    inside = map_.values[shapely.contains_xy(outline, *np.meshgrid(x, y))]
    known = inside[~np.isnan(inside)].astype(np.float64)
    figures: dict[str, float] = {
        "Area mm^2": round(in_um.area / 1e6, 6),
        "Perimeter mm": round(in_um.length / 1e3, 6),
        "Patches": known.size,
    }
    if known.size:
        figures["Mean probability"] = round(float(known.mean()), 6)
        figures["Max probability"] = round(float(known.max()), 6)
    return figures
