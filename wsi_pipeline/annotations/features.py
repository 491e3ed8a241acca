"""GeoJSON as this program writes it and QuPath reads it: the types of its parts."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

import shapely


class Geometry(TypedDict):
    """An outline."""

    type: str
    coordinates: Any
    """Nested as deep as the type asks for."""


class Classification(TypedDict):
    """A class of QuPath."""

    name: str
    color: list[int]


class Properties(TypedDict):
    """What QuPath shows of an object."""

    objectType: Literal["annotation", "tile"]
    name: NotRequired[str]
    classification: NotRequired[Classification]
    isLocked: NotRequired[bool]
    measurements: NotRequired[dict[str, float]]
    metadata: NotRequired[dict[str, str]]


class Feature(TypedDict):
    """An object of QuPath."""

    type: Literal["Feature"]
    id: str
    geometry: Geometry
    properties: Properties


class FeatureCollection(TypedDict):
    """What a file holds."""

    type: Literal["FeatureCollection"]
    features: list[Feature]


def geometry_of(outline: shapely.Geometry) -> Geometry:
    """Return an outline as GeoJSON."""
    found: Geometry = shapely.geometry.mapping(outline)
    return found
