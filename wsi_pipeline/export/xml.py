"""Aperio ImageScope annotations (`.xml`), read by ImageScope, QuPath scripts and many toolkits."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import shapely

from wsi_pipeline.files import write_atomic
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.maps.regions import Region, Regions

LINE_COLOR: Final = 0x0000C8
"""Dark red; ImageScope counts blue, green, red from the left."""


def write_aperio_xml(map_: ProbabilityMap, regions: Regions, path: Path) -> None:
    """Write the regions as one Aperio annotation layer.

    Vertices are level-0 px of the whole slide, as ImageScope counts them (bounds not taken off).
    A hole is a region of its own with `NegativeROA` set and `InputRegionId` of what it lies in.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    root = ET.Element("Annotations", MicronsPerPixel=f"{map_.mpp.mean:.6g}")
    layer = ET.SubElement(
        root, "Annotation", Id="1", Name="IDC", Type="4", Visible="1", LineColor=str(LINE_COLOR)
    )
    holder = ET.SubElement(layer, "Regions")
    for region in regions:
        for polygon in shapely.get_parts(region.outline_l0):
            outer_id = _add_ring(holder, region, polygon.exterior, inside_of=None)
            for hole in polygon.interiors:
                _add_ring(holder, region, hole, inside_of=outer_id)
    ET.indent(root)
    write_atomic(path, ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _add_ring(
    holder: ET.Element, region: Region, ring: shapely.LinearRing, inside_of: int | None
) -> int:
    """Add a ring without its repeated last point and return its id."""
    ring_id = len(holder) + 1
    element = ET.SubElement(
        holder,
        "Region",
        Id=str(ring_id),
        Type="0",
        Text=f"IDC {region.number}",
        NegativeROA="0" if inside_of is None else "1",
        InputRegionId=str(inside_of or 0),
        Analyze="1",
        DisplayId=str(ring_id),
    )
    vertices = ET.SubElement(element, "Vertices")
    for x, y in shapely.get_coordinates(ring)[:-1]:
        ET.SubElement(vertices, "Vertex", X=f"{x:.3f}", Y=f"{y:.3f}", Z="0")
    return ring_id
