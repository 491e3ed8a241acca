"""Outlines of IDC from a run or from a pathologist, all in level-0 px of the whole slide."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from xml.etree import ElementTree as ET

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsi_pipeline.errors import StorageError
from wsi_pipeline.probability.map import ProbabilityMap
from wsi_pipeline.regions import Regions, l0_from_outline, outline_cells

logger = logging.getLogger(__name__)

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon

HOLE_GROUPS: Final = frozenset({"normal", "exclusion", "exclude", "_2"})
"""ASAP groups whose areas are cut out of the others. "_2" is CAMELYON16's name for it."""

_DAMAGE: Final = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError),
    *(ET.ParseError, zlib.error, shapely.errors.ShapelyError),
)
"""What the parsers raise on content that is not what it should be."""

_KINDS: Final = "GeoJSON (.geojson, .json, .gz), Aperio or ASAP XML (.xml) or a truth image (.png)"


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One area called IDC."""

    name: str
    area_l0: Area
    """Valid, level-0 px of the whole slide."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """Everything that one reader called IDC on a slide."""

    source: str
    """Who or what drew them, for tables and captions."""
    items: tuple[Outline, ...]
    judged_l0: Area | None = None
    """What the reader looked at; None = the whole slide. Nothing outside it counts."""

    @property
    def union_l0(self) -> Area:
        """All areas as one; overlapping outlines count once."""
        return only_areas(shapely.union_all([item.area_l0 for item in self.items]))


def outlines_of(map_: ProbabilityMap, regions: Regions, source: str) -> Outlines:
    """Return the regions of a run as outlines; what it did not classify, it did not judge."""
    items = tuple(Outline(f"IDC {r.number}", r.outline_l0) for r in regions)
    return Outlines(source, items, _cells_l0(map_, ~np.isnan(map_.values)))


def read_outlines(path: Path, map_: ProbabilityMap) -> Outlines:
    """Read a pathologist's outlines.

    Parameters
    ----------
    path : Path
        GeoJSON as QuPath writes it (the pixels are less the scanned bounds' offset, which is put
        back), gzipped or not; Aperio or ASAP XML; or a truth image with one pixel for each cell of
        the map: 0 not judged, 1 not IDC, 2 IDC, or 0 and 255 where all of it was judged.
    map_ : ProbabilityMap
        Of the same slide: where its scanned bounds and cells lie.

    Raises
    ------
    StorageError
        Where the file is missing, of another kind or damaged.
    """
    readers = {".geojson": _read_geojson, ".json": _read_geojson, ".gz": _read_geojson}
    readers |= {".xml": _read_xml, ".png": _read_truth}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise StorageError(f"{path.name}: no kind of outlines that is known here", f"Give {_KINDS}")
    try:
        return reader(path, map_)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise StorageError(f"{path}: cannot be read ({reason})", f"Give {_KINDS}") from exc
    except _DAMAGE as exc:
        raise StorageError(f"{path}: damaged or not what its name says ({exc})", _KINDS) from exc


def only_areas(geometry: shapely.Geometry) -> Area:
    """Return the areas of a geometry, made valid; points and lines are dropped."""
    valid = geometry if geometry.is_valid else shapely.make_valid(geometry)
    parts = [part for part in _polygons(valid) if part.area > 0]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _polygons(geometry: shapely.Geometry) -> Iterator[shapely.Polygon]:
    if isinstance(geometry, shapely.Polygon):
        yield geometry
    elif isinstance(geometry, shapely.MultiPolygon | shapely.GeometryCollection):
        for part in geometry.geoms:
            yield from _polygons(part)


def _cells_l0(map_: ProbabilityMap, cells: NDArray[np.bool_]) -> Area:
    if not cells.any():
        return shapely.MultiPolygon()
    return l0_from_outline(outline_cells(cells), map_)


def _read_geojson(path: Path, map_: ProbabilityMap) -> Outlines:
    data = path.read_bytes()
    document = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    own = document.get("wsi_pipeline", {}) if isinstance(document, dict) else {}
    offset_l0 = own.get("offset_l0", map_.bounds_l0[:2])
    items = []
    for number, feature in enumerate(_features(document), start=1):
        properties = feature.get("properties") or {}
        drawn = only_areas(shapely.geometry.shape(feature["geometry"]))
        if drawn.is_empty:
            continue
        placed = shapely.transform(drawn, lambda xy: xy + np.asarray(offset_l0))
        items.append(Outline(str(properties.get("name") or number), placed))
    return Outlines(path.name, tuple(items))


def _features(document: Any) -> list[dict[str, Any]]:
    """Return the features of a collection, of QuPath's bare list, or a lone feature."""
    if isinstance(document, list):
        return document
    if document["type"] == "FeatureCollection":
        return list(document["features"])
    if document["type"] == "Feature":
        return [document]
    return [{"geometry": document}]


