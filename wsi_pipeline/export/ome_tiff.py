"""Pyramidal OME-TIFF: the probabilities as one float channel, and a colored rendering beside it."""

from __future__ import annotations

import io
import math
import uuid
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.probability.files import write_atomic
from wsi_pipeline.probability.map import ProbabilityMap

TILE_PX: Final = 256
SHOWN_SIDE_PX: Final = 1024
"""A cell becomes 1, 2, 4 ... px a side until the longer side of the map reaches this."""


def write_probability_tiff(map_: ProbabilityMap, path: Path) -> None:
    """Write the map as a single float32 channel, NaN where nothing was classified.

    Every cell is a square of equal pixels, so that viewers that blur what they enlarge show cells
    as they are; each level of the pyramid halves the square, and the last has one pixel a cell.
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
    n_levels = side.bit_length()
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, ome=True) as tiff:
        for level in range(n_levels):
            zoom = side >> level
            cell_cm = [um / 1e4 for um in map_.cell_um]
            tiff.write(
                cells.repeat(zoom, axis=0).repeat(zoom, axis=1),
                photometric=photometric,
                tile=(TILE_PX, TILE_PX),
                compression="zlib",
                subifds=n_levels - 1 if level == 0 else 0,
                subfiletype=0 if level == 0 else 1,
                resolution=(zoom / cell_cm[0], zoom / cell_cm[1]),
                resolutionunit="CENTIMETER",
                metadata=_ome(map_, cells, side) if level == 0 else None,
            )
    return buffer.getvalue()


def _ome(map_: ProbabilityMap, cells: NDArray[Any], side: int) -> dict[str, Any]:
    cell_x_um, cell_y_um = map_.cell_um
    slide = map_.attributes.get("slide", {}).get("name", "slide")
    is_color = cells.ndim == 3
    metadata: dict[str, Any] = {
        "axes": "YXS" if is_color else "YX",
        # tifffile would draw a random one, and equal maps would give unequal files.
        "UUID": str(uuid.uuid5(uuid.NAMESPACE_OID, cells.tobytes().hex())),
        "Name": f"IDC probability of {slide}",
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
