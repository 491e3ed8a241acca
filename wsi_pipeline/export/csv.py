"""`patches.csv`: one row a classified patch, with WSInfer's columns."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.files import write_atomic
from wsi_pipeline.maps.map import ProbabilityMap

COLUMNS: Final = ("minx", "miny", "width", "height", "tissue", "prob_idc")


def write_csv(map_: ProbabilityMap, path: Path) -> None:
    """Write the classified cells of a map, in row-major order.

    Positions are level-0 px of the whole slide, as OpenSlide counts them (bounds not taken off).
    Both edges of a cell are rounded, so that neighbors share them and widths differ by one at most.

    Raises
    ------
    StorageError
        Where the file cannot be written.
    """
    rows, cols = np.nonzero(map_.classified)
    left, right = _edges_l0(cols, map_.origin_l0[0], map_.step_l0[0])
    top, bottom = _edges_l0(rows, map_.origin_l0[1], map_.step_l0[1])
    columns = (
        left.tolist(),
        top.tolist(),
        (right - left).tolist(),
        (bottom - top).tolist(),
        map_.tissue[rows, cols].tolist(),
        map_.values[rows, cols].tolist(),
    )
    lines = [
        f"{x},{y},{width},{height},{tissue:.4g},{probability:.6g}\n"
        for x, y, width, height, tissue, probability in zip(*columns, strict=True)
    ]
    write_atomic(path, "".join([",".join(COLUMNS) + "\n", *lines]).encode())


def _edges_l0(
    index: NDArray[np.intp], origin_l0: int, step_l0: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    near, far = (np.rint(origin_l0 + (index + k) * step_l0).astype(np.int64) for k in (0, 1))
    return near, far
