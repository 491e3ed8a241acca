"""`regions.geojson`: annotations as QuPath reads them."""

from __future__ import annotations

import gzip
import json
import uuid
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict

import numpy as np
import shapely

from wsi_pipeline.annotations.features import Feature, FeatureCollection, geometry_of
from wsi_pipeline.export.frames import shifted, viewer_offset_l0
from wsi_pipeline.files import write_atomic
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.maps.regions import Region, Regions

CLASS_NAME: Final = "IDC"
CLASS_RGB: Final = (200, 0, 0)
"""QuPath's color of "Tumor"."""

_FRAME: Final = "level-0 px less offset_l0"
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://wsi-pipeline/regions")


class Origin(TypedDict):
    """Where exported objects come from, and the frame of their coordinates."""

    slide: dict[str, Any]
    """As in the map's attributes."""
    fingerprint: str | None
    frame: str
    offset_l0: list[int]
    threshold: NotRequired[float]
    low_threshold: NotRequired[float]
    smoothing_cells: NotRequired[float]
    min_area_mm2: NotRequired[float]
    outline: NotRequired[str]
    areas: NotRequired[str]


class OwnCollection(FeatureCollection):
    """A collection that tells where it comes from."""

    wsi_pipeline: Origin


def write_geojson(map_: ProbabilityMap, regions: Regions, path: Path) -> None:
    """Write the regions as a GeoJSON FeatureCollection; equal regions give equal bytes.

    Coordinates are level-0 px as QuPath shows the slide, see `viewer_offset_l0`. The offset that
    was taken off stands beside the features, as ``wsi_pipeline.offset_l0``. A path that ends in
    ``.gz`` is compressed; QuPath reads both.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    _write(feature_collection(map_, regions), path)


def write_tiles_geojson(map_: ProbabilityMap, path: Path) -> None:
    """Write every classified cell as a QuPath tile with its probability, as `write_geojson` does.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    _write(tile_collection(map_), path)


def feature_collection(map_: ProbabilityMap, regions: Regions) -> OwnCollection:
    """Return the regions as a GeoJSON FeatureCollection in QuPath's dialect.

    Returns
    -------
    OwnCollection
        `objectType` and `measurements` (a map) inside `properties`, ids UUIDs that depend on the
        slide and the outline alone.
    """
    offset_l0 = viewer_offset_l0(map_)
    slide = map_.attributes.get("slide", {})
    return {
        "type": "FeatureCollection",
        "features": [_feature(region, slide, offset_l0) for region in regions],
        "wsi_pipeline": {
            "slide": slide,
            "fingerprint": map_.attributes.get("fingerprint"),
            "frame": _FRAME,
            "offset_l0": list(offset_l0),
            "threshold": regions.threshold,
            "low_threshold": regions.low_threshold,
            "smoothing_cells": regions.smoothing_cells,
            "min_area_mm2": regions.min_area_mm2,
            "outline": regions.outline,
            "areas": "tissue inside the outline, by "
            + ("tissue fractions of cells" if map_.mask is None else "the tissue mask"),
        },
    }


def tile_collection(map_: ProbabilityMap) -> OwnCollection:
    """Return the classified cells as tiles, each with the measurement `IDC probability`."""
    offset_l0 = viewer_offset_l0(map_)
    rows, cols = np.nonzero(~np.isnan(map_.values))
    step, origin = np.array(map_.step_l0), np.array(map_.origin_l0) - offset_l0
    near = np.stack([cols, rows], axis=1)
    left, top = (origin + near * step).round(3).T
    right, bottom = (origin + (near + 1) * step).round(3).T
    squares = shapely.box(left, top, right, bottom)
    slide = map_.attributes.get("slide", {})
    features: list[Feature] = [
        {
            "type": "Feature",
            "id": _identity(slide, square),
            "geometry": geometry_of(square),
            "properties": {
                "objectType": "tile",
                "measurements": {"IDC probability": round(probability, 6)},
            },
        }
        for square, probability in zip(squares, map_.values[rows, cols].tolist(), strict=True)
    ]
    fingerprint = map_.attributes.get("fingerprint")
    about: Origin = {
        "slide": slide,
        "fingerprint": fingerprint,
        "frame": _FRAME,
        "offset_l0": list(offset_l0),
    }
    return {"type": "FeatureCollection", "features": features, "wsi_pipeline": about}


def _write(collection: OwnCollection, path: Path) -> None:
    data = json.dumps(collection, separators=(",", ":"), allow_nan=False).encode()
    # mtime=0: the time of writing must not make equal content unequal.
    write_atomic(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _identity(slide: dict[str, Any], outline: shapely.Geometry) -> str:
    """Return a UUID that depends on the slide and the place alone."""
    wkt = shapely.to_wkt(outline, rounding_precision=3)
    return str(uuid.uuid5(_NAMESPACE, json.dumps([slide, wkt], sort_keys=True)))


def _feature(region: Region, slide: dict[str, Any], offset_l0: tuple[int, int]) -> Feature:
    outline = shifted(region.outline_l0, offset_l0)
    return {
        "type": "Feature",
        "id": _identity(slide, outline),
        "geometry": geometry_of(outline),
        "properties": {
            "objectType": "annotation",
            "name": f"{CLASS_NAME} {region.number}",
            "classification": {"name": CLASS_NAME, "color": list(CLASS_RGB)},
            "isLocked": False,
            "measurements": {
                "Area mm^2": round(region.area_mm2, 6),
                "Outline area mm^2": round(region.outline_mm2, 6),
                "Perimeter mm": round(region.perimeter_mm, 6),
                "Mean probability": round(region.mean_probability, 6),
                "Max probability": round(region.max_probability, 6),
                "Patches": region.n_patches,
            },
        },
    }
