"""Outlines in the XML of Aperio ImageScope, HALO and ASAP, in level-0 px."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree as ET

import numpy as np
import shapely
from numpy.typing import NDArray

from wsi_pipeline.annotations.areas import (
    Area,
    box,
    closed_curve,
    ellipse,
    only_areas,
    polygon,
    without_holes,
)
from wsi_pipeline.annotations.drawing import Drawing, joined
from wsi_pipeline.tables import number

HOLE_GROUPS: Final = frozenset({"normal", "exclusion", "exclude", "_2"})
"""ASAP groups whose areas, and those of the groups below them, are cut out of the others. "_2" is
CAMELYON16's name for it."""

_RECTANGLES: Final = frozenset({"1", "rectangle"})
_ELLIPSES: Final = frozenset({"2", "ellipse"})
_WITHOUT_AREA: Final = frozenset({"ruler", "pin", "arrow", "line", "polyline"})
"""HALO's words; of Aperio's kinds without an area none has three points."""


def read_xml(root: ET.Element) -> Drawing:
    """Return the outlines of an annotation file, less what was drawn as a hole.

    Aperio and HALO: freehand regions, rectangles and ellipses; a negative region is cut out of its
    layer. ASAP: polygons, rectangles and splines; groups for exclusion, and the groups below them,
    are cut out of all others. What has no area (rulers, arrows, dots, point sets) is left out.

    Raises
    ------
    ValueError
        Where the file is of neither kind.
    """
    kind = _tag(root)
    if kind == "asap_annotations":
        return _asap(root)
    if kind == "annotations" and root.find(".//ndpviewstate") is None:
        drawing = Drawing()
        for layer in _all(root, "annotation"):
            _read_layer(drawing, layer)
        return drawing
    raise ValueError(f"neither Aperio's, HALO's nor ASAP's annotations, but <{kind}>")


def _read_layer(drawing: Drawing, layer: ET.Element) -> None:
    """Read a layer of Aperio or HALO."""
    names, areas, holes = [], [], []
    for region in _all(layer, "region"):
        with drawing.each():
            area = _region_area(region)
            if area.is_empty:
                drawing.left_out["without area"] += 1
            elif region.get("NegativeROA", "0").strip().lower() in ("1", "true"):
                holes.append(area)
            else:
                areas.append(area)
                names.append(region.get("Text") or region.get("Id") or str(len(areas)))
    for name, area in zip(names, without_holes(areas, holes), strict=True):
        drawing.add(name, _layer_name(layer), area)


def _layer_name(layer: ET.Element) -> str:
    """Return a layer's name; ImageScope may keep it as the attribute "Description"."""
    if layer.get("Name"):
        return joined(layer.get("Name", "").split(":"))
    described = (
        a.get("Value", "") for a in _all(layer, "attribute") if a.get("Name") == "Description"
    )
    return next(described, "")


def _region_area(region: ET.Element) -> Area:
    """Return the area of a region; an ellipse is stored by two corners of its box."""
    kind = region.get("Type", "0").strip().lower()
    if kind in _WITHOUT_AREA:
        return shapely.MultiPolygon()
    points = _points(vertex for vertex in region.iter() if _tag(vertex) in ("vertex", "v"))
    if kind in _ELLIPSES and 2 <= len(points) <= 4:
        return ellipse(points)
    if kind in _RECTANGLES and len(points) == 2:
        return box(points)
    if len(points) == 2:
        return shapely.MultiPolygon()  # a ruler or an arrow
    return polygon(points)


def _asap(root: ET.Element) -> Drawing:
    drawing, holes = Drawing(), []
    names, kinds, areas = [], [], []
    parents = {g.get("Name", ""): g.get("PartOfGroup", "") for g in _all(root, "group")}
    for annotation in _all(root, "annotation"):
        groups = _line_of(annotation.get("PartOfGroup", ""), parents)
        with drawing.each():
            area = _asap_area(annotation)
            if area.is_empty:
                drawing.left_out["without area"] += 1
            elif any(group.lower() in HOLE_GROUPS for group in groups):
                holes.append(area)
            else:
                areas.append(area)
                names.append(annotation.get("Name", ""))
                kinds.append(joined(groups))
    cut = shapely.union_all(holes)
    for name, kind, area in zip(names, kinds, areas, strict=True):
        drawing.add(name, kind, only_areas(area.difference(cut)))
    return drawing


def _line_of(group: str, parents: dict[str, str]) -> list[str]:
    """Return the groups that a group lies in and itself, the outermost first."""
    line: list[str] = []
    while group and group != "None" and group not in line:
        line.insert(0, group)
        group = parents.get(group, "")
    return line


def _asap_area(annotation: ET.Element) -> Area:
    points = _points(_in_order(list(_all(annotation, "coordinate"))))
    kind = annotation.get("Type", "Polygon")
    if kind not in {"Polygon", "Rectangle", "Spline"}:
        return shapely.MultiPolygon()
    return polygon(closed_curve(points) if kind == "Spline" and len(points) >= 3 else points)


def _in_order(corners: list[ET.Element]) -> list[ET.Element]:
    """Return the corners as numbered; where a number is missing, as they stand in the file."""
    try:
        return sorted(corners, key=lambda corner: number(corner.attrib["Order"]))
    except (KeyError, ValueError):
        return corners


def _points(corners: Iterator[ET.Element] | list[ET.Element]) -> NDArray[np.float64]:
    """Return x, y of elements, float64 (n, 2); French and German Windows write decimal commas."""
    points = [(number(c.attrib["X"]), number(c.attrib["Y"])) for c in corners]
    return np.array(points, np.float64).reshape(-1, 2)


def _all(element: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (one for one in element.iter() if _tag(one) == tag)


def _tag(element: ET.Element) -> str:
    """Return an element's name without its namespace, in small letters."""
    return str(element.tag).rsplit("}", 1)[-1].lower()
