"""`probability.zarr`: the map as an OME-Zarr image, written whole or not at all.

Scale and translation are those of the cells' *edges*, as in the group attributes: cell (r, c)
covers ``translation + (r, c) * scale`` to ``translation + (r + 1, c + 1) * scale`` micrometers on
the slide. A viewer that takes coordinates for those of pixel centers shows the map half a cell up
and to the left; add half of `scale` to `translation` there, as `export.napari` does for napari.

References
----------
Moore et al. 2023, OME-Zarr (Histochem. Cell Biol. 160); NGFF 0.4 and 0.5, `multiscales`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Required, TypedDict

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.errors import StorageError
from wsi_pipeline.files import read_json, write_atomic, write_folder
from wsi_pipeline.maps.map import ProbabilityMap
from wsi_pipeline.maps.store_files import MASK, OPTIONAL_LAYERS
from wsi_pipeline.maps.zarr_group import ATTRIBUTES_KEY, RERUN_ADVICE, checked_files

NgffVersion = Literal["0.4", "0.5"]
"""0.4 is stored as Zarr v2, 0.5 as Zarr v3."""

CHUNK_CELLS: Final = 1024
"""Longest side of a chunk: all but very dense maps are one chunk."""


def write_map(map_: ProbabilityMap, path: Path, *, ngff: NgffVersion = "0.4") -> None:
    """Write a map; equal maps give equal bytes.

    Parameters
    ----------
    map_ : ProbabilityMap
        `attributes` are stored as they are, with origin, step and µm/px taken from the fields.
    path : Path
        The `probability.zarr` folder; replaced where it exists.
    ngff : {"0.4", "0.5"}
        Version of the OME-Zarr layout.

    Raises
    ------
    StorageError
        Where the folder cannot be written.
    """
    write_folder(path, _group_files(map_, ngff, name=path.stem))


def write_threshold(path: Path, threshold: float) -> None:
    """Give a stored map the threshold of its results as they stand now; its numbers stay.

    Parameters
    ----------
    path : Path
        The `probability.zarr` folder, of either NGFF version.
    threshold : float
        Probability from which a cell is called IDC.

    Raises
    ------
    StorageError
        Where there is no map of ours, or its attributes cannot be written.
    """
    place = path / (".zattrs" if (path / ".zattrs").is_file() else "zarr.json")
    try:
        content = _with_own(read_json(place, root=path), {"threshold": threshold})
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise StorageError(f"{place}: not the attributes of a map ({exc})", RERUN_ADVICE) from exc
    write_atomic(place, content)


def copy_map(path: Path, copy: Path, own: Mapping[str, Any]) -> None:
    """Write a copy of a stored map: its numbers byte for byte, some of our attributes changed.

    Parameters
    ----------
    path : Path
        The `probability.zarr` folder, of either NGFF version.
    copy : Path
        The folder to write; replaced where it exists.
    own : mapping
        Of our attributes those that are others in the copy.

    Raises
    ------
    StorageError
        Where there is no map of ours, or the copy cannot be written.
    """
    files = checked_files(path)
    name = ".zattrs" if ".zattrs" in files else "zarr.json"
    try:
        changed = _with_own(json.loads(files[name]), own)
    except (ValueError, KeyError, TypeError) as exc:
        raise StorageError(f"{path}: not the attributes of a map ({exc})", RERUN_ADVICE) from exc
    write_folder(copy, {**files, name: changed})


def _with_own(document: dict[str, Any], own: Mapping[str, Any]) -> bytes:
    """Return the attributes' file with some of our attributes changed."""
    attributes = document["attributes"] if "node_type" in document else document
    attributes[ATTRIBUTES_KEY].update(own)
    return json.dumps(document, indent=2).encode()


