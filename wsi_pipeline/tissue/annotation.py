"""A user's own mask in place of the automatic one, and the mask as outlines for a viewer.

GeoJSON is in level-0 pixels, as QuPath writes it. A feature named or classified "exclude" takes
away; any other polygon includes. With exclusions alone the automatic mask stays, less those.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry import MultiPolygon, Polygon, mapping, shape
from skimage.draw import polygon as polygon_pixels
from skimage.measure import find_contours

from wsi_pipeline.errors import TissueError
from wsi_pipeline.files import parse_json
from wsi_pipeline.geometry import BoolMask
from wsi_pipeline.tissue.mask import TissueMask

EXCLUDE = "exclude"
MASK_FORMATS = ("PNG", "TIFF", "JPEG", "BMP")
_OUTLINE_COLOR = [0, 160, 0]


@dataclass(frozen=True, slots=True)
class MaskFrame:
    """Where a mask lies on the slide."""

    origin_l0: tuple[float, float]
    """Level-0 x, y of the mask's upper left corner."""
    downsample: tuple[float, float]
    """Level-0 px per mask px along (x, y)."""


def mask_from_geojson(path: Path, automatic: TissueMask, frame: MaskFrame) -> TissueMask:
    """Return a user's mask drawn as polygons.

    Parameters
    ----------
    path : Path
        GeoJSON: a FeatureCollection, a Feature, a geometry, or a list of features.
    automatic : TissueMask
        Gives the shape and the slide's glass color; stays in force where the file only excludes.
    frame : MaskFrame
        Where the mask lies.

    Returns
    -------
    TissueMask
        A pixel is tissue where its center is inside an inclusion and in no exclusion.

    Raises
    ------
    TissueError
        Where the file cannot be read, or holds no polygon.
    """
    include = np.zeros_like(automatic.mask)
    exclude = np.zeros_like(automatic.mask)
    n_include = n_exclude = 0
    for area, is_exclusion in _polygons(path):
        _paint(exclude if is_exclusion else include, area, frame)
        n_exclude += is_exclusion
        n_include += not is_exclusion
    if not n_include + n_exclude:
        raise TissueError(
            f"{path.name} holds no polygon", "Draw the tissue as closed areas and export again"
        )
    kept = include if n_include else automatic.mask
    return replace(automatic, mask=kept & ~exclude, method="geojson", threshold=float("nan"))


def mask_from_png(path: Path, automatic: TissueMask) -> TissueMask:
    """Return a user's mask painted as a picture of the scanned area: black is no tissue.

    Parameters
    ----------
    path : Path
        A PNG, TIFF, JPEG or BMP picture, of any size with the proportions of the scanned area.
    automatic : TissueMask
        Gives the shape and the slide's glass color.

    Raises
    ------
    TissueError
        Where the file cannot be read, or its proportions are 2 % and more off.
    """
    try:
        with Image.open(path, formats=MASK_FORMATS) as picture:
            grey = picture.convert("L")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise TissueError(
            f"the mask {path.name} cannot be read: {error}", "Give a PNG or a GeoJSON file"
        ) from error
    rows, cols = automatic.mask.shape
    # The mask's own rounding to whole pixels may account for one pixel on each axis.
    allowed = 0.02 + 1 / rows + 1 / cols + 1 / grey.width + 1 / grey.height
    if abs(grey.width * rows / (grey.height * cols) - 1) > allowed:
        raise TissueError(
            f"the mask {path.name} has {grey.width} x {grey.height} px, "
            f"the scanned area has the proportions of {cols} x {rows}",
            "Paint the mask on a picture of the whole scanned area",
        )
    resized = grey.resize((cols, rows), Image.Resampling.NEAREST)
    return replace(automatic, mask=np.asarray(resized) > 0, method="png", threshold=float("nan"))


def mask_to_geojson(mask: TissueMask, frame: MaskFrame) -> dict[str, Any]:
    """Return the outlines of a mask as a FeatureCollection that QuPath reads, level-0 px.

    Corners are cut by half a mask pixel and lines within half a pixel straightened; holes stay.
    """
    rings = [
        (ring[:, ::-1] - 0.5) * frame.downsample + frame.origin_l0
        for ring in find_contours(np.pad(mask.mask, 1).astype(np.float32), 0.5)
    ]
    outline = shapely.build_area(shapely.GeometryCollection([shapely.LineString(r) for r in rings]))
    outline = outline.simplify(0.5 * min(frame.downsample))
    return {
        "type": "FeatureCollection",
        "features": [_feature(part) for part in _parts(outline)],
    }


def _feature(part: Polygon) -> dict[str, Any]:
    return {
        "type": "Feature",
        # The same outline gets the same id, so that a second run writes the same file.
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, part.wkt)),
        "geometry": mapping(part),
        "properties": {
            "objectType": "annotation",
            "name": "Tissue",
            "classification": {"name": "Tissue", "color": _OUTLINE_COLOR},
        },
    }


def _polygons(path: Path) -> Iterator[tuple[Polygon, bool]]:
    """Yield each polygon with whether it is an exclusion."""
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
        for feature in _features(data):
            is_exclusion = EXCLUDE in _names(feature)
            for part in _parts(shape(feature.get("geometry", feature))):
                yield part, is_exclusion
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        shapely.GEOSException,
    ) as error:
        raise TissueError(
            f"the mask {path.name} cannot be read: {error}",
            "Export the annotations again as GeoJSON (QuPath: File > Export objects)",
        ) from error


def _features(data: Any) -> list[dict[str, Any]]:
    if isinstance(data, list):
        return data
    features: list[dict[str, Any]] = data.get("features", [data])
    return features


def _names(feature: dict[str, Any]) -> set[str]:
    properties = feature.get("properties") or {}
    kind = properties.get("classification") or {}
    return {str(name).strip().lower() for name in (properties.get("name"), kind.get("name"))}


def _parts(area: Any) -> list[Polygon]:
    """Return the polygons of a geometry; points and lines enclose nothing."""
    if isinstance(area, Polygon):
        return [] if area.is_empty else [area]
    if isinstance(area, MultiPolygon) or area.geom_type == "GeometryCollection":
        return [polygon for part in area.geoms for polygon in _parts(part)]
    return []


def _paint(mask: BoolMask, area: Polygon, frame: MaskFrame) -> None:
    """Set the pixels whose centers the polygon holds."""
    inside = _ring_pixels(mask.shape, np.asarray(area.exterior.coords)[:, :2], frame)
    for hole in area.interiors:
        inside &= ~_ring_pixels(mask.shape, np.asarray(hole.coords)[:, :2], frame)
    mask |= inside


def _ring_pixels(
    shape_px: tuple[int, ...], ring_l0: NDArray[np.float64], frame: MaskFrame
) -> BoolMask:
    # scikit-image puts the center of pixel (0, 0) at 0; in our frame it is at half a pixel.
    xy = (ring_l0 - frame.origin_l0) / frame.downsample - 0.5
    inside = np.zeros(shape_px, dtype=bool)
    inside[polygon_pixels(xy[:, 1], xy[:, 0], shape_px)] = True
    return inside
