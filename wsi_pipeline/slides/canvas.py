"""Read a slide on the pixel grid of the model.

The canvas is the slide at the model's µm/px: pixel (j, i) covers level-0 x from
``origin + i * p`` to ``origin + (i + 1) * p`` with p level-0 px per canvas px, y likewise. Every
position is computed from the global index in float64, so that a pixel has one value however the
canvas is cut into boxes, and no error grows across a wide slide.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from wsi_pipeline.errors import ReadError, SlideError
from wsi_pipeline.geometry import BoolMask, Box, FloatArray, Mpp, RgbArray, Size
from wsi_pipeline.slides.background import blank, on_background
from wsi_pipeline.slides.pyramid import Pyramid, SlideReader

LEVEL_TOLERANCE: Final = 0.02
"""A level coarser than the target by less than this still serves it: 16.0009 is 16."""
ENLARGEMENT_TOLERANCE: Final = 0.05
"""A slide coarser than the target by more than this would have to be invented."""
INTEGER_TOLERANCE: Final = 1e-3
"""A ratio this near a whole number averages whole source px."""
STRIP_PX: Final = 2**20
"""Source px that are averaged at a time: bounds the float32 scratch to some tens of MB."""
OVERVIEW_BLOCK_PX: Final = 2048
"""Side of the boxes that an overview is read in, level px."""
SMALLEST_LOSS_PX: Final = 256
"""A damaged place of an overview is narrowed down to about a tile, level px."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """Which level serves the canvas, and where its pixels lie on that level."""

    level: int
    ratio: tuple[float, float]
    """Level px per canvas px along (x, y)."""
    origin_level: tuple[float, float]
    """x, y of the canvas's origin, level px."""


def plan_read(
    pyramid: Pyramid, mpp: Mpp, spacing_um_px: float, origin_l0: tuple[int, int]
) -> ReadPlan:
    """Choose the coarsest level that is not coarser than the model's µm/px.

    Parameters
    ----------
    pyramid : Pyramid
        Of the slide.
    mpp : Mpp
        Of level 0, µm/px.
    spacing_um_px : float
        The model's µm/px.
    origin_l0 : tuple of int
        x, y of canvas pixel (0, 0), level-0 px.

    Raises
    ------
    SlideError
        Where even level 0 is coarser than the model needs.
    """
    ratios = [
        (spacing_um_px / (mpp.x * x), spacing_um_px / (mpp.y * y))
        for x, y in pyramid.level_downsamples
    ]
    if min(ratios[0]) < 1 - ENLARGEMENT_TOLERANCE:
        raise SlideError(
            f"the slide is at {max(mpp.x, mpp.y):.4g} µm/px, the model needs {spacing_um_px:.4g}",
            "Use a scan at least that fine, or a model for a coarser scale",
        )
    level = max((k for k, r in enumerate(ratios) if min(r) >= 1 - LEVEL_TOLERANCE), default=0)
    return _plan_at(pyramid, level, ratios[level], origin_l0)


def read_canvas(reader: SlideReader, plan: ReadPlan, box_px: Box) -> RgbArray:
    """Return a box of the canvas, area-averaged from one rectangle of the plan's level.

    Parameters
    ----------
    reader : SlideReader
        The open slide.
    plan : ReadPlan
        From `plan_read`.
    box_px : Box
        Canvas px, global indices. What lies beyond the slide is its background color.

    Returns
    -------
    ndarray of uint8, shape (box_px.height, box_px.width, 3)
        The same pixels whichever box they are read in.

    Raises
    ------
    ReadError
        Where the file is damaged there.
    """
    box = box_px.intersection(_extent(reader.pyramid, plan))
    factors = (_whole(plan.ratio[0]), _whole(plan.ratio[1]))
    if box.is_empty:
        pixels = np.empty((box.height, box.width, 3), np.uint8)
    elif factors[0] and factors[1]:
        pixels = _read_whole(reader, plan, box, factors)
    else:
        pixels = _read_fractional(reader, plan, box)
    return on_background(pixels, box, box_px, reader.info.background_rgb)


def read_overview(reader: SlideReader, plan: ReadPlan, box_px: Box) -> tuple[RgbArray, BoolMask]:
    """Return a large box of the canvas for orientation: in bounded memory, whatever is damaged.

    Parameters
    ----------
    reader, plan, box_px
        As for `read_canvas`; the result may be large, what is held while reading it is not.

    Returns
    -------
    rgb : ndarray of uint8, shape (box_px.height, box_px.width, 3)
        A damaged place costs its surroundings, not the picture: it shows as background.
    lost : ndarray of bool, shape (box_px.height, box_px.width)
        True where nothing could be read, so that no data does not pass for glass.

    Raises
    ------
    ReadError
        Where half of the picture or more cannot be read.
    """
    out = blank(Size(box_px.width, box_px.height), reader.info.background_rgb)
    lost = np.zeros(out.shape[:2], bool)
    for part in _parts(box_px, plan, OVERVIEW_BLOCK_PX):
        _paint_readable(reader, plan, part, out, lost, (box_px.x, box_px.y))
        if 2 * int(lost.sum()) >= lost.size:
            raise ReadError(
                f"{reader.info.path.name}: half of level {plan.level} cannot be read",
                "The file or its drive is damaged: copy it again, or scan again",
            )
    return out, lost


