"""Morphology in micrometers, for masks whose pixels may be oblong."""

from __future__ import annotations

import math
from typing import TypeVar

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_pipeline.geometry import BoolMask

Pixel = TypeVar("Pixel", bound=np.generic)


def close_gaps(mask: BoolMask, radius_um: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask with gaps narrower than twice the radius bridged (closing by a rectangle)."""
    size = box_px(radius_um, um_px)
    # A padded rim keeps the erosion from eating tissue that runs out of the picture.
    pad = [(side // 2, side // 2) for side in size]
    wide = np.pad(mask, pad, mode="edge")
    return crop_rim(_erode(_dilate(wide, size), size), size)


def open_strands(mask: BoolMask, radius_um: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask without what is narrower than twice the radius (opening by a rectangle)."""
    size = box_px(radius_um, um_px)
    pad = [(side // 2, side // 2) for side in size]
    wide = np.pad(mask, pad, mode="edge")
    return crop_rim(_dilate(_erode(wide, size), size), size)


def open_round(mask: BoolMask, radius_um: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask without what holds no disc of the radius, whatever its direction."""
    rows, cols = (math.ceil(radius_um / side_um) + 1 for side_um in um_px[::-1])
    wide = np.pad(mask, ((rows, rows), (cols, cols)), mode="edge")
    # Such a disc holds this square, which is found at a fraction of the cost of distances.
    square = [2 * math.ceil(radius_um / math.sqrt(2) / side) - 1 for side in um_px[::-1]]
    seeds = _erode(wide, (max(1, square[0]), max(1, square[1])))
    opened = np.zeros_like(wide)
    if seeds.any():
        around = _window(seeds, rows, cols)
        opened[around] = _discs(wide[around], radius_um, um_px)
    return opened[rows:-rows, cols:-cols] & mask


def _discs(mask: BoolMask, radius_um: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the discs of the radius that the mask holds, joined."""
    if mask.all():  # no outside to be far from
        return mask
    center = _depth_um(mask, um_px) >= radius_um
    return _depth_um(~center, um_px) < radius_um if center.any() else center


def _window(mask: BoolMask, rows: int = 0, cols: int = 0) -> tuple[slice, slice]:
    """Return where the mask is True, from the first to the last, and so many px to each side."""
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(y[0]) - rows), int(y[-1]) + rows + 1),
        slice(max(0, int(x[0]) - cols), int(x[-1]) + cols + 1),
    )


def inner_radius_um(mask: BoolMask, um_px: tuple[float, float]) -> float:
    """Return the radius of the largest disc that the mask holds, µm."""
    if not mask.any():
        return 0.0
    return float(_depth_um(np.pad(mask[_window(mask)], 1), um_px).max())


def grow(mask: BoolMask, radius_um: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask grown by the radius along each axis."""
    return _dilate(mask, box_px(radius_um, um_px))


def flood(
    mask: BoolMask, ground: BoolMask, reach_um: float, um_px: tuple[float, float]
) -> BoolMask:
    """Return the mask grown over the ground alone, as far as the reach (4 neighbors)."""
    steps = round(reach_um / min(um_px))
    grown = mask.copy()
    for _ in range(steps):
        before = grown.copy()
        grown[1:] |= before[:-1] & ground[1:]
        grown[:-1] |= before[1:] & ground[:-1]
        grown[:, 1:] |= before[:, :-1] & ground[:, 1:]
        grown[:, :-1] |= before[:, 1:] & ground[:, :-1]
    return grown


def drop_small(mask: BoolMask, area_um2: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask without connected parts smaller than the area (8 neighbors)."""
    labels, n_parts = _labelled(mask, connectivity=8)
    areas_um2 = np.bincount(labels[mask], minlength=n_parts + 1) * (um_px[0] * um_px[1])
    is_large = areas_um2 >= area_um2
    is_large[0] = False
    return np.asarray(is_large.take(labels), dtype=bool)


def fill_small_holes(mask: BoolMask, area_um2: float, um_px: tuple[float, float]) -> BoolMask:
    """Return the mask with enclosed holes smaller than the area filled (4 neighbors).

    Background that touches the picture's edge is open ground, not a hole, however small.
    """
    labels, n_holes = _labelled(~mask, connectivity=4)
    inner = ~mask & (labels != labels[0, 0])  # leaves out most of the ground, at little cost
    holes = np.bincount(labels[inner], minlength=n_holes + 1)
    fill = holes * (um_px[0] * um_px[1]) < area_um2
    fill[_labels_on_edge(labels)] = False
    return mask | fill.take(labels)


def parts_touching(mask: BoolMask, seeds: BoolMask) -> BoolMask:
    """Return the connected parts of the mask that hold at least one seed (8 neighbors)."""
    labels, n_parts = _labelled(mask, connectivity=8)
    keep = np.zeros(n_parts + 1, dtype=bool)
    keep[labels[seeds & mask]] = True
    return np.asarray(keep.take(labels), dtype=bool)


def parts_on_edge(mask: BoolMask) -> BoolMask:
    """Return the connected parts of the mask that touch the picture's edge (8 neighbors)."""
    edge = np.ones_like(mask)
    edge[1:-1, 1:-1] = False
    return parts_touching(mask, edge) if (mask & edge).any() else np.zeros_like(mask)


def box_filter(picture: NDArray[Pixel], size: tuple[int, int], join: np.ufunc) -> NDArray[Pixel]:
    """Return each pixel joined with those around it, as far as the picture reaches.

    Parameters
    ----------
    picture : ndarray, shape (H, W)
    size : tuple of int
        Odd (rows, columns) of the rectangle, the pixel in its center.
    join : ufunc
        One that does not mind a pixel counted twice: minimum, maximum, logical_and, logical_or.

    Notes
    -----
    One axis after the other, by joining shifted copies of what is joined already: as many steps as
    the length has bits, each over whole rows, where a running filter visits pixel by pixel.
    """
    for axis, side in enumerate(size):
        first, last = picture.take([0] * (side // 2), axis), picture.take([-1] * (side // 2), axis)
        wide, joined = np.concatenate((first, picture, last), axis), 1
        while joined < side:
            step = min(joined, side - joined)
            length = wide.shape[axis] - step
            wide = join(_part(wide, 0, length, axis), _part(wide, step, length, axis))
            joined += step
        picture = wide
    return picture


def box_px(radius_um: float, um_px: tuple[float, float]) -> tuple[int, int]:
    """Return the odd (rows, columns) of a rectangle that reaches the radius to each side."""
    x, y = (2 * round(radius_um / side_um) + 1 for side_um in um_px)
    return (y, x)


def crop_rim(wide: BoolMask, size: tuple[int, int]) -> BoolMask:
    """Undo a padding by half the rectangle's sides."""
    y, x = (side // 2 for side in size)
    return wide[y : wide.shape[0] - y, x : wide.shape[1] - x]


def _depth_um(mask: BoolMask, um_px: tuple[float, float]) -> NDArray[np.float64]:
    """Return how far each pixel of the mask lies from the nearest outside it, centers apart."""
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=um_px[::-1]), np.float64)


def _dilate(mask: BoolMask, size: tuple[int, int]) -> BoolMask:
    return box_filter(mask, size, np.logical_or)


def _erode(mask: BoolMask, size: tuple[int, int]) -> BoolMask:
    return box_filter(mask, size, np.logical_and)


def _part(picture: NDArray[Pixel], start: int, length: int, axis: int) -> NDArray[Pixel]:
    return picture[start : start + length] if axis == 0 else picture[:, start : start + length]


def _labelled(mask: BoolMask, connectivity: int) -> tuple[NDArray[np.integer], int]:
    """Return the number of each pixel's part, 0 outside the mask, and how many parts there are."""
    labels, n_parts = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)
    labels *= mask  # cc3d 4.1 leaves provisional numbers in a few pixels that are in no part
    return labels, n_parts


def _labels_on_edge(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    edges = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    return np.unique(np.concatenate(edges))
