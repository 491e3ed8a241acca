"""Quality flags of patches: why a cell's probability deserves doubt.

At 8 µm/px a patch shows color and coarse texture, not cells. So blank, ink and black are told
safely; gross loss of focus (a blur of 8 µm or more) shows; a slight one, which a pathologist sees
at 0.25 µm/px, does not. A fold is told by its density alone: two layers of pale tissue pass.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import FloatArray, RgbArray
from wsi_pipeline.tissue.artifacts import pen_colored
from wsi_pipeline.tissue.ink import has_ink


class QualityFlag(IntFlag):
    """Why a cell's probability deserves doubt."""

    OUT_OF_FOCUS = 1
    PEN = 2
    """Ink by its color, a quarter of a patch or a line across it; or, set by the planner of the
    slide, under a stroke that the overview shows: ink over dense stain cannot be told by a patch
    alone."""
    FOLD = 4
    BLANK = 8
    SATURATED = 16
    """Too dark for color: black ink, scanner fill, the shadow of a coverslip's edge."""
    UNREADABLE = 32
    """Set by the reader of the slide, never here."""


MIN_SHARPNESS: Final = 1.5
"""Second over first difference of the green channel; white noise has 3.2, sharp tissue 2 to 3."""
MIN_PEN_SHARE: Final = 0.25
MIN_FOLD_SHARE: Final = 0.5
MIN_BLACK_SHARE: Final = 0.25
MAX_BLANK_SHARE: Final = 0.01
FOLD_OD: Final = 1.3
"""Mean density of a double layer of dense tissue; half a patch of lymphocytes reaches 1.1."""
FINEST_FOCUS_UM_PX: Final = 4.0
COARSEST_FOCUS_UM_PX: Final = 16.0
_BLACK_LEVEL = 25
_COLORED_OD = 0.06
_PATCHES_AT_ONCE = 64  # their temporaries stay in the core's own cache
_EVERY = 2  # color needs no more than every second pixel of every second row
_DENSITY = -np.log(np.maximum(np.arange(256, dtype=np.float32), 1.0) / 255.0)


def patch_flags(patches: RgbArray, um_px: float) -> NDArray[np.uint8]:
    """Return the quality flags of patches.

    Parameters
    ----------
    patches : ndarray of uint8, shape (N, H, W, 3)
        In balanced light, before stain normalization.
    um_px : float
        Their resolution. Focus is judged from 4 to 16 µm/px, where its limits were measured.

    Returns
    -------
    ndarray of uint8, shape (N,)
        Sums of `QualityFlag`; 0 where nothing speaks against a patch.
    """
    if patches.ndim != 4 or patches.shape[-1] != 3:
        raise ValueError(f"patches must be (N, H, W, 3), received {patches.shape}")
    focus_shows = FINEST_FOCUS_UM_PX <= um_px <= COARSEST_FOCUS_UM_PX
    focus_shows &= min(patches.shape[1:3]) >= 3
    flags = np.empty(len(patches), dtype=np.uint8)
    for start in range(0, len(patches), _PATCHES_AT_ONCE):
        some = patches[start : start + _PATCHES_AT_ONCE]
        found = _color_flags(some[:, ::_EVERY, ::_EVERY])
        found |= has_ink(some, um_px).astype(np.uint8) * np.uint8(QualityFlag.PEN)
        if focus_shows:
            # Empty glass has no detail to lose.
            blurred = (sharpness(some) < MIN_SHARPNESS) & ((found & QualityFlag.BLANK) == 0)
            found |= blurred.astype(np.uint8) * np.uint8(QualityFlag.OUT_OF_FOCUS)
        flags[start : start + len(some)] = found
    return flags


def sharpness(patches: RgbArray) -> FloatArray:
    """Return second over first differences of the green channel, float32 (N,); 0 for one color.

    Notes
    -----
    Blur takes from second differences more than from first, and stain or contrast scale both
    alike: so one limit serves all slides.
    """
    green = patches[..., 1].astype(np.int16)
    right = np.diff(green, axis=2)
    down = np.diff(green, axis=1)
    first = _mean_magnitude(right) + _mean_magnitude(down)
    laplacian = np.diff(right, axis=2)[:, 1:-1] + np.diff(down, axis=1)[:, :, 1:-1]
    return np.asarray(_mean_magnitude(laplacian) / (first / 2 + 0.5), dtype=np.float32)


def _color_flags(pixels: RgbArray) -> NDArray[np.uint8]:
    channels = [np.ascontiguousarray(pixels[..., channel]) for channel in range(3)]
    red, green, blue = (_DENSITY.take(channel) for channel in channels)
    black = np.maximum(np.maximum(channels[0], channels[1]), channels[2]) < _BLACK_LEVEL
    densest = np.maximum(np.maximum(red, green), blue)
    spread = densest - np.minimum(np.minimum(red, green), blue)
    layered = red + green + blue > 3 * FOLD_OD
    shares = {
        QualityFlag.PEN: _share(pen_colored(red, green, blue) & ~black) >= MIN_PEN_SHARE,
        QualityFlag.FOLD: _share(layered & ~black) >= MIN_FOLD_SHARE,
        QualityFlag.SATURATED: _share(black) >= MIN_BLACK_SHARE,
        QualityFlag.BLANK: _share(spread > _COLORED_OD) < MAX_BLANK_SHARE,
    }
    flags = np.zeros(len(pixels), dtype=np.uint8)
    for flag, found in shares.items():
        flags |= found.astype(np.uint8) * np.uint8(flag)
    return flags


def _share(mask: NDArray[np.bool_]) -> FloatArray:
    return np.asarray(mask.mean(axis=(1, 2)), dtype=np.float32)


def _mean_magnitude(values: NDArray[np.int16]) -> FloatArray:
    return np.asarray(np.abs(values).mean(axis=(1, 2), dtype=np.float32), dtype=np.float32)