def thumbnail_within(reader: SlideReader, max_side_px: int) -> RgbArray:
    """Return the scanned bounds of a slide, longest side at most `max_side_px`, never enlarged.

    Read by `read_overview` from the coarsest level that still has that many pixels; a slide with
    a single huge level costs time but no memory.
    """
    pyramid, bounds = reader.pyramid, reader.pyramid.bounds_l0
    scale = min(1.0, max_side_px / max(bounds.width, bounds.height))
    whole = Box(0, 0, max(1, round(bounds.width * scale)), max(1, round(bounds.height * scale)))
    pixel_l0 = (bounds.width / whole.width, bounds.height / whole.height)
    ratios = [(pixel_l0[0] / x, pixel_l0[1] / y) for x, y in pyramid.level_downsamples]
    level = max((k for k, r in enumerate(ratios) if min(r) >= 1 - 1e-6), default=0)
    plan = _plan_at(pyramid, level, ratios[level], (bounds.x, bounds.y))
    return read_overview(reader, plan, whole)[0]


def _paint_readable(
    reader: SlideReader,
    plan: ReadPlan,
    box_px: Box,
    out: RgbArray,
    lost: BoolMask,
    corner_px: tuple[int, int],
) -> None:
    """Paint what can be read of a box into `out` and mark the rest in `lost`."""
    x, y = box_px.x - corner_px[0], box_px.y - corner_px[1]
    window = np.s_[y : y + box_px.height, x : x + box_px.width]
    try:
        out[window] = read_canvas(reader, plan, box_px)
    except ReadError:
        side_level = max(box_px.width * plan.ratio[0], box_px.height * plan.ratio[1])
        parts = list(_parts(box_px, plan, int(side_level / 2)))
        if side_level <= SMALLEST_LOSS_PX or len(parts) == 1:
            lost[window] = True
            return
        for part in parts:
            _paint_readable(reader, plan, part, out, lost, corner_px)


def _parts(box_px: Box, plan: ReadPlan, side_level: int) -> Iterator[Box]:
    """Yield the parts of a canvas box that span at most `side_level` px of the plan's level."""
    step_x, step_y = (max(1, int(side_level / ratio)) for ratio in plan.ratio)
    for y in range(box_px.y, box_px.bottom, step_y):
        for x in range(box_px.x, box_px.right, step_x):
            yield Box(x, y, min(step_x, box_px.right - x), min(step_y, box_px.bottom - y))


def _plan_at(
    pyramid: Pyramid, level: int, ratio: tuple[float, float], origin_l0: tuple[int, int]
) -> ReadPlan:
    x, y = pyramid.level_downsamples[level]
    return ReadPlan(level, ratio, (origin_l0[0] / x, origin_l0[1] / y))


def _extent(pyramid: Pyramid, plan: ReadPlan) -> Box:
    """Return the canvas px that touch the level, with a margin for rounding: no more are read."""
    size = pyramid.level_sizes[plan.level]
    (x, y), (ratio_x, ratio_y) = plan.origin_level, plan.ratio
    left, top = math.floor(-x / ratio_x) - 1, math.floor(-y / ratio_y) - 1
    right = math.ceil((size.width - x) / ratio_x) + 1
    bottom = math.ceil((size.height - y) / ratio_y) + 1
    return Box(left, top, right - left, bottom - top)


def _whole(ratio: float) -> int:
    """Return the whole number that a ratio is near, 0 where there is none."""
    nearest = max(1, round(ratio))
    return nearest if abs(ratio - nearest) <= INTEGER_TOLERANCE else 0


def _starts(origin: float, ratio: float, span: tuple[int, int]) -> NDArray[np.int64]:
    """Return the first source px of every canvas px of a span."""
    index = np.arange(span[0], span[1], dtype=np.float64)
    return np.floor(origin + index * ratio + 0.5).astype(np.int64)


