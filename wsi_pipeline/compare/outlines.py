"""Outlines of IDC from a run or from a pathologist, all in level-0 px of the whole slide."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from wsi_pipeline.compare.areas import Annotation, Area, only_areas, polygons
from wsi_pipeline.compare.xml import read_xml
from wsi_pipeline.errors import StorageError
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.maps.regions import Regions, l0_from_outline, outline_cells

NOT_COUNTED: Final = "*"
"""QuPath's mark, at the end of a class, of what is no finding: "Region*", "Ignore*"."""

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
    note: str = ""
    """What whoever reads the figures has to know about the choice of outlines."""

    @property
    def union_l0(self) -> Area:
        """All areas as one; overlapping outlines count once."""
        return only_areas(shapely.union_all([item.area_l0 for item in self.items]))


def outlines_of(map_: ProbabilityMap, regions: Regions, source: str) -> Outlines:
    """Return the regions of a run as outlines; what it did not classify, it did not judge."""
    items = tuple(Outline(f"IDC {r.number}", r.outline_l0) for r in regions)
    return Outlines(source, items, _cells_l0(map_, ~np.isnan(map_.values)))


def read_outlines(path: Path, map_: ProbabilityMap, classes: Sequence[str] = ()) -> Outlines:
    """Read a pathologist's outlines.

    Parameters
    ----------
    path : Path
        GeoJSON as QuPath writes it (the pixels are less the scanned bounds' offset, which is put
        back), gzipped or not; Aperio or ASAP XML; or a truth image with one pixel for each cell of
        the map: 0 not judged, 1 not IDC, 2 IDC, or 0 and 255 where all of it was judged.
    map_ : ProbabilityMap
        Of the same slide: where its scanned bounds and cells lie.
    classes : sequence of str
        Outlines of these classes count, letters large or small: QuPath's class, Aperio's layer,
        ASAP's group. Without any all count but for those that QuPath itself ignores ("Region*").
        A truth image has no classes.

    Raises
    ------
    StorageError
        Where the file is missing, of another kind or damaged.
    """
    suffix = path.suffix.lower()
    if suffix not in {".geojson", ".json", ".gz", ".xml", ".png"}:
        raise StorageError(f"{path.name}: no kind of outlines that is known here", f"Give {_KINDS}")
    try:
        if suffix == ".png":
            return _read_truth(path, map_)
        drawn = read_xml(path) if suffix == ".xml" else _read_geojson(path, map_)
        return _chosen(path, drawn, classes)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise StorageError(f"{path}: cannot be read ({reason})", f"Give {_KINDS}") from exc
    except _DAMAGE as exc:
        raise StorageError(f"{path}: damaged or not what its name says ({exc})", _KINDS) from exc


def _cells_l0(map_: ProbabilityMap, cells: NDArray[np.bool_]) -> Area:
    if not cells.any():
        return shapely.MultiPolygon()
    return l0_from_outline(outline_cells(cells), map_)


def _chosen(path: Path, drawn: Sequence[Annotation], classes: Sequence[str]) -> Outlines:
    """Return the outlines of the classes asked for; without any, of all that may be tumor."""
    wanted = {name.casefold() for name in classes}
    counted = [
        one
        for one in drawn
        if (one.kind.casefold() in wanted if wanted else not one.kind.endswith(NOT_COUNTED))
    ]
    items = tuple(Outline(one.name, one.area) for one in counted)
    note = _note({one.kind for one in counted}, {one.kind for one in drawn}, classes)
    return Outlines(path.name, items, note=note)


def _note(counted: set[str], present: set[str], classes: Sequence[str]) -> str:
    def listed(kinds: set[str]) -> str:
        return ", ".join(sorted(kind or "(none)" for kind in kinds))

    if classes and present and not counted:
        return f"no outline of class {', '.join(classes)}, only of {listed(present)}"
    if not classes and len(counted) > 1:
        return f"outlines of {len(counted)} classes count alike ({listed(counted)})"
    return ""


def _read_geojson(path: Path, map_: ProbabilityMap) -> list[Annotation]:
    data = path.read_bytes()
    document = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    own = document.get("wsi_pipeline", {}) if isinstance(document, dict) else {}
    offset_l0 = own.get("offset_l0", map_.bounds_l0[:2])
    drawn = []
    for number, feature in enumerate(_features(document), start=1):
        properties = feature.get("properties") or {}
        if properties.get("objectType", "annotation") != "annotation":
            continue  # a cell, tile or detection is nobody's outline
        area = only_areas(shapely.geometry.shape(feature["geometry"]))
        if area.is_empty:
            continue
        placed = shapely.transform(area, lambda xy: xy + np.asarray(offset_l0))
        kind = str((properties.get("classification") or {}).get("name") or "")
        drawn.append(Annotation(str(properties.get("name") or number), kind, placed))
    return drawn


def _features(document: Any) -> list[dict[str, Any]]:
    """Return the features of a collection, of QuPath's bare list, or a lone feature."""
    if isinstance(document, list):
        return document
    if document["type"] == "FeatureCollection":
        return list(document["features"])
    if document["type"] == "Feature":
        return [document]
    return [{"geometry": document}]


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
    items = tuple(Outline(str(n), part) for n, part in enumerate(polygons(whole), start=1))
    return Outlines(path.name, items, judged)


def _fitted(truth: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Cut or pad a truth image by the one row or column in which it may differ from the grid.

    A remainder of a slide below a pixel makes no row of cells here, but may make one elsewhere.
    """
    rows, cols = shape
    if truth.ndim != 2 or abs(truth.shape[0] - rows) > 1 or abs(truth.shape[1] - cols) > 1:
        raise ValueError(f"{truth.shape} px, but the map has {shape} cells: one pixel a cell")
    return np.pad(truth, ((0, 1), (0, 1)))[:rows, :cols]
