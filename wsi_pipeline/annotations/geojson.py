"""GeoJSON as QuPath 0.2 to 0.6 and others write it, and the annotations of Digital Slide Archive.

QuPath has written what an object is in three places: as the feature's id ("PathDetectionObject",
0.2), as the property ``object_type`` (0.3) and as ``objectType`` (since). A class is a ``name``, a
list of ``names``, a string, or the JSON of one in a string (where geopandas has been between).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Required, TypedDict

import numpy as np
import shapely
from numpy.typing import NDArray

from wsi_pipeline.annotations.areas import Area, check_ring, only_areas
from wsi_pipeline.annotations.drawing import Drawing, joined
from wsi_pipeline.files import parse_json
from wsi_pipeline.tables import number

_OF_QUPATH_02: Final = re.compile(r"(?:Path)?(\w+?)Object")
_WITHOUT_AREA: Final = {
    "Point": "without area (point)",
    "MultiPoint": "without area (points)",
    "LineString": "without area (line)",
    "MultiLineString": "without area (lines)",
}
_GEOMETRIES: Final = frozenset({*_WITHOUT_AREA, "Polygon", "MultiPolygon", "GeometryCollection"})


def read_geojson(text: str) -> Drawing:
    """Return the annotations of a document; cells and other detections do not count.

    Raises
    ------
    ValueError
        Where it is no JSON, or JSON of something else.
    """
    drawing = Drawing(is_cropped=True)
    document = _document(text)
    if isinstance(document, dict):
        drawing.offset_l0 = _own_offset(document)
    for n, feature in enumerate(_features(document), start=1):
        with drawing.each():
            _read_feature(drawing, feature, n)
    return drawing


def _document(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        # One feature a line, as GDAL streams them; a record separator may stand before each.
        lines = [line.strip("\x1e \r") for line in text.split("\n")]
        lines = [line for line in lines if line]
        if len(lines) < 2 or not all(line[0] == "{" and line[-1] == "}" for line in lines):
            raise
        return [parse_json(line) for line in lines]


def _own_offset(document: Mapping[str, Any]) -> tuple[float, float] | None:
    own = document.get("wsi_pipeline")
    stated = own.get("offset_l0") if isinstance(own, dict) else None
    return None if stated is None else (float(stated[0]), float(stated[1]))


def _features(document: Any) -> list[Any]:
    """Return the features of a collection, of QuPath's bare list, or a lone feature or geometry."""
    if isinstance(document, list):
        return [one for item in document for one in _listed(item)]
    if not isinstance(document, dict):
        raise ValueError("JSON, but no object")  # noqa: TRY004 - of the file's content
    kind = document.get("type")
    if kind == "FeatureCollection":
        return list(document["features"])
    if kind == "Feature":
        return [document]
    if kind in _GEOMETRIES:
        return [{"geometry": document}]
    elements = document.get("annotation", document).get("elements")
    if isinstance(elements, list):
        return [_of_archive(element) for element in elements]
    raise ValueError(f"JSON of another kind (type {kind!r}), no GeoJSON")


def _listed(item: Any) -> list[Any]:
    """Return the features of an item of a list; a broken item stays one, to be counted."""
    nested = isinstance(item, dict) and item.get("type") in _GEOMETRIES | {"FeatureCollection"}
    of_archive = isinstance(item, dict) and "annotation" in item
    return _features(item) if nested or of_archive else [item]


class _Feature(TypedDict, total=False):
    """A feature as this module reads it."""

    properties: Required[dict[str, str]]
    geometry: dict[str, Any]


def _of_archive(element: Mapping[str, Any]) -> _Feature:
    """Return an element of Digital Slide Archive (HistomicsUI) as a feature."""
    kind = element.get("type")
    label = element.get("group") or (element.get("label") or {}).get("value") or ""
    feature: _Feature = {"properties": {"classification": str(label)}}
    if kind == "polyline" and element.get("closed"):
        rings = [element["points"], *(element.get("holes") or [])]
        feature["geometry"] = {"type": "Polygon", "coordinates": rings}
    elif kind == "polyline":
        feature["geometry"] = {"type": "LineString", "coordinates": element["points"]}
    elif kind == "rectangle":
        feature["geometry"] = {"type": "Polygon", "coordinates": [_turned_box(element)]}
    else:
        feature["properties"]["objectType"] = f"element ({kind})"
    return feature


def _turned_box(element: Mapping[str, Any]) -> list[list[float]]:
    x, y = element["center"][:2]
    half = np.array([element["width"], element["height"]], np.float64) / 2
    turn = float(element.get("rotation") or 0)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    rotation = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    placed: list[list[float]] = (corners @ rotation + (x, y)).tolist()
    return placed


def _read_feature(drawing: Drawing, feature: Any, n: int) -> None:
    properties = feature.get("properties") or {}
    what = _object_type(feature, properties)
    if what != "annotation":
        drawing.left_out[f"of type {what}"] += 1
        return
    geometry = feature.get("geometry")
    if geometry is None:
        drawing.left_out["without a geometry"] += 1
        return
    name = str(properties.get("name") or n)
    kind = _class_name(properties.get("classification"))
    parts = list(_parts(drawing, geometry))
    if parts:
        drawing.add(name, kind, only_areas(shapely.union_all(parts)))


def _object_type(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """Return what an object is in QuPath's words; what does not say is an annotation."""
    stated = properties.get("objectType") or properties.get("object_type")
    if stated:
        return str(stated).lower()
    match = _OF_QUPATH_02.fullmatch(str(feature.get("id", "")))
    return match[1].lower() if match else "annotation"


def _class_name(stated: Any) -> str:
    """Return a class as "Tumor: Invasive"; empty where there is none."""
    if isinstance(stated, str):
        if stated.lstrip().startswith(("{", "[")):
            try:
                return _class_name(parse_json(stated))
            except ValueError:
                pass  # a class that is named so
        return joined(stated.split(":"))
    if isinstance(stated, list):
        return joined(map(str, stated))
    if isinstance(stated, dict):
        return _class_name(stated.get("names") or stated.get("name"))
    return ""


def _parts(drawing: Drawing, geometry: Mapping[str, Any]) -> Iterator[Area]:
    """Yield the areas of a geometry; a broken part costs itself."""
    kind = geometry["type"]
    if kind in _WITHOUT_AREA:
        drawing.left_out[_WITHOUT_AREA[kind]] += 1
    elif kind == "Polygon":
        with drawing.each():
            yield _polygon(drawing, geometry["coordinates"])
    elif kind == "MultiPolygon":
        for rings in geometry["coordinates"]:
            with drawing.each():
                yield _polygon(drawing, rings)
    elif kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _parts(drawing, part)
    else:
        raise ValueError(f"a geometry of type {kind!r}")


def _polygon(drawing: Drawing, rings: list[Any]) -> Area:
    outer, holes = _ring(rings[0]), []
    for ring in rings[1:]:
        with drawing.each():
            holes.append(_ring(ring))
    return only_areas(shapely.Polygon(outer, holes))


def _ring(points: Any) -> NDArray[np.float64]:
    """Return a ring, float64 (n, 2); heights are dropped."""
    ring = np.array([[_coordinate(point[0]), _coordinate(point[1])] for point in points])
    check_ring(ring.reshape(-1, 2))
    return ring


def _coordinate(value: Any) -> float:
    return number(value) if isinstance(value, str) else float(value)
