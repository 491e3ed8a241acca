"""Pathologists' outlines in the XML of Aperio ImageScope and of ASAP, in level-0 px."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from wsi_pipeline.compare.areas import Annotation, Area, only_areas

logger = logging.getLogger(__name__)

HOLE_GROUPS: Final = frozenset({"normal", "exclusion", "exclude", "_2"})
"""ASAP groups whose areas are cut out of the others. "_2" is CAMELYON16's name for it."""

_APERIO_RECTANGLE: Final = "1"
_APERIO_ELLIPSE: Final = "2"
_CURVE_POINTS: Final = 16
"""Straight pieces for each control point of a curve: areas are right to a thousandth."""


def read_xml(path: Path) -> list[Annotation]:
    """Return the outlines of an annotation file, less what was drawn as a hole.

    Aperio: freehand regions, rectangles and ellipses; a negative region is cut out of its layer.
    ASAP: polygons, rectangles and splines; groups for exclusion are cut out of all others. What
    has no area (rulers, arrows, dots, point sets) is left out.

    Raises
    ------
    ValueError
        Where the file is of neither kind.
    xml.etree.ElementTree.ParseError, KeyError
        Where it is damaged.
    """
    root = ET.parse(path).getroot()  # noqa: S314 - expat itself refuses entity bombs
    if root.tag == "ASAP_Annotations":
        return _asap(root)
    if root.tag == "Annotations":
        return [drawn for layer in root.iter("Annotation") for drawn in _aperio(layer)]
    raise ValueError(f"neither Aperio's <Annotations> nor ASAP's, but <{root.tag}>")


def _aperio(layer: ET.Element) -> list[Annotation]:
    drawn, holes = [], []
    for region in layer.iter("Region"):
        name = region.get("Text") or region.get("Id") or ""
        corners = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
        area = _aperio_area(region.get("Type", ""), corners)
        if area.is_empty:
            logger.warning("Aperio region %s has no area and is left out", name)
        elif region.get("NegativeROA") == "1":
            holes.append(area)
        else:
            drawn.append(Annotation(name, layer.get("Name", ""), area))
    return list(_without(drawn, holes))


def _aperio_area(kind: str, corners: list[tuple[float, float]]) -> Area:
    """Return the area of a region; ImageScope stores an ellipse by two corners of its box."""
    points = np.array(corners, np.float64).reshape(-1, 2)
    if kind == _APERIO_ELLIPSE and 2 <= len(points) <= 4:
        return _ellipse(points.min(axis=0), points.max(axis=0))
    if kind == _APERIO_RECTANGLE and len(points) == 2:
        return only_areas(shapely.box(*points.min(axis=0), *points.max(axis=0)))
    return _polygon(points)


def _asap(root: ET.Element) -> list[Annotation]:
    drawn, holes = [], []
    for annotation in root.iter("Annotation"):
        name, group = annotation.get("Name", ""), annotation.get("PartOfGroup", "")
        corners = sorted(annotation.iter("Coordinate"), key=lambda c: int(c.attrib["Order"]))
        points = np.array([(float(c.attrib["X"]), float(c.attrib["Y"])) for c in corners])
        area = _asap_area(annotation.get("Type", "Polygon"), points)
        if area.is_empty:
            logger.warning("ASAP annotation %s has no area and is left out", name)
        elif group.lower() in HOLE_GROUPS:
            holes.append(area)
        else:
            drawn.append(Annotation(name, group, area))
    return list(_without(drawn, holes))


def _asap_area(kind: str, points: NDArray[np.float64]) -> Area:
    if kind == "Spline" and len(points) >= 3:
        return _polygon(_closed_curve(points))
    if kind in {"Polygon", "Rectangle", "Spline"}:
        return _polygon(points)
    return shapely.MultiPolygon()


def _without(drawn: list[Annotation], holes: list[Area]) -> Iterator[Annotation]:
    cut = shapely.union_all(holes)
    for one in drawn:
        area = only_areas(one.area.difference(cut))
        if not area.is_empty:
            yield Annotation(one.name, one.kind, area)


def _polygon(points: NDArray[np.float64]) -> Area:
    return only_areas(shapely.Polygon(points)) if len(points) >= 3 else shapely.MultiPolygon()


def _ellipse(near: NDArray[np.float64], far: NDArray[np.float64]) -> Area:
    circle = shapely.Point(0, 0).buffer(1, quad_segs=_CURVE_POINTS)
    radius, center = (far - near) / 2, (far + near) / 2
    return only_areas(shapely.transform(circle, lambda xy: xy * radius + center))


def _closed_curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a smooth closed curve through the points, shape (n, 2)."""
    distinct = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    if len(distinct) < 3:
        return points
    ring = np.vstack([distinct, distinct[:1]])
    along = np.r_[0, np.linalg.norm(np.diff(ring, axis=0), axis=1).cumsum()]
    places = np.linspace(0, along[-1], len(distinct) * _CURVE_POINTS, endpoint=False)
    curve: NDArray[np.float64] = CubicSpline(along, ring, bc_type="periodic")(places)
    return curve
