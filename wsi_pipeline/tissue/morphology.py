"""Morphology in micrometers, for masks whose pixels may be oblong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_pipeline.geometry import BoolMask

_EIGHT_NEIGHBORS = np.ones((3, 3), dtype=bool)


def close_gaps(mask: BoolMask, radius_um: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask with gaps narrower than twice the radius bridged (closing by a rectangle)."""
    size = box_px(radius_um, um_px)
    # A padded rim keeps the erosion from eating tissue that runs out of the picture.
    pad = [(side // 2, side // 2) for side in size]
    wide = np.pad(mask, pad, mode="edge").astype(np.uint8)
    closed = ndimage.minimum_filter(ndimage.maximum_filter(wide, size), size)
    return crop_rim(closed.astype(bool), size)


def open_strands(mask: BoolMask, radius_um: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask without what is narrower than twice the radius (opening by a rectangle)."""
    size = box_px(radius_um, um_px)
    pad = [(side // 2, side // 2) for side in size]
    wide = np.pad(mask, pad, mode="edge").astype(np.uint8)
    opened = ndimage.maximum_filter(ndimage.minimum_filter(wide, size), size)
    return crop_rim(opened.astype(bool), size)


def grow(mask: BoolMask, radius_um: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask grown by the radius along each axis."""
    grown = ndimage.maximum_filter(mask.astype(np.uint8), box_px(radius_um, um_px))
    return np.asarray(grown, dtype=bool)


def drop_small(mask: BoolMask, area_um2: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask without connected parts smaller than the area (8 neighbors)."""
    labels, n_parts = ndimage.label(mask, structure=_EIGHT_NEIGHBORS)
    areas_um2 = np.bincount(labels.ravel(), minlength=n_parts + 1) * (um_px[0] * um_px[1])
    keep = areas_um2 >= area_um2
    keep[0] = False
    return np.asarray(keep[labels], dtype=bool)


def fill_small_holes(mask: BoolMask, area_um2: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask with enclosed holes smaller than the area filled (4 neighbors).

    Background that touches the picture's edge is open ground, not a hole, however small.
    """
    labels, n_holes = ndimage.label(~mask)
    areas_um2 = np.bincount(labels.ravel(), minlength=n_holes + 1) * (um_px[0] * um_px[1])
    fill = areas_um2 < area_um2
    fill[0] = True
    fill[_labels_on_edge(labels)] = False
    return np.asarray(mask | fill[labels], dtype=bool)


def parts_touching(mask: BoolMask, seeds: BoolMask) -> BoolMask:
    """Return the connected parts of the mask that hold at least one seed (8 neighbors)."""
    labels, n_parts = ndimage.label(mask, structure=_EIGHT_NEIGHBORS)
    keep = np.zeros(n_parts + 1, dtype=bool)
    keep[labels[seeds & mask]] = True
    return np.asarray(keep[labels], dtype=bool)


def parts_on_edge(mask: BoolMask) -> BoolMask:
    """Return the connected parts of the mask that touch the picture's edge (8 neighbors)."""
    labels, n_parts = ndimage.label(mask, structure=_EIGHT_NEIGHBORS)
    keep = np.zeros(n_parts + 1, dtype=bool)
    keep[_labels_on_edge(labels)] = True
    keep[0] = False
    return np.asarray(keep[labels], dtype=bool)


def box_px(radius_um: float, um_px: tuple[float, float]) -> tuple[int, int]:
    """Return the odd (rows, columns) of a rectangle that reaches the radius to each side."""
    x, y = (2 * round(radius_um / side_um) + 1 for side_um in um_px)
    return (y, x)


def crop_rim(wide: BoolMask, size: tuple[int, int]) -> BoolMask:
    """Undo a padding by half the rectangle's sides."""
    y, x = (side // 2 for side in size)
    return wide[y : wide.shape[0] - y, x : wide.shape[1] - x]


def _labels_on_edge(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    edges = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    return np.unique(np.concatenate(edges))