def _read_xml(path: Path, map_: ProbabilityMap) -> Outlines:  # noqa: ARG001 - one signature for all
    root = ET.parse(path).getroot()  # noqa: S314 - expat itself refuses entity bombs
    if root.tag == "ASAP_Annotations":
        drawn = list(_asap_areas(root))
    elif root.tag == "Annotations":
        drawn = list(_aperio_areas(root))
    else:
        raise ValueError(f"neither Aperio's <Annotations> nor ASAP's, but <{root.tag}>")
    holes = shapely.union_all([area for _, area, is_hole in drawn if is_hole])
    items = [
        Outline(name, only_areas(area.difference(holes)))
        for name, area, is_hole in drawn
        if not is_hole
    ]
    return Outlines(path.name, tuple(item for item in items if not item.area_l0.is_empty))


def _aperio_areas(root: ET.Element) -> Iterator[tuple[str, Area, bool]]:
    for region in root.iter("Region"):
        name = region.get("Text") or region.get("Id") or ""
        vertices = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
        if len(vertices) < 3:  # rulers, arrows and ellipses, which are stored by two corners
            logger.warning("Aperio region %s has no outline and is left out", name)
            continue
        yield name, only_areas(shapely.Polygon(vertices)), region.get("NegativeROA") == "1"


def _asap_areas(root: ET.Element) -> Iterator[tuple[str, Area, bool]]:
    for annotation in root.iter("Annotation"):
        name = annotation.get("Name", "")
        corners = sorted(annotation.iter("Coordinate"), key=lambda c: int(c.attrib["Order"]))
        if len(corners) < 3:
            logger.warning("ASAP annotation %s has no outline and is left out", name)
            continue
        outline = shapely.Polygon([(float(c.attrib["X"]), float(c.attrib["Y"])) for c in corners])
        is_hole = annotation.get("PartOfGroup", "").lower() in HOLE_GROUPS
        yield name, only_areas(outline), is_hole


def _read_truth(path: Path, map_: ProbabilityMap) -> Outlines:
    try:
        with Image.open(path) as picture:
            truth = np.asarray(picture)
    except UnidentifiedImageError as exc:
        raise ValueError("not a picture") from exc
    truth = _fitted(truth, map_.values.shape)
    present = set(np.unique(truth).tolist())
    if present <= {0, 1, 2}:
        is_idc, judged = truth == 2, _cells_l0(map_, truth > 0)
    elif present == {0, 255}:
        is_idc, judged = truth == 255, None
    else:
        raise ValueError(f"pixels hold {sorted(present)[:8]}, expected 0, 1, 2 or 0, 255")
    whole = _cells_l0(map_, is_idc)
    items = tuple(Outline(str(n), part) for n, part in enumerate(_polygons(whole), start=1))
    return Outlines(path.name, items, judged)


def _fitted(truth: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Cut or pad a truth image by the one row or column in which it may differ from the grid.

    A remainder of a slide below a pixel makes no row of cells here, but may make one elsewhere.
    """
    rows, cols = shape
    if truth.ndim != 2 or abs(truth.shape[0] - rows) > 1 or abs(truth.shape[1] - cols) > 1:
        raise ValueError(f"{truth.shape} px, but the map has {shape} cells: one pixel a cell")
    return np.pad(truth, ((0, 1), (0, 1)))[:rows, :cols]
