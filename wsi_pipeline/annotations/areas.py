"""Areas as shapely knows them, from rings of points as files hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon

MOST_CROSSINGS: Final = 500
"""How often a line may cross itself; a hand crosses its own line a few times."""
_PIECES: Final = 16
CURVE_POINTS: Final = 16
"""Straight pieces a quarter of an ellipse or a control point of a curve: areas are right to two
thousandths."""


def only_areas(geometry: shapely.Geometry) -> Area:
    """Return the areas of a geometry, made valid; points and lines are dropped.

    Raises
    ------
    ValueError
        Where a line crosses itself so often that it cannot be somebody's outline: making it valid
        would take minutes.
    """
    valid = geometry if geometry.is_valid else _made_valid(geometry)
    parts = [part for part in polygons(valid) if part.area > 0]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def polygons(geometry: shapely.Geometry) -> Iterator[shapely.Polygon]:
    """Yield the polygons of a geometry, however deep they lie."""
    if isinstance(geometry, shapely.Polygon):
        yield geometry
    elif isinstance(geometry, shapely.MultiPolygon | shapely.GeometryCollection):
        for part in geometry.geoms:
            yield from polygons(part)


def polygon(points: NDArray[np.float64]) -> Area:
    """Return the area within a ring, shape (n, 2), closed or not.

    Raises
    ------
    ValueError
        Where it encloses nothing.
    """
    check_ring(points)
    return only_areas(shapely.Polygon(points))


def _made_valid(geometry: shapely.Geometry) -> shapely.Geometry:
    for part in polygons(geometry):
        for ring in (part.exterior, *part.interiors):
            _check_crossings(shapely.get_coordinates(ring))
    # By structure: what a line goes around twice stays inside, and the work is less.
    return shapely.make_valid(geometry, method="structure", keep_collapsed=False)


def _check_crossings(points: NDArray[np.float64]) -> None:
    """Refuse a closed line, shape (n, 2), by the crossings of some of its pieces.

    Those are the longest, which cross most, and as many spread over the line: all are too many to
    look at where somebody means harm.
    """
    lines = shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1))
    n = len(lines)
    longest = np.argsort(-shapely.length(lines))[:_PIECES]
    spread = np.linspace(0, n - 1, min(n, _PIECES)).astype(np.intp)
    for some in (longest, spread):
        _, found = shapely.STRtree(lines).query(lines[some], predicate="crosses")
        if len(found) * n / (2 * len(some)) > MOST_CROSSINGS and len(found) > MOST_CROSSINGS:
            raise ValueError(f"a line that crosses itself more than {MOST_CROSSINGS} times")


def check_ring(points: NDArray[np.float64]) -> None:
    """Refuse a ring, shape (n, 2), that encloses nothing.

    Raises
    ------
    ValueError
        Where a point is nowhere, or there are fewer than three.
    """
    if not np.isfinite(points).all():
        raise ValueError("a point without a place")
    if len(np.unique(points, axis=0)) < 3:
        raise ValueError("fewer than three points")


def box(points: NDArray[np.float64]) -> Area:
    """Return the rectangle around points, shape (n, 2)."""
    return only_areas(shapely.box(*points.min(axis=0), *points.max(axis=0)))


def ellipse(points: NDArray[np.float64]) -> Area:
    """Return the ellipse that fills the rectangle around points, shape (n, 2)."""
    near, far = points.min(axis=0), points.max(axis=0)
    circle = shapely.Point(0, 0).buffer(1, quad_segs=CURVE_POINTS)
    radius, center = (far - near) / 2, (far + near) / 2
    return only_areas(shapely.transform(circle, lambda xy: xy * radius + center))


def closed_curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a smooth closed curve through points, shape (n, 2)."""
    from scipy.interpolate import CubicSpline

    distinct = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    if len(distinct) < 3:
        return points
    ring = np.vstack([distinct, distinct[:1]])
    along = np.r_[0, np.linalg.norm(np.diff(ring, axis=0), axis=1).cumsum()]
    places = np.linspace(0, along[-1], len(distinct) * CURVE_POINTS, endpoint=False)
    curve: NDArray[np.float64] = CubicSpline(along, ring, bc_type="periodic")(places)
    return curve


def without_holes(areas: Sequence[Area], holes: Sequence[Area]) -> list[Area]:
    """Return each area less the holes drawn in it.

    An area that lies wholly within a hole is an island: that hole does not take it away.
    """
    if not holes:
        return list(areas)
    tree = shapely.STRtree(holes)
    return [_less(area, [holes[i] for i in tree.query(area, "intersects")]) for area in areas]


def _less(area: Area, holes: Sequence[Area]) -> Area:
    cut = [hole for hole in holes if not (hole.area > area.area and hole.covers(area))]
    return only_areas(area.difference(shapely.union_all(cut))) if cut else area
