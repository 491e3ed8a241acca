"""The map of a slide and its regions, in the form that the page draws."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from wsi_pipeline.errors import StorageError
from wsi_pipeline.export.geojson import feature_collection
from wsi_pipeline.files import finite, read_json
from wsi_pipeline.maps import ProbabilityMap, TissueRaster
from wsi_pipeline.maps.regions import SlideTotals
from wsi_pipeline.results.finished import settings_of
from wsi_pipeline.results.layout import REGIONS_NAME
from wsi_pipeline.results.slide_files import regions_of
from wsi_pipeline.web.answers import Grid, LayerName, Raster, RegionsAnswer, StoredRegions
from wsi_pipeline.web.catalog import Catalog, CatalogEntry
from wsi_pipeline.web.errors import NotFoundError

LAYER_FIELDS: Final[Mapping[LayerName, str]] = {
    "probability": "values",
    "tissue": "tissue",
    "raw": "raw",
    "uncertainty": "uncertainty",
}
ADVICE: Final[Mapping[LayerName, str]] = {
    "raw": "It was not refined by neighbors: see the probability itself",
    "uncertainty": "It comes with a run with --tta",
    "mask": "A version that stored none has made it: run the slide again with --overwrite",
}
"""Where a layer is missing."""


def grid_facts(map_: ProbabilityMap) -> Grid:
    """Return how the cells lie on the image, in image px (level 0 less the bounds' origin)."""
    x, y, _, _ = map_.bounds_l0
    rows, cols = map_.values.shape
    return {
        "rows": rows,
        "cols": cols,
        "origin": [map_.origin_l0[0] - x, map_.origin_l0[1] - y],
        "step": list(map_.step_l0),
        "cell_mm2": map_.cell_area_mm2,
        "layers": [
            name for name, field in LAYER_FIELDS.items() if getattr(map_, field) is not None
        ],
        "mask": None if map_.mask is None else _mask_facts(map_.mask, (x, y)),
    }


def _mask_facts(mask: TissueRaster, corner_l0: tuple[int, int]) -> Raster:
    rows, cols = mask.inside.shape
    (x, y), (left, top) = mask.origin_l0, corner_l0
    return {"rows": rows, "cols": cols, "origin": [x - left, y - top], "step": list(mask.step_l0)}


def layer_bytes(map_: ProbabilityMap, name: LayerName) -> bytes:
    """Return one layer, gzipped: float32, little-endian, row by row, NaN = no data; mask: uint8.

    Raises
    ------
    NotFoundError
        Where the map has no such layer.
    """
    if name == "mask" and map_.mask is not None:
        inside = np.ascontiguousarray(map_.mask.inside, np.uint8)
        return gzip.compress(inside.tobytes(), compresslevel=3, mtime=0)
    values = None if name == "mask" else getattr(map_, LAYER_FIELDS[name])
    if values is None:
        raise NotFoundError(f"this map has no layer {name}", ADVICE.get(name, ""))
    return gzip.compress(np.ascontiguousarray(values, "<f4").tobytes(), compresslevel=3, mtime=0)


def regions_at(catalog: Catalog, entry: CatalogEntry, threshold: float | None) -> RegionsAnswer:
    """Return the regions as GeoJSON in image px, largest first, with the slide's `totals`.

    Parameters
    ----------
    threshold : float or None
        None means the results as they stand; any other makes the regions anew from the map as
        `render` does.
    """
    stored = _stored_regions(entry) if threshold is None else None
    if stored is not None:
        totals = entry.finished.totals
        return {**stored, "totals": finite(asdict(totals)) if totals else {}}
    map_ = catalog.map(entry)
    regions = regions_of(map_, settings_of(entry.status, threshold))
    totals = SlideTotals.of(map_, regions)
    return {**feature_collection(map_, regions), "totals": finite(asdict(totals))}


def threshold_of(regions: RegionsAnswer) -> float | None:
    """Return at which threshold regions were found; None where a file of old does not say."""
    value: Any = regions.get("wsi_pipeline", {}).get("threshold")
    return None if value is None else float(value)


def _stored_regions(entry: CatalogEntry) -> StoredRegions | None:
    path = entry.folder / REGIONS_NAME
    try:
        collection: StoredRegions = read_json(path, root=entry.out)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(
            f"regions.geojson of {entry.slide_id} cannot be read", "Make it again with `render`"
        ) from error
    return collection
