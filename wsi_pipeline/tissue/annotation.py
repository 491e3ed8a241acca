"""A user's own mask in place of the automatic one, and the mask as outlines for a viewer.

Outlines are read from the files of every common program. One named or classified "exclude", or of
a class that QuPath ignores ("Ignore*"), takes away; any other includes. With exclusions alone the
automatic mask stays, less those. A mask that leaves no tissue is refused: whoever draws one wants
something classified, and "no tumor" would be the answer to another question.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry import MultiPolygon, Polygon
from skimage.draw import polygon as polygon_pixels
from skimage.measure import find_contours

from wsi_pipeline.annotations import (
    ANNOTATION_SUFFIXES,
    Annotation,
    Area,
    Drawing,
    Place,
    check_place,
    doubts_of_place,
    polygons,
    read_annotations,
)
from wsi_pipeline.annotations.features import Feature, FeatureCollection, geometry_of
from wsi_pipeline.errors import StorageError, TissueError
from wsi_pipeline.geometry import BoolMask
from wsi_pipeline.tissue.mask import TissueMask

EXCLUSIONS: Final = frozenset({"exclude", "exclusion", "ignore*"})
"""Names and classes of what is taken away, in small letters."""
MASK_SUFFIXES: Final = (*ANNOTATION_SUFFIXES, ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
MASK_FORMATS: Final = ("PNG", "TIFF", "JPEG", "BMP")
_GRAY_LEVELS: Final = 16
"""A picture with more of them than a label image has is black and white with blurred edges."""
_OUTLINE_COLOR: Final = [0, 160, 0]


@dataclass(frozen=True, slots=True)
class MaskFrame:
    """Where a mask lies on the slide."""

    origin_l0: tuple[float, float]
    """Level-0 x, y of the mask's upper left corner."""
    downsample: tuple[float, float]
    """Level-0 px per mask px along (x, y)."""
    scan_l0: tuple[float, float] = (0.0, 0.0)
    """Level-0 x, y, on the whole slide, of the scanned bounds that QuPath crops to. What programs
    count from the whole slide's corner is less by this."""


@dataclass(frozen=True, slots=True, eq=False)
class UserMask:
    """A user's mask and what has to be said of it."""

    mask: TissueMask
    notes: tuple[str, ...] = ()


def mask_from_annotations(path: Path, automatic: TissueMask, frame: MaskFrame) -> UserMask:
    """Return a user's mask drawn as areas.

    Parameters
    ----------
    path : Path
        What `read_annotations` reads.
    automatic : TissueMask
        Gives the shape and the slide's glass color; stays in force where the file only excludes.
    frame : MaskFrame
        Where the mask lies.

    Returns
    -------
    UserMask
        A pixel is tissue where its center is inside an inclusion and in no exclusion.

    Raises
    ------
    TissueError
        Where the file cannot be read, holds no area, lies beside the slide, or leaves no tissue.
    """
    drawing = _read(path)
    if not drawing.items:
        left_out = f" ({drawing.left_out_words})" if drawing.left_out else ""
        raise TissueError(
            f"the mask {path.name} holds no area{left_out}",
            "Draw the tissue as closed areas and export again",
        )
    areas = [_placed(one.area, drawing, frame) for one in drawing.items]
    place = _place_of(automatic, frame)
    try:
        check_place(f"the mask {path.name}", areas, place)
    except StorageError as error:
        raise TissueError(error.problem, error.advice) from error
    excludes = [_is_exclusion(one) for one in drawing.items]
    included = [area for area, out in zip(areas, excludes, strict=True) if not out]
    excluded = [area for area, out in zip(areas, excludes, strict=True) if out]
    kept = _painted(included, automatic, frame) if included else automatic.mask
    kept = kept & ~_painted(excluded, automatic, frame)
    notes = [f"left out of the mask: {drawing.left_out_words}"] if drawing.left_out else []
    notes += [f"the mask {path.name}: {words}" for words in doubts_of_place(included, place)]
    return UserMask(_of_user(automatic, kept, path, "geojson"), tuple(notes))