def _read_whole(
    reader: SlideReader, plan: ReadPlan, box_px: Box, factors: tuple[int, int]
) -> RgbArray:
    """Average `factors` = (x, y) whole source px for each canvas px."""
    cols = _starts(plan.origin_level[0], plan.ratio[0], (box_px.x, box_px.right))
    rows = _starts(plan.origin_level[1], plan.ratio[1], (box_px.y, box_px.bottom))
    x, y = int(cols[0]), int(rows[0])
    right, bottom = int(cols[-1]) + factors[0], int(rows[-1]) + factors[1]
    source = reader.read_level(plan.level, Box(x, y, right - x, bottom - y))
    source = _take_contiguous(source, rows - y, factors[1], axis=0)
    source = _take_contiguous(source, cols - x, factors[0], axis=1)
    return _block_mean(source, factors)


def _take_contiguous(
    source: RgbArray, starts: NDArray[np.int64], factor: int, *, axis: int
) -> RgbArray:
    """Drop or repeat the odd source px where a ratio of 4.0003 skips one."""
    # steps differ by one at most, all to one side: a span of the right length has no odd one
    if len(starts) * factor == source.shape[axis]:
        return source
    index = (starts[:, None] + np.arange(factor)[None, :]).ravel()
    return np.take(source, index, axis=axis)


def _block_mean(source: RgbArray, factors: tuple[int, int]) -> RgbArray:
    """Return the mean of each block of `factors` = (x, y) px, halves rounded up."""
    fx, fy = factors
    if fx == fy == 1:
        return source
    height, width = source.shape[0] // fy, source.shape[1] // fx
    # 256 blocks of 255 and the half that rounds still fit 16 bits
    dtype = np.uint16 if fx * fy <= 256 else np.uint32
    by_row: NDArray[np.integer] = source[0::fy].astype(dtype)
    for dy in range(1, fy):
        by_row += source[dy::fy]
    columns = by_row.reshape(height, width, fx, 3)
    total = columns[:, :, 0].copy()
    for dx in range(1, fx):
        total += columns[:, :, dx]
    total += (fx * fy) // 2
    mean: RgbArray = (total // (fx * fy)).astype(np.uint8)
    return mean


def _read_fractional(reader: SlideReader, plan: ReadPlan, box_px: Box) -> RgbArray:
    """Average with fractional weights at the edges of each canvas px, one axis after the other."""
    (x, y), (ratio_x, ratio_y) = plan.origin_level, plan.ratio
    first_col, weights_x = _area_weights(x, ratio_x, (box_px.x, box_px.right))
    first_row, weights_y = _area_weights(y, ratio_y, (box_px.y, box_px.bottom))
    box = Box(first_col, first_row, weights_x.shape[1], weights_y.shape[1])
    source = reader.read_level(plan.level, box)
    height, width = weights_y.shape[0], weights_x.shape[0]
    out = np.empty((height, width, 3), np.uint8)
    step = max(1, int(STRIP_PX / (box.width * ratio_y)))
    for top in range(0, height, step):
        rows = weights_y[top : top + step]
        start, stop = int(rows.indices.min()), int(rows.indices.max()) + 1
        strip = source[start:stop].reshape(stop - start, -1).astype(np.float32)
        out[top : top + step] = _average(strip, rows[:, start:stop], weights_x)
    return out


def _average(strip: FloatArray, rows: csr_array, cols: csr_array) -> RgbArray:
    n_rows, (n_cols, width) = rows.shape[0], cols.shape
    shrunk = (rows @ strip).reshape(n_rows, width, 3)
    by_column = np.ascontiguousarray(shrunk.transpose(1, 0, 2)).reshape(width, -1)
    mean = (cols @ by_column).reshape(n_cols, n_rows, 3).transpose(1, 0, 2)
    rounded: RgbArray = np.floor(mean + np.float32(0.5)).astype(np.uint8)
    return rounded


def _area_weights(origin: float, ratio: float, span: tuple[int, int]) -> tuple[int, csr_array]:
    """Return the first source px and the weights (canvas px, source px) of a span of one axis.

    Row j holds the overlaps of ``[origin + j * ratio, origin + (j + 1) * ratio)`` with the source
    px, as shares of their sum; they depend on j alone.
    """
    edges = origin + np.arange(span[0], span[1] + 1, dtype=np.float64) * ratio
    low, high = edges[:-1], edges[1:]
    first = np.floor(low).astype(np.int64)
    n_taps = math.ceil(ratio) + 1
    taps = first[:, None] + np.arange(n_taps)[None, :]
    overlap = np.minimum(taps + 1, high[:, None]) - np.maximum(taps, low[:, None])
    overlap = np.maximum(overlap, 0)
    overlap /= overlap.sum(axis=1, keepdims=True)
    used = overlap > 0
    origin_px = int(first[0])
    indptr = np.concatenate(([0], np.cumsum(used.sum(axis=1))))
    indices = taps[used] - origin_px
    shape = (len(low), int(indices.max()) + 1)
    return origin_px, csr_array((overlap[used].astype(np.float32), indices, indptr), shape=shape)
