"""Areas as shapely knows them, and an area as an annotation file holds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import shapely

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """One outline of an annotation file."""

    name: str
    kind: str
    """Its class: QuPath's class, Aperio's layer or ASAP's group; may be empty."""
    area: Area
    """Valid; in the pixels of the file."""


def only_areas(geometry: shapely.Geometry) -> Area:
    """Return the areas of a geometry, made valid; points and lines are dropped."""
    valid = geometry if geometry.is_valid else shapely.make_valid(geometry)
    parts = [part for part in polygons(valid) if part.area > 0]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def polygons(geometry: shapely.Geometry) -> Iterator[shapely.Polygon]:
    """Yield the polygons of a geometry, however deep they lie."""
    if isinstance(geometry, shapely.Polygon):
        yield geometry
    elif isinstance(geometry, shapely.MultiPolygon | shapely.GeometryCollection):
        for part in geometry.geoms:
            yield from polygons(part)