def _group_files(map_: ProbabilityMap, ngff: NgffVersion, name: str) -> dict[str, bytes]:
    """Return the files of the store: made in memory, where Zarr takes a third of the time."""
    import zarr
    from zarr.storage import MemoryStore

    zarr_format: Literal[2, 3] = 2 if ngff == "0.4" else 3
    files: dict[str, Any] = {}
    group = zarr.create_group(
        MemoryStore(files),
        zarr_format=zarr_format,
        attributes=_group_attributes(map_, ngff, name),
    )
    _write_layer(group, "0", map_.values)
    _write_layer(group, "tissue", map_.tissue)
    for layer in OPTIONAL_LAYERS:
        array = getattr(map_, layer)
        if array is not None:
            _write_layer(group, layer, array)
    if map_.mask is not None:
        _write_layer(group, MASK, map_.mask.inside.astype(np.uint8))
    return {place: content.to_bytes() for place, content in files.items()}


def _write_layer(group: Any, name: str, values: NDArray[Any]) -> None:
    is_v2 = group.metadata.zarr_format == 2
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=tuple(min(CHUNK_CELLS, max(side, 1)) for side in values.shape),
        fill_value=np.nan if values.dtype.kind == "f" else 0,
        dimension_names=None if is_v2 else ("y", "x"),
        chunk_key_encoding={"name": "v2" if is_v2 else "default", "separator": "/"},
        # "An absent chunk is all fill value" would be true, but some viewers stumble over it.
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _group_attributes(
    map_: ProbabilityMap, ngff: NgffVersion, name: str
) -> dict[str, Any]:  # a document of JSON, with all attributes of the map
    mask = map_.mask
    place = mask and {"origin_l0": list(mask.origin_l0), "step_l0": list(mask.step_l0)}
    own = {
        **map_.attributes,
        **({MASK: place} if place else {}),
        "origin_l0": list(map_.origin_l0),
        "step_l0": list(map_.step_l0),
        "mpp": [map_.mpp.x, map_.mpp.y],
    }
    multiscale = _multiscale(map_, name)
    image: dict[str, object]
    if ngff == "0.4":
        image = {"multiscales": [{"version": ngff, **multiscale}], "omero": _rendering_hint()}
    else:
        image = {"ome": {"version": ngff, "multiscales": [multiscale], "omero": _rendering_hint()}}
    attributes = {**image, ATTRIBUTES_KEY: own}
    # Through JSON once: tuples become lists, and what JSON cannot hold fails before a file exists.
    plain: dict[str, Any] = json.loads(json.dumps(attributes, allow_nan=False))
    return plain


class _Transformation(TypedDict, total=False):
    """Of a dataset: a scale or a translation, in the order of the axes."""

    type: Required[Literal["scale", "translation"]]
    scale: list[float]
    translation: list[float]


class _Dataset(TypedDict):
    path: str
    coordinateTransformations: list[_Transformation]


class _Multiscale(TypedDict):
    """An image of NGFF, less its version."""

    name: str
    axes: list[dict[str, str]]
    datasets: list[_Dataset]


class _Channel(TypedDict):
    label: str
    color: str
    window: dict[str, float]
    active: bool
    coefficient: int
    family: str
    inverted: bool


class _Omero(TypedDict):
    """How viewers are to show an image of NGFF."""

    channels: list[_Channel]
    rdefs: dict[str, str]


def _multiscale(map_: ProbabilityMap, name: str) -> _Multiscale:
    cell_x, cell_y = map_.cell_um
    corner_x, corner_y = map_.origin_l0[0] * map_.mpp.x, map_.origin_l0[1] * map_.mpp.y
    transformations: list[_Transformation] = [
        {"type": "scale", "scale": [cell_y, cell_x]},
        {"type": "translation", "translation": [corner_y, corner_x]},
    ]
    return {
        "name": name,
        "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"],
        "datasets": [{"path": "0", "coordinateTransformations": transformations}],
    }


def _rendering_hint() -> _Omero:
    channel: _Channel = {
        "label": "IDC probability",
        "color": "FDE725",  # the upper end of viridis; a hint can name no color map
        "window": {"min": 0.0, "max": 1.0, "start": 0.0, "end": 1.0},
        "active": True,
        "coefficient": 1,
        "family": "linear",
        "inverted": False,
    }
    return {"channels": [channel], "rdefs": {"model": "color"}}
