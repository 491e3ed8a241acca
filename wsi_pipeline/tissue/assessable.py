"""Whether a picture can show a tumor at all: a verdict on one that cannot would be worthless.

The classifier knows stained tissue in transmitted light. In a gray picture, in one that is nearly
black, or in bright spots on a black ground it finds nothing, which is no finding.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_pipeline.geometry import BoolMask, RgbArray
from wsi_pipeline.tissue.glass import same_color

DARKEST_SLIDE: Final = 64
"""Glass at 12 bits kept in 16 shows as 15 of 255, at 14 bits as 63; of a dark scan as 182."""
DARKEST_FIELD: Final = 32
"""The same of a field that may be all tissue: at 12 bits in 16 that shows as 13 at most."""
BLACK: Final = 40
"""Largest channel of a black pixel. The darkest tissue of a dark scan has 110 on average."""
BLACK_SHARE: Final = 0.05
"""Scanners that fill with black what they left out show glass beside it; nothing else does."""
LIGHT: Final = 150
"""Smallest channel of glass, lumens and fat, however dim the lamp (182 in the darkest scans)."""
WIDEST_TINT: Final = 60
"""Spread of its channels; that of glass in frozen sections is half of it."""
LIGHT_SHARE: Final = 0.01
GRAY_CHROMA: Final = 2
"""Spread of the channels that rounding and JPEG leave on a picture without color."""
GRAY_SHARE: Final = 0.999
CONTRAST: Final = 25
"""Range of the gray values from which a picture shows something; blank glass has less."""
_ENOUGH_PX: Final = 1_000_000


def why_not_assessable(
    rgb: RgbArray,
    background_rgb: tuple[int, int, int] | None = None,
    *,
    darkest: int = DARKEST_SLIDE,
) -> str:
    """Say why no verdict can rest on a picture.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)
        A slide's thumbnail, or a field of it.
    background_rgb : tuple of int or None
        The color of what was not scanned; it is left out.
    darkest : int
        Up to which the brightest pixels are nearly black: `DARKEST_FIELD` where there may be no
        glass.

    Returns
    -------
    str
        What the picture is, "" where nothing speaks against it.
    """
    every = max(1, math.isqrt(rgb.size // 3 // _ENOUGH_PX))
    # A channel at a time: reductions over an axis of three are slow in numpy.
    channels = [rgb[::every, ::every, channel].ravel() for channel in range(3)]
    if background_rgb is not None:
        scanned = ~same_color(rgb[::every, ::every], background_rgb).ravel()
        if not scanned.all():
            channels = [channel[scanned] for channel in channels]
    red, green, blue = channels
    if not len(red):
        return ""
    largest = np.maximum(np.maximum(red, green), blue)
    smallest = np.minimum(np.minimum(red, green), blue)
    return _why_dark(largest, smallest, darkest) or _why_gray(largest, smallest)


def _why_dark(largest: NDArray[np.uint8], smallest: NDArray[np.uint8], darkest: int) -> str:
    brightest = int(np.percentile(largest, 99.5))
    if brightest <= darkest:
        return (
            f"nearly black: 99.5 % of its pixels are at or below {brightest} of 255, as of 12 bits "
            "kept in 16"
        )
    black = _share(largest < BLACK)
    if black >= BLACK_SHARE and _share_of_light(largest, smallest) < LIGHT_SHARE:
        return (
            f"bright on a black ground ({black:.0%} of it is black), as of fluorescence or an "
            "inverted picture"
        )
    return ""


def _share_of_light(largest: NDArray[np.uint8], smallest: NDArray[np.uint8]) -> float:
    return _share((smallest >= LIGHT) & (largest - smallest <= WIDEST_TINT))


def _why_gray(largest: NDArray[np.uint8], smallest: NDArray[np.uint8]) -> str:
    gray = _share(largest - smallest <= GRAY_CHROMA)
    if gray < GRAY_SHARE:
        return ""
    low, high = np.percentile(largest, (0.1, 99.9))
    if high - low >= CONTRAST:
        return f"without colors: in {gray:.1%} of its pixels red, green and blue are equal"
    return ""


def _share(pixels: BoolMask) -> float:
    return float(np.count_nonzero(pixels) / pixels.size)
