"""Pyramidal OME-TIFF: the probabilities as one float channel, and a colored rendering beside it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.files import write_atomic
from wsi_pipeline.maps.map import ProbabilityMap

TILE_PX: Final = 256
NAME_START: Final = "IDC probability of "
"""Of the image's name: by it a search through folders knows its own exports."""
SHOWN_SIDE_PX: Final = 1024
"""A cell becomes 1, 2, 4 ... px a side until the longer side of the map reaches this."""


def write_probability_tiff(map_: ProbabilityMap, path: Path) -> None:
    """Write the map as a single float32 channel, NaN where nothing was classified.

    Every cell is a square of equal pixels, so that viewers that blur what they enlarge show cells
    as they are. Each level of the pyramid halves the square down to one pixel a cell, and a map
    that fills more than a tile even then is halved on, by the mean of the classified cells.
    `PhysicalSizeX` and `-Y` are µm a pixel; the plane's position is that of the grid's corner on
    the slide, µm from the corner of level 0.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    write_atomic(path, _encode(map_, map_.values, photometric="minisblack"))


def write_rendering_tiff(map_: ProbabilityMap, cell_rgb: NDArray[np.uint8], path: Path) -> None:
    """Write the map in colors, of the same geometry as `write_probability_tiff`.

    Parameters
    ----------
    map_ : ProbabilityMap
    cell_rgb : ndarray of uint8, shape (rows, cols, 3)
        The color of each cell.
    path : Path

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    if cell_rgb.shape != (*map_.values.shape, 3):
        raise ValueError(f"expected {map_.values.shape} cells x 3, received {cell_rgb.shape}")
    write_atomic(path, _encode(map_, cell_rgb, photometric="rgb"))


def pixels_per_cell(shape: tuple[int, int]) -> int:
    """Return the side of a cell at full size, a power of two."""
    return int(2 ** max(0, math.ceil(math.log2(SHOWN_SIDE_PX / max(shape)))))


def _encode(map_: ProbabilityMap, cells: NDArray[Any], photometric: str) -> bytes:
    import tifffile  # with its codecs it doubles the start-up of a run, which never needs it

    side = pixels_per_cell(map_.values.shape)
    levels = list(_levels(cells, side))
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, ome=True) as tiff:
        for number, (pixels, px_per_cell) in enumerate(levels):
            tiff.write(
                pixels,
                photometric=photometric,
                tile=(TILE_PX, TILE_PX),
                compression="zlib",
                subifds=0 if number else len(levels) - 1,
                subfiletype=1 if number else 0,
                resolution=[px_per_cell / (um / 1e4) for um in map_.cell_um],
                resolutionunit="CENTIMETER",
                metadata=None if number else _ome(map_, cells, side),
            )
    return buffer.getvalue()


def _levels(cells: NDArray[Any], side: int) -> Iterator[tuple[NDArray[Any], float]]:
    """Yield the pixels of each level, largest first, and how many of them are a cell's side."""
    px_per_cell: float = side
    while px_per_cell >= 1:
        zoom = int(px_per_cell)
        yield cells.repeat(zoom, axis=0).repeat(zoom, axis=1), px_per_cell
        px_per_cell /= 2
    while max(cells.shape[:2]) > TILE_PX:
        cells = _halved(cells)
        yield cells, px_per_cell
        px_per_cell /= 2


def _halved(cells: NDArray[Any]) -> NDArray[Any]:
    """Return the means of two by two cells; NaN only where all four are NaN."""
    rows, cols = cells.shape[:2]
    odd = ((0, rows % 2), (0, cols % 2), (0, 0))[: cells.ndim]
    padded = np.pad(cells, odd, mode="edge")
    fours = padded.reshape((rows + 1) // 2, 2, (cols + 1) // 2, 2, -1)
    n_known = (~np.isnan(fours)).sum(axis=(1, 3))
    total = np.nansum(fours, axis=(1, 3), dtype=np.float64)
    means = np.divide(total, n_known, out=np.full(total.shape, np.nan), where=n_known > 0)
    if np.issubdtype(cells.dtype, np.integer):
        means = np.rint(means)
    halved: NDArray[Any] = means.astype(cells.dtype)
    return halved.reshape(*means.shape[:2], *cells.shape[2:])


def _ome(
    map_: ProbabilityMap, cells: NDArray[Any], side: int
) -> dict[str, Any]:  # as tifffile takes it
    cell_x_um, cell_y_um = map_.cell_um
    slide = map_.attributes.get("slide", {}).get("name", "slide")
    is_color = cells.ndim == 3
    metadata: dict[str, Any] = {
        "axes": "YXS" if is_color else "YX",
        # tifffile would draw a random one, and equal maps would give unequal files.
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, _identity(map_, cells))),
        "Name": f"{NAME_START}{slide}",
        "PhysicalSizeX": cell_x_um / side,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": cell_y_um / side,
        "PhysicalSizeYUnit": "µm",
        "Plane": {
            "PositionX": [map_.origin_l0[0] * map_.mpp.x],
            "PositionXUnit": ["µm"],
            "PositionY": [map_.origin_l0[1] * map_.mpp.y],
            "PositionYUnit": ["µm"],
        },
    }
    if not is_color:
        metadata["Channel"] = {"Name": ["IDC probability"]}
    return metadata


def _identity(map_: ProbabilityMap, cells: NDArray[Any]) -> str:
    """Return what no other file has: two empty slides have the same cells."""
    slide = json.dumps(map_.attributes.get("slide", {}), sort_keys=True)
    return slide + hashlib.sha256(cells.tobytes()).hexdigest()
