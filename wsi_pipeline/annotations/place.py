"""Whether annotations lie where they should: on the slide, in its pixels, on its tissue.

A file drawn on another slide, in micrometers or on a smaller level is read without a hitch and
then says "no tumor here". What can be known of that is told, with the numbers met.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from wsi_pipeline.annotations.areas import Area
from wsi_pipeline.errors import StorageError

TOLD_SHARE: Final = 0.01
"""Share of the drawn area beyond the slide from which that is told."""
_FEW_ON_TISSUE: Final = 0.5
_MOST_ON_TISSUE: Final = 0.8
"""A place that another unit explains has fewer points on tissue than the one, in it more than the
other."""
_LEVELS: Final = (2, 4, 8, 16, 32)
_MOST_POINTS: Final = 5000


@dataclass(frozen=True, slots=True)
class Place:
    """Where annotations should lie."""

    bounds_l0: tuple[float, float, float, float]
    """Scanned bounds x, y, width, height."""
    mpp: tuple[float, float]
    """µm/px of level 0 along x and y."""
    is_tissue: Callable[[NDArray[np.float64]], NDArray[np.bool_]]
    """Whether there is tissue at level-0 points within the bounds, float64 (n, 2)."""

    @property
    def box_l0(self) -> shapely.Polygon:
        """The scanned bounds as an area."""
        x, y, width, height = self.bounds_l0
        return shapely.box(x, y, x + width, y + height)


def check_place(name: str, areas: Sequence[Area], place: Place) -> None:
    """Refuse a file of which nothing lies on the slide.

    Raises
    ------
    StorageError
        With where it lies and where the slide is.
    """
    if areas and not any(area.intersection(place.box_l0).area for area in areas):
        raise StorageError(
            f"all of {name} lies beside the slide ({_extents(areas, place)})",
            "Is it of another slide, or not in pixels of the full resolution?"
            + _guess(areas, place),
        )


def doubts_of_place(areas: Sequence[Area], place: Place) -> list[str]:
    """Return in words why annotations may not be where they should."""
    if not areas:
        return []
    whole = sum(area.area for area in areas)
    inside = sum(area.intersection(place.box_l0).area for area in areas)
    doubts = []
    if whole - inside > TOLD_SHARE * whole:
        beyond = 1 - inside / whole
        doubts.append(
            f"{beyond:.0%} of the drawn area lies beyond the slide ({_extents(areas, place)})"
        )
    guess = _guess(areas, place)
    if guess:
        doubts.append(guess.strip())
    return doubts


def _extents(areas: Sequence[Area], place: Place) -> str:
    left, top, right, bottom = shapely.total_bounds(np.array(areas, dtype=object))
    x, y, width, height = place.bounds_l0
    return (
        f"drawn: x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}; "
        f"slide: x {x:.0f} to {x + width:.0f}, y {y:.0f} to {y + height:.0f} px"
    )


def _guess(areas: Sequence[Area], place: Place) -> str:
    """Return which unit would put the annotations on tissue, where theirs does not."""
    points = _points(areas)
    as_read = _share_on_tissue(points, place)
    if as_read >= _FEW_ON_TISSUE:
        return ""
    origin = np.array(place.bounds_l0[:2])
    um = 1 / np.array(place.mpp)
    units = {"micrometers": um, "millimeters": um * 1000}
    units |= {f"pixels of a level {n} times smaller": np.full(2, float(n)) for n in _LEVELS}
    shares = {
        words: _share_on_tissue((points - origin) * factor + origin, place)
        for words, factor in units.items()
        if not np.allclose(factor, 1)
    }
    best = max(shares, key=lambda words: shares[words])
    if shares[best] <= _MOST_ON_TISSUE:
        return ""
    return (
        f" As read {as_read:.0%} of it lies on tissue; were it in {best}, {shares[best]:.0%} would"
    )


def _points(areas: Sequence[Area]) -> NDArray[np.float64]:
    """Return points all over the areas, float64 (n, 2)."""
    array = np.array(areas, dtype=object)
    corners = shapely.get_coordinates(array)
    middles = shapely.get_coordinates(shapely.point_on_surface(array))
    points: NDArray[np.float64] = np.vstack([middles, corners])
    return points[:: len(points) // _MOST_POINTS + 1]


def _share_on_tissue(points: NDArray[np.float64], place: Place) -> float:
    x, y, width, height = place.bounds_l0
    on_slide = ((points >= (x, y)) & (points < (x + width, y + height))).all(axis=1)
    if not on_slide.any():
        return 0.0
    return float(place.is_tissue(points[on_slide]).sum() / len(points))
