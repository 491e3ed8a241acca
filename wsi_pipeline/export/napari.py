"""A reader for napari: drop a `probability.zarr` into its window.

It needs this package where napari is installed. The plugin napari-ome-zarr (0.10) opens the file
too, as any OME-Zarr: the map alone, from black to yellow, and, since that plugin heeds the first
transformation only and takes coordinates for those of centers, without its place on the slide and
half a cell up and to the left. Here every layer lies where its cells are, in micrometers of the
slide, in the overlay's colors.

References
----------
napari plugins (npe2), contribution `readers`; `napari.yaml` in this package names this module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypedDict

from wsi_pipeline.maps import ProbabilityMap
from wsi_pipeline.maps.zarr_group import ATTRIBUTES_KEY

LayerData = tuple[Any, dict[str, Any], str]
"""Array, arguments of the layer and its kind, as napari takes them."""

IMAGES: Final = {
    "tissue": ("tissue share", "gray"),
    "familiarity": ("familiarity to the model", "gray"),
    "raw": ("IDC probability without neighbors", "viridis"),
    "uncertainty": ("spread over eight views", "magma"),
    "values": ("IDC probability", "viridis"),
}
"""Layers by their field of the map, from the lowest up: name and color map."""


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return the function that reads this path, None where it is no map of ours.

    Parameters
    ----------
    path : str or list of str
        What the user dropped; several files are not read together.
    """
    if isinstance(path, list) or not path.rstrip("/\\").endswith(".zarr"):
        return None
    for name in (".zattrs", "zarr.json"):
        try:
            stored = json.loads(Path(path, name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if ATTRIBUTES_KEY in stored.get("attributes", stored):
            return read_layers
    return None


def read_layers(path: str) -> list[LayerData]:
    """Return the layers of a `probability.zarr`, the probability on top, in micrometers.

    Raises
    ------
    StorageError
        Where the store is damaged.
    """
    return [*_layers(ProbabilityMap.open(path))]


def _layers(map_: ProbabilityMap) -> Iterator[LayerData]:
    place = placement(map_)
    if map_.quality is not None:  # first: napari's cursor tells the values of the last layer
        yield map_.quality, {"name": "quality flags", "visible": False, **place}, "labels"
    for field, (name, colormap) in IMAGES.items():
        values = getattr(map_, field)
        if values is None:
            continue
        shown = {"name": name, "colormap": colormap, "contrast_limits": (0.0, 1.0)}
        looks = {"visible": field == "values", "opacity": 0.7, "blending": "translucent"}
        yield values, {**shown, **looks, **place}, "image"


class Placement(TypedDict):
    """Arguments of napari's layers."""

    scale: tuple[float, float]
    translate: tuple[float, float]
    units: tuple[str, str]
    metadata: dict[str, Any]
    """The map's attributes."""


def placement(map_: ProbabilityMap) -> Placement:
    """Return where napari has to put the cells: center of the first, and their side, µm (y, x)."""
    side_x, side_y = map_.cell_um
    corner_x, corner_y = map_.origin_l0[0] * map_.mpp.x, map_.origin_l0[1] * map_.mpp.y
    return {
        "scale": (side_y, side_x),
        "translate": (corner_y + side_y / 2, corner_x + side_x / 2),
        "units": ("um", "um"),
        "metadata": dict(map_.attributes),
    }
