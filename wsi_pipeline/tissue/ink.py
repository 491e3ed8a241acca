"""Lines of ink across a patch: colors that hardly any tissue has, in a row.

A color alone would not do: dense nuclei are as dark as black ink at 8 µm/px, and clotted blood as
red as a red one. A pen draws a line of them. Colored patches of ink that fill much of a patch need
no shape.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsi_pipeline.geometry import BoolMask, FloatArray, RgbArray
from wsi_pipeline.tissue.morphology import box_filter

MIN_LENGTH_UM: Final = 224.0
"""Shortest line; one that crosses a patch of 400 µm off its corners is longer."""
MIN_ELONGATION: Final = 3.0
"""Spread along a line over that across it; a vessel full of red cells has 2."""
MIN_INKED_SHARE: Final = 0.25
"""Share of a patch that is ink of one color without being a line."""
_MAX_LENGTH_SHARE = 0.56  # of a patch's side, where patches are small
_FILLED = 0.7  # pixels of a line for each px of its length
_THINNEST_PX2 = 0.08  # variance across a line of one pixel
_BITS = 6  # of each channel in the table: 256 kB, which stays in a core's cache
_NEIGHBORS = np.ones((3, 3), dtype=bool)


def has_ink(patches: RgbArray, um_px: float) -> BoolMask:
    """Return whether a line of ink crosses each patch, or ink fills much of it, shape (N,).

    Parameters
    ----------
    patches : ndarray of uint8, shape (N, H, W, 3)
        In balanced light.
    um_px : float
        Their resolution. Measured at 8 µm/px.

    Notes
    -----
    Drawn over tissue of seven slides in blue, black, green, red and violet, lines of 24 to 60 µm
    are found in 84 to 100 % of the patches that they cross, of 16 µm in 76 to 100 %, those of one
    pixel (8 µm) in 0 to 86 %.
    """
    side = min(patches.shape[1:3])
    length_px = min(MIN_LENGTH_UM / um_px, _MAX_LENGTH_SHARE * side)
    found = np.zeros(len(patches), dtype=bool)
    if not len(patches):
        return found
    # Of a line every fourth pixel is looked at here, give or take a half.
    sampled = _inks_of(patches[:, ::2, ::2]).reshape(len(patches), -1)
    for index in np.flatnonzero(np.count_nonzero(sampled, axis=1) >= _FILLED * length_px / 8):
        inks = _inks_of(patches[index])
        found[index] = any(
            _is_drawn((inks & np.uint8(1 << number)) > 0, length_px, _INKS[number].fills)
            for number in _numbers_of(inks)
        )
    return found


def _numbers_of(inks: NDArray[np.uint8]) -> list[int]:
    """Return the bits of the inks that occur."""
    present = int(np.bitwise_or.reduce(inks, axis=None))
    return [number for number in range(len(_INKS)) if present & (1 << number)]


def _is_drawn(ink: BoolMask, length_px: float, fills: bool) -> bool:
    """Return whether the pixels of one ink are a line, or, where it `fills`, many."""
    n_inked = np.count_nonzero(ink)
    if n_inked < _FILLED * length_px:
        return False
    if fills and n_inked >= MIN_INKED_SHARE * ink.size:
        return True
    # A line of one pixel is broken where nuclei or the raster pierce it.
    labels, _ = ndimage.label(box_filter(ink, (3, 3), np.logical_or), _NEIGHBORS)
    labels = np.where(ink, labels, 0)
    counts = np.bincount(labels.ravel())
    parts = np.flatnonzero(counts[1:] >= _FILLED * length_px) + 1
    return any(_is_line(labels == part, length_px) for part in parts)


def _is_line(part: BoolMask, length_px: float) -> bool:
    rows, cols = np.nonzero(part)
    if np.hypot(np.ptp(rows), np.ptp(cols)) < length_px:
        return False
    across, along = np.linalg.eigvalsh(np.cov(np.stack([rows, cols])))
    return bool(along >= MIN_ELONGATION**2 * max(across, _THINNEST_PX2))


def _inks_of(rgb: RgbArray) -> NDArray[np.uint8]:
    """Return for each pixel a bit for each ink that it may be, shape (...)."""
    coarse = np.ascontiguousarray(np.moveaxis(rgb, -1, 0)).astype(np.int32) >> (8 - _BITS)
    code = coarse[0] << 2 * _BITS | coarse[1] << _BITS | coarse[2]
    return np.asarray(_ink_table().take(code), dtype=np.uint8)


def _blue_or_green(red: FloatArray, green: FloatArray, blue: FloatArray) -> BoolMask:
    """Hematoxylin absorbs at least 0.48 as much blue as red, and 1.1 as much red as green."""
    is_blue = (blue < 0.42 * red) & (red > 0.95 * green)
    return np.asarray((red > 0.8) & (is_blue | (red > 1.35 * green)), dtype=bool)


def _red(red: FloatArray, green: FloatArray, blue: FloatArray) -> BoolMask:
    """Red cells pass too, but hardly ever lie in a line of such length."""
    return np.asarray((green > 1.4) & (blue > 0.76 * green) & (green > 3.0 * red), dtype=bool)


def _dense_red(red: FloatArray, green: FloatArray, blue: FloatArray) -> BoolMask:
    return np.asarray(_red(red, green, blue) & (green > 1.95), dtype=bool)


def _black(red: FloatArray, green: FloatArray, blue: FloatArray) -> BoolMask:
    densest = np.maximum(np.maximum(red, green), blue)
    palest = np.minimum(np.minimum(red, green), blue)
    return np.asarray((palest > 1.25) & (densest - palest < 0.2 * densest), dtype=bool)


def _violet(red: FloatArray, green: FloatArray, blue: FloatArray) -> BoolMask:
    return np.asarray((green > 1.2) & (red > 0.38 * green) & (blue < 0.36 * green), dtype=bool)


class _Ink(NamedTuple):
    """A kind of ink."""

    may_be: Callable[[FloatArray, FloatArray, FloatArray], BoolMask]
    """By the density of red, green and blue."""
    fills: bool
    """Whether its color is proof enough where much of a patch has it."""


_INKS: Final = (
    _Ink(_blue_or_green, fills=True),
    _Ink(_red, fills=False),
    _Ink(_dense_red, fills=True),
    _Ink(_black, fills=True),
    _Ink(_violet, fills=True),
)


@cache
def _ink_table() -> NDArray[np.uint8]:
    """Return for each coarse color a bit for each ink that it may be, uint8 (2**18,)."""
    step = 2 ** (8 - _BITS)
    level = np.arange(2**_BITS, dtype=np.float32) * step + (step - 1) / 2
    density = -np.log(level / np.float32(255.0))
    red, green, blue = np.meshgrid(density, density, density, indexing="ij")
    table = np.zeros(red.shape, dtype=np.uint8)
    for number, ink in enumerate(_INKS):
        table |= ink.may_be(red, green, blue).astype(np.uint8) << np.uint8(number)
    return table.ravel()