def mask_from_png(path: Path, automatic: TissueMask) -> UserMask:
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
        Where the file cannot be read, is black all over, or its proportions are 2 % and more off.
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
    is_label_image = len(grey.getcolors(256) or ()) <= _GRAY_LEVELS
    resized = np.asarray(grey.resize((cols, rows), Image.Resampling.NEAREST))
    kept = resized > (0 if is_label_image else 127)
    return UserMask(_of_user(automatic, kept, path, "png"))


def _of_user(automatic: TissueMask, kept: BoolMask, path: Path, method: str) -> TissueMask:
    if not kept.any():
        raise TissueError(
            f"the mask {path.name} leaves no tissue on the slide",
            "Draw what is to be classified; without --mask the tissue is found automatically",
        )
    return replace(automatic, mask=kept, method=method, threshold=float("nan"))


def mask_to_geojson(mask: TissueMask, frame: MaskFrame) -> FeatureCollection:
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


def _feature(part: Polygon) -> Feature:
    return {
        "type": "Feature",
        # The same outline gets the same id, so that a second run writes the same file.
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, part.wkt)),
        "geometry": geometry_of(part),
        "properties": {
            "objectType": "annotation",
            "name": "Tissue",
            "classification": {"name": "Tissue", "color": _OUTLINE_COLOR},
        },
    }


def _read(path: Path) -> Drawing:
    try:
        return read_annotations(path)
    except StorageError as error:
        raise TissueError(
            f"the mask {path.name} cannot be read: {error.problem}",
            "Export the annotations again as GeoJSON (QuPath: File > Export objects)",
        ) from error


def _is_exclusion(one: Annotation) -> bool:
    words = (one.name, *one.kind.split(":"))
    return any(word.strip().casefold() in EXCLUSIONS for word in words)


def _placed(area: Area, drawing: Drawing, frame: MaskFrame) -> Area:
    """Return an area in the pixels that the mask's frame counts."""
    if drawing.is_cropped or not any(frame.scan_l0):
        return area
    moved: Area = shapely.transform(area, lambda xy: xy - np.asarray(frame.scan_l0))
    return moved


def _place_of(automatic: TissueMask, frame: MaskFrame) -> Place:
    rows, cols = automatic.mask.shape
    x, y = frame.downsample

    def is_tissue(points_l0: NDArray[np.float64]) -> NDArray[np.bool_]:
        xy = ((points_l0 - frame.origin_l0) / frame.downsample).astype(np.intp)
        xy = np.clip(xy, 0, (cols - 1, rows - 1))
        found: NDArray[np.bool_] = automatic.mask[xy[:, 1], xy[:, 0]]
        return found

    mpp = (automatic.um_px[0] / x, automatic.um_px[1] / y)
    return Place((*frame.origin_l0, cols * x, rows * y), mpp, is_tissue)


def _parts(area: Any) -> list[Polygon]:
    """Return the polygons of a geometry; points and lines enclose nothing."""
    if isinstance(area, Polygon):
        return [] if area.is_empty else [area]
    if isinstance(area, MultiPolygon) or area.geom_type == "GeometryCollection":
        return [polygon for part in area.geoms for polygon in _parts(part)]
    return []


def _painted(areas: Sequence[Area], automatic: TissueMask, frame: MaskFrame) -> BoolMask:
    """Return the pixels whose centers the areas hold."""
    mask = np.zeros_like(automatic.mask)
    for part in (part for area in areas for part in polygons(area)):
        inside = _ring_pixels(mask.shape, np.asarray(part.exterior.coords)[:, :2], frame)
        for hole in part.interiors:
            inside &= ~_ring_pixels(mask.shape, np.asarray(hole.coords)[:, :2], frame)
        mask |= inside
    return mask


def _ring_pixels(
    shape_px: tuple[int, ...], ring_l0: NDArray[np.float64], frame: MaskFrame
) -> BoolMask:
    # scikit-image puts the center of pixel (0, 0) at 0; in our frame it is at half a pixel.
    xy = (ring_l0 - frame.origin_l0) / frame.downsample - 0.5
    inside = np.zeros(shape_px, dtype=bool)
    inside[polygon_pixels(xy[:, 1], xy[:, 0], shape_px)] = True
    return inside
